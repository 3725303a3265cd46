package app

import (
	"fmt"
	"net/http"
	"sync/atomic"
)

// health answers /healthz, /readyz and /metrics.
type health struct {
	ready   *atomic.Bool
	alive   func(*http.Request) error
	metrics http.Handler
}

// routes of the server that --listen asks for.
func (h *health) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", h.healthz)
	mux.HandleFunc("GET /readyz", h.readyz)
	mux.Handle("GET /metrics", h.metrics)
	return mux
}

// healthz fails when this replica holds the Lease and no longer renews it.
func (h *health) healthz(w http.ResponseWriter, r *http.Request) {
	if err := h.alive(r); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, "ok")
}

// readyz says that the replica works or stands by to.
func (h *health) readyz(w http.ResponseWriter, _ *http.Request) {
	if !h.ready.Load() {
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}
