package httpserve

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"time"
)

// Bounds of a Port. Requests are small, and a second is enough to finish the last ones.
const (
	portHeaderTimeout  = 5 * time.Second
	portReadTimeout    = 10 * time.Second
	portIdleTimeout    = 2 * time.Minute
	portStopTimeout    = time.Second
	portMaxHeaderBytes = 16 << 10
)

// Port serves small requests on the address that a flag gives. A request must arrive within 10 s,
// its head within 5 s and 16 KiB.
type Port struct {
	// Flag that gives the address, for errors; without the leading dashes.
	Flag string
	// Address to listen on, such as :8081; if empty, Run serves nothing.
	Address string
	Handler http.Handler // answers the requests
	// AnswerTimeout bounds how long an answer may take; above 0, or none is sent.
	AnswerTimeout time.Duration
	// Memory bounds what connections take, see Config; the default of Config if zero.
	Memory int64
	// Certificate for TLS, see Config; self-signed if nil. Requests without TLS are answered as well.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	// ErrorLog takes net/http's remarks on clients; nil drops them.
	ErrorLog *log.Logger
}

// Run listens and serves until ctx ends, then gives requests in progress a second to finish. Its
// errors name the flag.
func (p Port) Run(ctx context.Context) error {
	if p.Address == "" {
		<-ctx.Done()
		return nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.Address)
	if err != nil {
		return fmt.Errorf("--%s: %w", p.Flag, err)
	}
	return p.Serve(ctx, listener)
}

// Serve is Run on a listener, which it closes.
func (p Port) Serve(ctx context.Context, l net.Listener) error {
	server := New(Config{
		Handler: http.HandlerFunc(p.bounded), Certificate: p.Certificate, HeaderTimeout: portHeaderTimeout, IdleTimeout: portIdleTimeout,
		MaxHeaderBytes: portMaxHeaderBytes, Memory: p.Memory, StopTime: portStopTimeout, ErrorLog: p.ErrorLog,
	})
	if err := server.Serve(ctx, l); err != nil {
		return fmt.Errorf("--%s: %w", p.Flag, err)
	}
	return nil
}

// bounded answers a request within the time limits.
func (p Port) bounded(w http.ResponseWriter, r *http.Request) {
	control, now := http.NewResponseController(w), time.Now()
	_ = control.SetReadDeadline(now.Add(portReadTimeout)) // if it cannot be set, the server's own bounds hold
	_ = control.SetWriteDeadline(now.Add(p.AnswerTimeout))
	p.Handler.ServeHTTP(w, r)
}
