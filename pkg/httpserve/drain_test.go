package httpserve

import (
	"net"
	"sync"
	"testing"
	"time"
)

func TestDrain(t *testing.T) {
	const drainTime = 200 * time.Millisecond
	draining, met := make(chan struct{}), make(chan struct{})
	meet := sync.OnceFunc(func() { close(met) })
	defer meet()
	// The drain time begins when OnDrain returns: not before all clients have been answered.
	r := start(t, Config{DrainTime: drainTime, OnDrain: func() { close(draining); <-met }})
	idle, used, handed := r.dial(t), r.dial(t), r.dial(t)
	idle.send(get("/1"))
	idle.want("/1")
	handed.send("GET /1 HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n")
	handed.want("/1")
	r.stop()
	<-draining
	used.send(get("/2"))
	if !used.want("/2").Close {
		t.Error("the answer does not say Connection: close while draining")
	}
	used.wantEnd()
	handed.send(get("/2"))
	if !handed.want("/2").Close {
		t.Error("a connection that was in use does not say Connection: close while draining")
	}
	late := r.dial(t) // new connections are served too, since proxies learn of the drain late
	late.send(get("/3"))
	late.want("/3")
	begin := time.Now()
	meet()
	if err := <-r.done; err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took < drainTime {
		t.Errorf("stopped after %s, before %s", took, drainTime)
	}
	r.done <- nil
	idle.wantEnd()
	if c, err := net.Dial("tcp", r.address); err == nil {
		_ = c.Close()
		t.Error("still listening after the stop")
	}
}
