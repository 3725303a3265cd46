package httpserve

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// wait gives the server's connections the time that they must have waited before
// they may go.
func (r *running) age() {
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	for c := range r.memory.holds {
		if since := c.waiting.Load(); since != 0 {
			c.waiting.CompareAndSwap(since, since-int64(patience))
		}
	}
}

func TestUnderPressureTheLongestIdleConnectionGoes(t *testing.T) {
	r := start(t, Config{Memory: 3 * connCost})
	first, second, third := r.dial(t), r.dial(t), r.dial(t)
	for _, c := range []client{first, second, third} {
		c.send(get("/1"))
		c.want("/1")
	}
	r.age()
	first.send(get("/2")) // waits for less long than the second now
	first.want("/2")
	fourth := r.dial(t)
	fourth.send(get("/1"))
	fourth.want("/1")
	second.wantEnd()
	for _, c := range []client{first, third} {
		c.send(get("/3"))
		c.want("/3")
	}
	if refused, evicted := r.Stats().Pressed(); refused != 0 || evicted != 1 {
		t.Errorf("%d refused, %d evicted", refused, evicted)
	}
}

func TestUnderPressureANewConnectionIsRefusedWhereNoneWaits(t *testing.T) {
	answering, answer := make(chan struct{}), make(chan struct{})
	r := start(t, Config{Memory: connCost, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(answering)
		<-answer
		teller{"the page"}.ServeHTTP(w, r)
	})})
	busy := r.dial(t)
	busy.send(get("/1"))
	<-answering
	refused := r.dial(t)
	refused.wantEnd()
	close(answer)
	busy.want("/1")
}

// Heads are counted while they come, long lines and short ones.
func TestHeadsAreBounded(t *testing.T) {
	r := start(t, Config{Memory: 4*connCost + 64<<10})
	for name, line := range map[string]string{"long lines": "X: " + strings.Repeat("y", 1000) + "\r\n", "short lines": "X:\r\n"} {
		t.Run(name, func(t *testing.T) {
			c := r.dial(t)
			c.send("GET / HTTP/1.1\r\nHost: a\r\n")
			go func() { _, _ = io.WriteString(c.Conn, strings.Repeat(line, 120_000/len(line))) }()
			c.wantEnd()
		})
	}
	c := r.dial(t) // one that fits, twice: what the first took is given back
	for range 3 {
		c.send("GET /fits HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 20<<10) + "\r\n\r\n")
		c.want("/fits")
	}
}

func TestWhatWasTakenIsGivenBack(t *testing.T) {
	r := start(t, Config{})
	for range 3 {
		c := r.dial(t)
		c.send("GET /1 HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 20<<10) + "\r\n\r\n")
		c.want("/1")
		_ = c.Close()
	}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	response, err := (&http.Client{Transport: transport}).Get("http://" + r.address + "/1")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	transport.CloseIdleConnections()
	for deadline := time.Now().Add(10 * time.Second); ; {
		r.memory.mu.Lock()
		used, held := r.memory.used, len(r.memory.holds)
		r.memory.mu.Unlock()
		if used == 0 && held == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are booked on %d connections, and none is open", used, held)
		}
	}
}

func TestStreamsAreBounded(t *testing.T) {
	answering, answer := make(chan struct{}), make(chan struct{})
	r := start(t, Config{Memory: connCost + sessionCost + 40<<10, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(answering)
			<-answer
		}
		teller{"the page"}.ServeHTTP(w, r)
	})})
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	c := &http.Client{Transport: &http.Transport{Protocols: &protocols}}
	defer c.CloseIdleConnections()
	slow := make(chan error, 1)
	go func() {
		response, err := c.Get("http://" + r.address + "/slow")
		if err == nil {
			err = response.Body.Close()
		}
		slow <- err
	}()
	<-answering
	if _, err := c.Get("http://" + r.address + "/2"); err == nil {
		t.Error("a stream more than fits is answered")
	}
	close(answer)
	if err := <-slow; err != nil {
		t.Error(err)
	}
}
