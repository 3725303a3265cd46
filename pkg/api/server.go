package api

import (
	"net/http"
	"time"
)

// Bounds of the API's port, see httpserve.Port.
const (
	// AnswerTimeout bounds how long an answer may take to reach its client.
	AnswerTimeout = 30 * time.Second
	// Memory is enough for 800 connections with TLS, in bytes. When it is used up, the connection
	// that has kept the server waiting longest is closed.
	Memory = 64 << 20
)

// RequireTLS answers requests without TLS with an error: others on the way could read the answer.
func RequireTLS(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil {
			writeProblem(w, r, problemf(http.StatusBadRequest, "this port requires TLS: use https://"))
			return
		}
		h.ServeHTTP(w, r)
	})
}
