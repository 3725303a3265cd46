package httpserve

import (
	"bufio"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// startControl serves the same handler with net/http alone.
func startControl(t *testing.T) string {
	t.Helper()
	s := httptest.NewUnstartedServer(teller{"the page"})
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// answered sends raw in one go and returns the targets that were answered, with "close" after
// each answer that announced it, and then the state of the connection: "open" if another
// request is answered, "end" otherwise. It sends that request after the wanted number of
// answers: answers are in the order of their requests, so unwanted ones come before it.
func answered(t *testing.T, address, raw, want string) string {
	t.Helper()
	c := dial(t, address)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(c.Conn, raw) // the server may close the connection before the end
	}()
	var got []string
	read := func() bool {
		response, err := http.ReadResponse(c.Reader, nil)
		if err != nil {
			return false
		}
		target := response.Header.Get("Target")
		if target == "" {
			target = response.Status[:3]
		}
		if response.Close {
			target += " close"
		}
		got = append(got, target)
		_, err = io.Copy(io.Discard, response.Body)
		return err == nil
	}
	for wanted := strings.Count(want, ", "); len(got) < wanted && read(); {
	}
	<-sent
	_, _ = io.WriteString(c.Conn, get("/last")) // the connection may have ended
	for read() {
		if last := len(got) - 1; got[last] == "/last" {
			got[last] = "open"
			return strings.Join(got, ", ")
		}
	}
	return strings.Join(append(got, "end"), ", ")
}

// TestFraming sends everything to this server and to net/http alone. No part of a request's
// content is answered, and the next request is answered unless the previous answer announced
// the end of the connection.
func TestFraming(t *testing.T) {
	t.Parallel()
	r, control := start(t, Config{}), startControl(t)
	post := func(fields, content string) string {
		return "POST /1 HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + content
	}
	const chunked = "Transfer-Encoding: chunked\r\n"
	large := strings.Repeat("10000\r\n"+strings.Repeat("x", 64<<10)+"\r\n", 5) + "0\r\n\r\n"
	hidden := "DELETE /hidden HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, test := range []struct{ name, raw, want, control string }{
		{"a length", post("Content-Length: 3\r\n", "abc") + get("/2"), "/1, /2, open", "/1, /2, open"},
		{"a line end after the content", post("Content-Length: 3\r\n", "abc\r\n") + get("/2"), "/1, /2, open", "/1, /2, open"},
		{"chunks", post(chunked, "3\r\nabc\r\n0\r\n\r\n") + get("/2"), "/1 close, end", "/1, /2, open"},
		{"chunks over 256 KiB", post(chunked, large) + get("/2"), "/1 close, end", "/1 close, end"},
		{"a bad size of a chunk", post(chunked, "z\r\n"+hidden), "/1 close, end", "/1 close, end"},
		{"a chunk that is longer than it says", post(chunked, "3\r\nabcd\r\n"+hidden), "/1 close, end", "/1 close, end"},
		{"a bad trailer", post(chunked, "0\r\nbad trailer\r\n\r\n"+hidden), "/1 close, end", "/1 close, end"},
		{"a trailer", post(chunked, "0\r\nX: y\r\n\r\n"), "/1 close, end", "/1, open"},
		{"a length beside chunks", post(chunked+"Content-Length: 3\r\n", "0\r\n\r\n"+hidden), "/1 close, end", "/1, /hidden, open"},
		{"HTTP/1.0 with chunks", "POST /1 HTTP/1.0\r\nConnection: keep-alive\r\n" + chunked + "Content-Length: 0\r\n\r\n5f\r\n" + hidden, "/1 close, end", "/1, 400 close, end"},
		{"two lengths", post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"), "400 close, end", "400 close, end"},
		{"an unknown coding", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), "501 close, end", "501 close, end"},
		{"an expectation that is none", post("Expect: foo\r\nContent-Length: 3\r\n", "abc"), "417 close, end", "417 close, end"},
		{"UTF-8 in Host", "GET / HTTP/1.1\r\nHost: café.example\r\n\r\n", "400 close, end", "400 close, end"},
		{"a PROXY preamble", "PROXY TCP4 192.0.2.1 192.0.2.2 1 80\r\n" + get("/1"), "/1, open", "400 close, end"},
		{"bare line feeds", "GET /1 HTTP/1.1\nHost: a\n\n", "/1, open", "/1, open"},
		{"an empty line first", "\r\n" + get("/1"), "400 close, end", "400 close, end"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := answered(t, r.address, test.raw, test.want); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
			if got := answered(t, control, test.raw, test.control); got != test.control {
				t.Errorf("net/http alone: %q, want %q", got, test.control)
			}
		})
	}
}

// TestSlowHeadIsCutOff: the time for a head begins with its first byte, however slowly the
// others arrive.
func TestSlowHeadIsCutOff(t *testing.T) {
	t.Parallel()
	const bound = 300 * time.Millisecond
	r := start(t, Config{HeaderTimeout: bound})
	for name, first := range map[string]string{
		"first bytes": "P", "head": "GET / HTTP/1.1\r\nHost: a\r\nX:", "after an answer": get("/1") + "GET /", "a ClientHello": "\x16\x03\x01\x40\x00\x01",
		"PROXY": "PROXY TCP4 192.",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := r.dial(t)
			begin := time.Now()
			c.send(first)
			if strings.Contains(first, " /1 ") {
				c.want("/1")
			}
			trickle := time.NewTicker(bound / 10)
			defer trickle.Stop()
			ended := make(chan error)
			go func() { _, err := io.Copy(io.Discard, c.Reader); ended <- err }()
			for open := true; open; {
				select {
				case err := <-ended:
					if errors.Is(err, os.ErrDeadlineExceeded) {
						t.Error("it is not cut off")
					}
					open = false
				case <-trickle.C:
					_, _ = io.WriteString(c.Conn, "a")
				}
			}
			if took := time.Since(begin); took < bound {
				t.Errorf("cut off after %s, before %s", took, bound)
			}
		})
	}
}

// TestHandlerStreamsWithoutLimit: a handler can stream in both directions for as long as it
// wants.
func TestHandlerStreamsWithoutLimit(t *testing.T) {
	r := start(t, Config{HeaderTimeout: 100 * time.Millisecond, IdleTimeout: 100 * time.Millisecond,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			if err := control.EnableFullDuplex(); err != nil {
				t.Error(err)
			}
			lines := bufio.NewScanner(r.Body)
			for lines.Scan() {
				_, _ = io.WriteString(w, "echo "+lines.Text()+"\n")
				_ = control.Flush()
			}
		})})
	c := r.reach(t, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabc\n\r\n")
	pause := time.NewTicker(150 * time.Millisecond) // longer than all timeouts of the server
	defer pause.Stop()
	response, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	echo := bufio.NewReader(response.Body)
	for range 4 {
		if line, err := echo.ReadString('\n'); err != nil || line != "echo abc\n" {
			t.Fatalf("%q, %v", line, err)
		}
		<-pause.C
		c.send("4\r\nabc\n\r\n")
	}
}

// TestAnswerReachesSendingClient: Python's http.client sends a whole request before it reads
// anything.
func TestAnswerReachesSendingClient(t *testing.T) {
	r := start(t, Config{})
	c := r.dial(t)
	c.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 50000000\r\n\r\n")
	block := make([]byte, 100_000)
	for sent := range 500 {
		if _, err := c.Conn.Write(block); err != nil {
			t.Fatalf("after %d KB: %v", sent*100, err)
		}
	}
	if !c.want("/upload").Close {
		t.Error("the answer does not say Connection: close")
	}
}
