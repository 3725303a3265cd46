// Package adminserver serves what operators and probes ask of a program: health,
// metrics, profiles. It has little to say to anybody else, and bounds all requests.
package adminserver

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"maintenance-controller.io/pkg/httpserve"
)

// Bounds of a request, and of what ends with the program. The memory is enough for
// some dozen scrapers: whoever reaches the page's Pods may reach this port as well.
const (
	headTimeout = 5 * time.Second
	readTimeout = 10 * time.Second
	idleTimeout = 2 * time.Minute
	endTimeout  = time.Second
	maxHead     = 16 << 10
	maxMemory   = 4 << 20
)

// Server is an HTTP server that a flag asks for.
type Server struct {
	// Flag gives the address, for errors.
	Flag string
	// Address to listen on, such as :8081; empty is no server.
	Address string
	Handler http.Handler
	// Longest is how long an answer may take; above 0, or none is sent.
	Longest time.Duration
	// ErrorLog takes remarks about what clients do wrong; nil drops them.
	ErrorLog *log.Logger
}

// Run serves until ctx ends. Requests that are under way then have a second to end.
func (s Server) Run(ctx context.Context) error {
	if s.Address == "" {
		<-ctx.Done()
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Address)
	if err != nil {
		return fmt.Errorf("--%s: %w", s.Flag, err)
	}
	server := httpserve.New(httpserve.Config{
		Handler: http.HandlerFunc(s.bounded), HeaderTimeout: headTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHead, Memory: maxMemory, StopTime: endTimeout, ErrorLog: s.ErrorLog,
	})
	if err := server.Serve(ctx, listener); err != nil {
		return fmt.Errorf("--%s: %w", s.Flag, err)
	}
	return nil
}

// bounded answers a request in the time that it may take.
func (s Server) bounded(w http.ResponseWriter, r *http.Request) {
	control, now := http.NewResponseController(w), time.Now()
	_ = control.SetReadDeadline(now.Add(readTimeout)) // where it cannot be set, the server's own bounds hold
	_ = control.SetWriteDeadline(now.Add(s.Longest))
	s.Handler.ServeHTTP(w, r)
}

// Health is what probes ask.
type Health struct {
	// Alive says why the program should be started anew; nil if it need not be.
	Alive func(*http.Request) error
	// Ready says whether the program works, or stands by to.
	Ready func() bool
}

// Routes answers /healthz and /readyz, and /metrics with the handler.
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
