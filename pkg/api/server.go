package api

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"

	"maintenance-controller.io/pkg/httpserve"
)

// Bounds of a request, and of what ends with the program. The memory, in bytes, is
// enough for 800 connections with TLS; when it is used up, who has kept the server
// waiting longest goes.
const (
	headTimeout   = 5 * time.Second
	readTimeout   = 10 * time.Second
	answerTimeout = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	endTimeout    = time.Second
	maxHead       = 16 << 10
	maxMemory     = 64 << 20
)

// Server is the API's port.
type Server struct {
	Address string // to listen on, such as :8443
	Handler http.Handler
	// Plain says that requests without TLS are answered as well.
	Plain       bool
	Certificate *Certificate
	ErrorLog    *log.Logger // takes remarks about what clients do wrong; nil drops them
}

// Run serves until ctx ends. Requests that are under way then have a second to end.
func (s Server) Run(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.Address)
	if err != nil {
		return fmt.Errorf("--api-listen: %w", err)
	}
	if err := s.serve(ctx, listener); err != nil {
		return fmt.Errorf("--api-listen: %w", err)
	}
	return nil
}

func (s Server) serve(ctx context.Context, l net.Listener) error {
	return httpserve.New(httpserve.Config{
		Handler: http.HandlerFunc(s.bounded), Certificate: s.Certificate.Get,
		HeaderTimeout: headTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHead, Memory: maxMemory, StopTime: endTimeout,
		ErrorLog: s.ErrorLog,
	}).Serve(ctx, l)
}

// bounded answers a request in the time that it may take, and only where nobody on the
// way can read along.
func (s Server) bounded(w http.ResponseWriter, r *http.Request) {
	control, now := http.NewResponseController(w), time.Now()
	_ = control.SetReadDeadline(now.Add(readTimeout)) // where it cannot be set, the server's own bounds hold
	_ = control.SetWriteDeadline(now.Add(answerTimeout))
	if r.TLS == nil && !s.Plain {
		refuse(w, r, problemf(http.StatusBadRequest, "this port speaks TLS: ask https://"))
		return
	}
	s.Handler.ServeHTTP(w, r)
}
