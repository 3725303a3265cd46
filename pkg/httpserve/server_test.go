package httpserve

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// teller answers 503 and names the protocol and the target of the request.
type teller struct{ body string }

func (l teller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/panic" {
		panic("handler")
	}
	w.Header().Set("Protocol", r.Proto)
	w.Header().Set("Target", r.RequestURI)
	w.Header().Set("Content-Length", strconv.Itoa(len(l.body)))
	w.WriteHeader(503)
	_, _ = io.WriteString(w, l.body)
}

type running struct {
	*Server
	address string
	stop    context.CancelFunc
	done    chan error
}

func start(t *testing.T, c Config) *running {
	t.Helper()
	if c.Handler == nil {
		c.Handler = teller{"the page"}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r := &running{New(c), l.Addr().String(), stop, make(chan error, 1)}
	go func() { r.done <- r.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-r.done; err != nil {
			t.Errorf("serve: %v", err)
		}
		r.done <- nil
	})
	return r
}

type client struct {
	*testing.T
	net.Conn
	*bufio.Reader
}

func (r *running) dial(t *testing.T) client {
	t.Helper()
	return dial(t, r.address)
}

// reach dials and sends raw until a connection is answered. A server with short timeouts rightly
// closes those on which a busy machine is late with the first bytes.
func (r *running) reach(t *testing.T, raw string) client {
	t.Helper()
	for range 100 {
		c := r.dial(t)
		_, _ = io.WriteString(c.Conn, raw)
		if _, err := c.Peek(1); err == nil {
			return c
		}
	}
	t.Fatal("no connection is answered")
	return client{}
}

func dial(t *testing.T, address string) client {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return client{t, c, bufio.NewReader(c)}
}

func (c client) send(s string) {
	c.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.Fatal(err)
	}
}

// want reads one answer and checks the target that it names.
func (c client) want(target string) *http.Response {
	c.Helper()
	response, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		c.Fatalf("no answer to %s: %v", target, err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || string(body) != "the page" || response.StatusCode != 503 {
		c.Fatalf("%s: %d %q, %v", target, response.StatusCode, body, err)
	}
	if got := response.Header.Get("Target"); got != target {
		c.Errorf("the answer is to %s, want %s", got, target)
	}
	if _, err := http.ParseTime(response.Header.Get("Date")); err != nil {
		c.Errorf("%s: %v", target, err)
	}
	return response
}

func (c client) wantEnd() {
	c.Helper()
	if b, err := io.ReadAll(c.Reader); len(b) > 0 || err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
		c.Errorf("wanted the end, got %q, %v", b, err)
	}
}

func get(target string) string { return "GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n" }

func TestOnePortSpeaksAllProtocols(t *testing.T) {
	r := start(t, Config{})
	protocols := func(set func(*http.Protocols)) *http.Protocols {
		var p http.Protocols
		set(&p)
		return &p
	}
	for _, test := range []struct {
		name, scheme, protocol string
		transport              *http.Transport
	}{
		{"HTTP/1.1", "http", "HTTP/1.1", &http.Transport{}},
		{"h2c", "http", "HTTP/2.0", &http.Transport{Protocols: protocols(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })}},
		{"TLS, HTTP/1.1", "https", "HTTP/1.1", &http.Transport{Protocols: protocols(func(p *http.Protocols) { p.SetHTTP1(true) })}},
		{"TLS, HTTP/2", "https", "HTTP/2.0", &http.Transport{Protocols: protocols(func(p *http.Protocols) { p.SetHTTP2(true) })}},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} // self-signed by design
			defer test.transport.CloseIdleConnections()
			for range 2 {
				response, err := (&http.Client{Transport: test.transport}).Get(test.scheme + "://" + r.address + "/x")
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(response.Body)
				if err != nil || string(body) != "the page" || response.StatusCode != 503 || response.Header.Get("Protocol") != test.protocol {
					t.Errorf("%d %q through %q, %v", response.StatusCode, body, response.Header.Get("Protocol"), err)
				}
			}
		})
	}
}

func TestKeepAliveAndPipelining(t *testing.T) {
	c := start(t, Config{}).dial(t)
	c.send(get("/1"))
	c.want("/1")
	c.send(get("/2") + get("/3") + get("/4")[:20])
	c.want("/2")
	c.want("/3")
	c.send(get("/4")[20:])
	c.want("/4")
}

