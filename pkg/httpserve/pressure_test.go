package httpserve

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// age makes the server's connections look as if they had waited for minWait.
func (r *running) age() {
	r.memory.mu.Lock()
	defer r.memory.mu.Unlock()
	for c := range r.memory.holds {
		if since := c.waiting.Load(); since != 0 {
			c.waiting.CompareAndSwap(since, since-int64(minWait))
		}
	}
}

// untilWaiting waits until the server waits for a request on this many connections. A client may
// have its answer before the server notes that it waits for the next request.
func (r *running) untilWaiting(t *testing.T, want int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		waiting := 0
		r.memory.mu.Lock()
		for c := range r.memory.holds {
			if c.waiting.Load() != 0 {
				waiting++
			}
		}
		r.memory.mu.Unlock()
		if waiting == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d connections wait for a request, want %d", waiting, want)
		}
		runtime.Gosched()
	}
}

func TestPressureClosesTheLongestWaiting(t *testing.T) {
	r := start(t, Config{Memory: 3 * connCost})
	var clients []client
	for i := range 3 {
		c := r.dial(t)
		c.send(get("/1"))
		c.want("/1")
		r.untilWaiting(t, i+1) // so that they wait in this order
		clients = append(clients, c)
	}
	first, second, third := clients[0], clients[1], clients[2]
	r.age()
	first.send(get("/2")) // now it has waited less long than the second
	first.want("/2")
	r.untilWaiting(t, 3)
	fourth := r.dial(t)
	fourth.send(get("/1"))
	fourth.want("/1")
	second.wantEnd()
	for _, c := range []client{first, third} {
		c.send(get("/3"))
		c.want("/3")
	}
	if refused, evicted := r.Stats().Pressure(); refused != 0 || evicted != 1 {
		t.Errorf("%d refused, %d evicted", refused, evicted)
	}
}

func TestPressureRefusesIfNoneWaits(t *testing.T) {
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

// TestHeadMemoryIsBounded: heads are counted while they arrive, with long or short lines.
func TestHeadMemoryIsBounded(t *testing.T) {
	r := start(t, Config{Memory: 4*connCost + 64<<10})
	for name, line := range map[string]string{"long lines": "X: " + strings.Repeat("y", 1000) + "\r\n", "short lines": "X:\r\n"} {
		t.Run(name, func(t *testing.T) {
			c := r.dial(t)
			c.send("GET / HTTP/1.1\r\nHost: a\r\n")
			go func() { _, _ = io.WriteString(c.Conn, strings.Repeat(line, 120_000/len(line))) }()
			c.wantEnd()
		})
	}
	c := r.dial(t) // one that fits, three times: its memory is released after each answer
	for range 3 {
		c.send("GET /fits HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 20<<10) + "\r\n\r\n")
		c.want("/fits")
	}
}

func TestMemoryIsReleased(t *testing.T) {
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
			t.Fatalf("%d bytes are reserved for %d connections, but none is open", used, held)
		}
	}
}

func TestStreamMemoryIsBounded(t *testing.T) {
	answering, answer := make(chan struct{}), make(chan struct{})
	r := start(t, Config{Memory: connCost + sessionCost + 60<<10, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
		t.Error("a stream beyond the limit is answered")
	}
	close(answer)
	if err := <-slow; err != nil {
		t.Error(err)
	}
}

// TestHTTP2HeadMemoryIsBounded: in HTTP/2 a single byte can be a header field, and a head can
// begin while other requests are being answered.
func TestHTTP2HeadMemoryIsBounded(t *testing.T) {
	frame := func(flags, stream byte, block string) string {
		const headers = 1
		return string([]byte{0, byte(len(block) >> 8), byte(len(block)), headers, flags, 0, 0, 0, stream}) + block
	}
	const settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	ended := frame(0x4|0x1, 1, "\x83\x86\x84\x41\x01a") // POST http / of a
	open := frame(0x4, 1, "\x83\x86\x84\x41\x01a")
	unfinished := frame(0, 3, strings.Repeat("\xa1", 3600)) // each byte is "date:"
	for name, before := range map[string]string{"alone": "", "behind an answer": ended, "behind a stream": open} {
		t.Run(name, func(t *testing.T) {
			r := start(t, Config{Memory: connCost + sessionCost + 128<<10, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
			})})
			c := r.dial(t)
			c.send(preface + settings + before + unfinished)
			if _, err := io.Copy(io.Discard, c.Reader); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("the connection is kept: %v", err)
			}
		})
	}
}

func TestStreamsLeaveRoomForConnections(t *testing.T) {
	b := newBudget(80 * connCost)
	for b.reserveStream(connCost) {
	}
	if !b.reserve(&conn{}, connCost) {
		t.Error("streams have taken all memory, and there is none for a new connection")
	}
}

// TestHTTP2HeadMemoryIsReleased: ordinary requests release their memory when they are
// answered.
func TestHTTP2HeadMemoryIsReleased(t *testing.T) {
	r := start(t, Config{Memory: connCost + sessionCost + 128<<10})
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	c := &http.Client{Transport: &http.Transport{Protocols: &protocols}}
	defer c.CloseIdleConnections()
	for range 50 {
		request, err := http.NewRequest(http.MethodGet, "http://"+r.address+"/1", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Cookie", strings.Repeat("x", 700))
		response, err := c.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
	if refused, evicted := r.Stats().Pressure(); refused != 0 || evicted != 0 {
		t.Errorf("%d refused, %d evicted", refused, evicted)
	}
}
