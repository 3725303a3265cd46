package pageserver

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"maintenance-controller.io/pages"
)

// raw is a connection on which a test writes requests itself.
type raw struct {
	*testing.T
	net.Conn
	*bufio.Reader
}

func (s served) dial(t *testing.T) raw {
	t.Helper()
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return raw{t, c, bufio.NewReader(c)}
}

func (c raw) send(s string) {
	c.Helper()
	if _, err := io.WriteString(c.Conn, s); err != nil {
		c.Fatal(err)
	}
}

// page reads one answer, and says whether it announced the end of the connection.
func (c raw) page() (closes bool) {
	c.Helper()
	response, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		c.Fatal(err)
	}
	if body, err := io.ReadAll(response.Body); err != nil || response.StatusCode != 503 || !strings.Contains(string(body), "<h1>") {
		c.Fatalf("%s %q, %v", response.Status, body, err)
	}
	return response.Close
}

func (c raw) wantEnd() {
	c.Helper()
	if b, err := io.ReadAll(c.Reader); len(b) > 0 || err != nil {
		c.Errorf("wanted the end, got %q, %v", b, err)
	}
}

func TestExpectContinueIsAnsweredAtOnce(t *testing.T) {
	c := serve(t, Config{Page: pages.Default()}).dial(t)
	c.send("PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n")
	if !c.page() { // the first answer, so no 100 came before
		t.Error("the connection is kept although the content may still come")
	}
}

func TestUploadIsAnsweredBeforeItEnds(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]string{
		"of known length":       "Content-Length: 10000000000\r\n\r\nabc",
		"small, with a pause":   "Content-Length: 10\r\n\r\nabc",
		"in chunks":             "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
		"in chunks, one broken": "Transfer-Encoding: chunked\r\n\r\nz\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, Config{Page: pages.Default()}).dial(t)
			c.send("POST /upload HTTP/1.1\r\nHost: a\r\n" + head)
			if !c.page() {
				t.Error("the connection is kept in the middle of a request")
			}
			// Whatever follows belongs to the content.
			c.send("DELETE /hidden HTTP/1.1\r\nHost: a\r\n\r\n")
			c.wantEnd()
		})
	}
}

func TestSmallUploadKeepsTheConnection(t *testing.T) {
	s := serve(t, Config{Page: pages.Default()})
	s.server.keepTimeout = time.Minute // between a head and its content a busy machine may pause
	c := s.dial(t)
	for _, size := range []int{1, 1000, keepBytes} {
		c.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: " + strconv.Itoa(size) + "\r\n\r\n")
		c.send(strings.Repeat("x", size))
		if c.page() {
			t.Errorf("the connection is not kept after %d bytes", size)
		}
	}
}

// TestUploadOverHTTP2IsAnsweredBeforeItEnds: an HTTP/2 client gets the answer while it is
// still sending.
func TestUploadOverHTTP2IsAnsweredBeforeItEnds(t *testing.T) {
	l := serve(t, Config{Page: pages.Default()})
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	defer transport.CloseIdleConnections()
	content, end := io.Pipe()
	defer func() { _ = end.Close() }()
	go func() { _, _ = io.WriteString(end, strings.Repeat("x", 1000)) }()
	response, err := (&http.Client{Transport: transport}).Post("http://"+l.address+"/upload", "text/plain", content)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(response.Body); err != nil || response.StatusCode != 503 || !strings.Contains(string(body), "<h1>") {
		t.Errorf("%s %q, %v", response.Status, body, err)
	}
}
