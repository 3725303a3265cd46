package adminserver

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
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