func TestRequestInSingleBytes(t *testing.T) {
	c := start(t, Config{}).dial(t)
	for _, b := range []byte("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n") {
		c.send(string(b))
	}
	c.send("a")
	c.send("bc" + get("/next"))
	c.want("/slow")
	c.want("/next")
}

func TestLargeHead(t *testing.T) {
	c := start(t, Config{}).dial(t)
	c.send("GET /big HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat("x", 40<<10) + "\r\n\r\n")
	c.want("/big")
}

func TestHeadWithoutEndIsRefused(t *testing.T) {
	r := start(t, Config{MaxHeaderBytes: 16 << 10})
	c := r.dial(t)
	c.send("GET / HTTP/1.1\r\nHost: a\r\n")
	go func() { // the server may close while this still writes
		_, _ = io.WriteString(c.Conn, strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 100))
	}()
	response, err := http.ReadResponse(c.Reader, nil)
	if err != nil || response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%v, %v", response, err)
	}
}

func TestHeadHasNoBody(t *testing.T) {
	c := start(t, Config{}).dial(t)
	c.send("HEAD /1 HTTP/1.1\r\nHost: a\r\n\r\n" + get("/2"))
	response, err := http.ReadResponse(c.Reader, &http.Request{Method: "HEAD"})
	if err != nil || response.ContentLength != int64(len("the page")) {
		t.Fatalf("%v %v", response, err)
	}
	c.want("/2")
}

func TestConnectionClose(t *testing.T) {
	c := start(t, Config{}).dial(t)
	c.send("GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + get("/2"))
	if !c.want("/1").Close {
		t.Error("the answer does not say Connection: close")
	}
	c.wantEnd()
}

func TestIdleConnectionIsClosed(t *testing.T) {
	r := start(t, Config{IdleTimeout: 50 * time.Millisecond})
	r.dial(t).wantEnd()
	c := r.reach(t, get("/1"))
	c.want("/1")
	c.wantEnd()
}

func TestNoiseIsDroppedQuietly(t *testing.T) {
	r := start(t, Config{})
	for _, noise := range []string{"\x00\x01\x02", "\x80\x2e\x01", "PRI / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x00\x05\x02", "\x16\x09\x09"} {
		c := r.dial(t)
		c.send(noise)
		c.wantEnd()
	}
	broken := r.dial(t) // an invalid ClientHello
	broken.send("\x16\x03\x01\x00\x10\x01" + strings.Repeat("\xff", 15))
	if b, err := io.ReadAll(broken.Reader); err != nil || len(b) > 7 { // at most a TLS alert
		t.Errorf("%q, %v", b, err)
	}
	c := r.dial(t)
	c.send(get("/after"))
	c.want("/after")
}

func TestPanicsAreContained(t *testing.T) {
	panics := make(chan any, 2)
	r := start(t, Config{OnPanic: func(value any, _ []byte) { panics <- value }})
	kept := r.dial(t)
	kept.send(get("/1"))
	kept.want("/1")
	c := r.dial(t)
	c.send(get("/panic"))
	c.wantEnd()
	if got := <-panics; got != "handler" {
		t.Errorf("panic %v", got)
	}
	kept.send(get("/2"))
	kept.want("/2")
	if n := r.Stats().Panics(); n != 1 {
		t.Errorf("%d panics counted", n)
	}
}

func TestLargeBody(t *testing.T) {
	large := teller{strings.Repeat("0123456789abcdef", 64<<10)}
	c := start(t, Config{Handler: large}).dial(t)
	c.send(get("/1") + get("/2"))
	for range 2 {
		response, err := http.ReadResponse(c.Reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(response.Body); err != nil || string(body) != large.body {
			t.Fatalf("%d bytes, %v", len(body), err)
		}
	}
}

func TestStatsCountConnections(t *testing.T) {
	r := start(t, Config{})
	c := r.dial(t)
	c.send(get("/1"))
	c.want("/1")
	now, total := map[Protocol]int64{}, map[Protocol]uint64{}
	r.Stats().Each(func(p Protocol, n int64, all uint64) { now[p], total[p] = n, all })
	if now[HTTP1] != 1 || total[HTTP1] != 1 || now[TLS] != 0 {
		t.Errorf("now %v, total %v", now, total)
	}
}
