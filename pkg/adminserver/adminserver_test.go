package adminserver

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHealth(t *testing.T) {
	ready, dead := false, errors.New("the Lease is not renewed")
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") })
	h := Health{Alive: func(*http.Request) error { return dead }, Ready: func() bool { return ready }}.Routes(metrics)
	ask := func(method, path string) (int, string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w.Code, w.Body.String()
	}
	code, text := ask(http.MethodGet, "/healthz")
	assert.Equal(t, http.StatusInternalServerError, code)
	assert.Contains(t, text, "not renewed")
	dead = nil
	code, _ = ask(http.MethodGet, "/healthz")
	assert.Equal(t, http.StatusOK, code)
	code, _ = ask(http.MethodGet, "/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, code)
	ready = true
	code, _ = ask(http.MethodGet, "/readyz")
	assert.Equal(t, http.StatusOK, code)
	_, text = ask(http.MethodGet, "/metrics")
	assert.Equal(t, "metrics", text)
	code, _ = ask(http.MethodPost, "/metrics")
	assert.Equal(t, http.StatusMethodNotAllowed, code)
}

func TestRun(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	require.ErrorContains(t, Server{Flag: "listen", Address: "127.0.0.1:http-no"}.Run(ctx), "--listen")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	require.ErrorContains(t, Server{Flag: "listen", Address: taken.Addr().String()}.Run(ctx), "address already in use")
	ended := make(chan error)
	go func() {
		ended <- Server{Flag: "listen", Address: "127.0.0.1:0", Handler: http.NotFoundHandler()}.Run(ctx)
	}()
	none := make(chan error)
	go func() { none <- Server{Flag: "listen"}.Run(ctx) }()
	stop()
	require.NoError(t, <-ended)
	require.NoError(t, <-none)
}

// TestMemoryIsBounded: whoever reaches a page's Pods may reach this port as well, and
// must not be able to use up what the page needs.
func TestMemoryIsBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	answers := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	go func() {
		ended <- Server{Flag: "listen", Address: address, Handler: answers, Longest: time.Minute}.Run(ctx)
	}()
	defer func() {
		stop()
		require.NoError(t, <-ended)
	}()
	const opened, kept = 200, maxMemory >> 15 // 32 KiB each
	closed := make(chan struct{}, opened)
	for range opened {
		c, err := dial(address)
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		go func() {
			_, _ = c.Read(make([]byte, 1))
			closed <- struct{}{}
		}()
	}
	for range opened - kept {
		select {
		case <-closed:
		case <-time.After(20 * time.Second):
			t.Fatalf("more than %d connections are kept", kept)
		}
	}
	response, err := http.Get("http://" + address + "/metrics")
	for deadline := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(deadline); { // the others have a second
		response, err = http.Get("http://" + address + "/metrics")
	}
	require.NoError(t, err)
	_ = response.Body.Close()
}

// dial waits until somebody listens.
func dial(address string) (net.Conn, error) {
	for deadline := time.Now().Add(20 * time.Second); ; {
		c, err := net.Dial("tcp", address)
		if err == nil || time.Now().After(deadline) {
			return c, err
		}
	}
}
