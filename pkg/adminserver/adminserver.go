// Package adminserver answers what operators and probes ask of a program: health and metrics.
package adminserver

import (
	"fmt"
	"net/http"
)

// Memory bounds what connections of an admin port take, in bytes. It is enough for some dozen
// scrapers: clients that reach the page Pods may reach this port as well.
const Memory = 4 << 20

// Health is what probes ask. Both fields are required.
type Health struct {
	// Alive returns why the program should be restarted; nil if it need not be.
	Alive func(*http.Request) error
	// Ready reports whether the program works, or stands by to take over.
	Ready func() bool
}

// Routes returns the handler of /healthz and /readyz, and of /metrics, which metrics answers.
func (h Health) Routes(metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", h.healthz)
	mux.HandleFunc("GET /readyz", h.readyz)
	mux.Handle("GET /metrics", metrics)
	return mux
}

func (h Health) healthz(w http.ResponseWriter, r *http.Request) {
	if err := h.Alive(r); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintln(w, "ok")
}

func (h Health) readyz(w http.ResponseWriter, _ *http.Request) {
	if !h.Ready() {
		http.Error(w, "starting", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}
