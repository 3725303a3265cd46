package adminserver

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

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
