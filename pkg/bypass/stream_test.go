package bypass

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/access"
)

// TestResponsesStream: a response arrives as the app sends it.
func TestResponsesStream(t *testing.T) {
	events := make(chan string)
	app := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/open/events":
			w.Header().Set("Content-Type", "text/event-stream")
		case "/open/known":
			w.Header().Set("Content-Length", "6")
		}
		_ = http.NewResponseController(w).Flush()
		for range 2 {
			_, _ = io.WriteString(w, <-events)
			_ = http.NewResponseController(w).Flush()
		}
	})
	w := newWorld(t, everything(), app, access.HTTP)
	for _, path := range []string{"/open/events", "/open/chunks", "/open/known"} {
		response, err := http.DefaultTransport.RoundTrip(w.ask(t, http.MethodGet, path))
		require.NoError(t, err)
		for _, event := range []string{"one", "two"} {
			events <- event
			got := make([]byte, 3)
			_, err = io.ReadFull(response.Body, got)
			require.NoError(t, err, path)
			assert.Equal(t, event, string(got), path)
		}
		rest, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		assert.Empty(t, rest)
	}
}

// TestUploadsStream: content reaches the app as the client sends it.
func TestUploadsStream(t *testing.T) {
	parts := make(chan string, 2)
	app := newApp(t, func(_ http.ResponseWriter, r *http.Request) {
		b := make([]byte, 4)
		_, _ = io.ReadFull(r.Body, b)
		parts <- string(b)
		rest, _ := io.ReadAll(r.Body)
		parts <- string(rest)
	})
	w := newWorld(t, everything(), app, access.HTTP)
	r, sends := io.Pipe()
	upload := w.ask(t, http.MethodPost, "/open/x")
	upload.Body = r
	done := make(chan error, 1)
	go func() {
		response, err := http.DefaultTransport.RoundTrip(upload)
		if err == nil {
			_ = response.Body.Close()
		}
		done <- err
	}()
	_, _ = io.WriteString(sends, "abcd")
	assert.Equal(t, "abcd", <-parts, "before the client has sent it all")
	_, _ = io.WriteString(sends, "efg")
	_ = sends.Close()
	assert.Equal(t, "efg", <-parts)
	require.NoError(t, <-done)
}

// TestExpectContinue: the app, and not the door, decides whether the client should send its
// content.
func TestExpectContinue(t *testing.T) {
	app := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/open/no" {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		echo(w, r)
	})
	w := newWorld(t, everything(), app, access.HTTP)
	w.bypass.Doors()[0].transports.http().ExpectContinueTimeout = time.Minute // the app on a busy machine decides later
	for path, want := range map[string]string{"/open/yes": "HTTP/1.1 100 Continue\r\n", "/open/no": "HTTP/1.1 413 Request Entity Too Large\r\n"} {
		c, err := net.Dial("tcp", w.address)
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = io.WriteString(c, "PUT "+path+" HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
		require.NoError(t, err)
		reader := bufio.NewReader(c)
		line, err := reader.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, want, line)
		if path == "/open/no" {
			continue
		}
		_, _ = reader.ReadString('\n')
		_, err = io.WriteString(c, "abc")
		require.NoError(t, err)
		response, err := http.ReadResponse(reader, nil)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, response.StatusCode, "one 100 is enough")
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		saw := answer{body: string(body)}.seen(t)
		assert.Equal(t, "abc", saw.Body)
		assert.Equal(t, []string{"100-continue"}, saw.Header["Expect"])
	}
}
