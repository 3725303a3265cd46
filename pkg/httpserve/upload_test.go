package httpserve

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestExpectationIsAnsweredAtOnce(t *testing.T) {
	c := start(t, Config{}).dial(t)
	c.send("PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n")
	if !c.want(http1, "/upload").Close { // the first answer, so no 100 came before
		t.Error("the connection is kept, although nobody knows whether the content comes")
	}
}

func TestUploadIsAnsweredBeforeItEnds(t *testing.T) {
	for name, head := range map[string]string{
		"of known length": "Content-Length: 10000000000\r\n\r\nabc",
		"in chunks":       "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, Config{}).dial(t)
			c.send("POST /upload HTTP/1.1\r\nHost: a\r\n" + head)
			c.want(http1, "/upload")
		})
	}
}

// A client that sends all it has before it reads must still find the answer, not
// a reset; and the server must not take in all of a large upload.
func TestUploadThatIsNotReadToTheEndDoesNotLoseTheAnswer(t *testing.T) {
	r := start(t, Config{})
	c := r.dial(t)
	c.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000000\r\n\r\n")
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	sent, block := 0, make([]byte, 64<<10)
	for {
		n, err := c.Conn.Write(block)
		sent += n
		if err != nil {
			break // blocked: the server has stopped reading
		}
		if sent > 256<<20 {
			t.Fatal("the server reads without end")
		}
	}
	t.Logf("%d KiB went out", sent>>10)
	c.want(http1, "/upload")
}

// The client of HTTP/2 still sends, and gets the answer all the same.
func TestUploadOverHTTP2IsAnsweredBeforeItEnds(t *testing.T) {
	r := start(t, Config{})
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	defer transport.CloseIdleConnections()
	content, end := io.Pipe()
	defer func() { _ = end.Close() }()
	go func() { _, _ = io.WriteString(end, strings.Repeat("x", 1000)) }()
	response, err := (&http.Client{Transport: transport}).Post("http://"+r.address+"/upload", "text/plain", content)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(response.Body); err != nil || string(body) != "the page" || response.StatusCode != 503 {
		t.Errorf("%d %q, %v", response.StatusCode, body, err)
	}
}
