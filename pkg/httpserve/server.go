// Package httpserve listens on a port, or several, for HTTP/1.1, HTTP/2 in cleartext
// and TLS, which it tells apart by a connection's first bytes, and drains before it
// stops. Requests are read and answers framed by net/http alone.
//
// What holds for every handler:
//
//   - Memory is bounded (Config.Memory): under pressure the connection that has
//     kept the server waiting longest goes, or else the newest is refused.
//   - A head arrives within HeaderTimeout in all. How long content and answer may
//     take is the handler's to say (http.ResponseController): one that streams
//     for hours sets no deadline.
//   - A connection is used again only where there is no doubt about where a
//     request ended, see framing.
//   - An answer arrives also at a client that is still sending, see conn.Close.
package httpserve

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Config says what is served and for how long one waits.
type Config struct {
	Handler http.Handler

	// HeaderTimeout bounds how long a request's head may take to arrive, and a
	// TLS handshake; 15 s if zero.
	HeaderTimeout time.Duration
	// IdleTimeout bounds how long a connection may wait for its next request. Let
	// it be longer than the keep-alive of every proxy in front (60 s for nginx and
	// ALB, 90 s for Traefik, 600 s for Google's), or they send a request into a
	// connection that is just being closed, and make a 502 of it. 650 s if zero.
	IdleTimeout time.Duration
	// MaxHeaderBytes bounds a request's head; 128 KiB if zero.
	MaxHeaderBytes int
	// Memory bounds what connections, heads and streams take, in bytes as
	// estimated; 320 MiB if zero, which is 10,000 connections.
	Memory int64
	// DrainTime is how long requests go on being answered after Serve's context ends;
	// not at all if zero.
	DrainTime time.Duration
	// StopTime bounds how long the last answers may take after that; 5 s if zero.
	StopTime time.Duration

	// Certificate is that of a TLS handshake; one that is signed by itself if nil.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	OnDrain  func()                        // called when draining begins, if set
	OnPanic  func(value any, stack []byte) // called for each contained panic, if set
	ErrorLog *log.Logger                   // net/http's remarks on clients; nothing if nil
}

// Defaults fills what c leaves at zero.
func (c Config) Defaults() Config {
	or := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	or(&c.HeaderTimeout, 15*time.Second)
	or(&c.IdleTimeout, 650*time.Second)
	or(&c.StopTime, 5*time.Second)
	if c.MaxHeaderBytes == 0 {
		c.MaxHeaderBytes = 128 << 10
	}
	if c.Memory == 0 {
		c.Memory = 10000 * connCost
	}
	if c.ErrorLog == nil {
		c.ErrorLog = log.New(io.Discard, "", 0)
	}
	return c
}

// Server serves its listeners, once. A handler knows the one that a request came by
// from http.LocalAddrContextKey.
type Server struct {
	Config
	draining atomic.Bool
	stats    Stats
	memory   *budget
	http     *http.Server
	clear    *handover // HTTP/1 and h2c, for net/http
	tls      *handover
}

// New makes a server. Serve starts it.
func New(c Config) *Server {
	s := &Server{Config: c.Defaults()}
	s.memory = newBudget(s.Memory)
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler:   s.wrap(s.Handler),
		Protocols: &protocols,
		HTTP2: &http.HTTP2Config{MaxReadFrameSize: 16 << 10, MaxReceiveBufferPerConnection: 128 << 10, MaxReceiveBufferPerStream: streamBuffer,
			WriteByteTimeout: time.Minute}, // of the client that reads nothing at all
		ReadHeaderTimeout:            s.HeaderTimeout,
		IdleTimeout:                  s.IdleTimeout,
		MaxHeaderBytes:               s.MaxHeaderBytes,
		ErrorLog:                     s.ErrorLog,
		ConnState:                    connState,
		DisableGeneralOptionsHandler: true, // "OPTIONS *" gets the page as well
		TLSConfig:                    s.tlsConfig(),
	}
	return s
}

func (s *Server) tlsConfig() *tls.Config {
	certificate := s.Certificate
	if certificate == nil {
		once := sync.OnceValues(func() (*tls.Certificate, error) { return SelfSigned(time.Now(), "maintenance-page") })
		certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return once() }
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: hello, GetCertificate: certificate}
}

// Stats counts this server's connections.
func (s *Server) Stats() *Stats { return &s.stats }

// Serve accepts connections until ctx ends, goes on for DrainTime, lets the
// last answers out and returns. It closes the listeners, of which there must be one.
// It returns nil after a stop.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	s.clear, s.tls = newHandover(listeners[0].Addr()), newHandover(listeners[0].Addr())
	var served sync.WaitGroup
	served.Go(func() { _ = s.http.Serve(s.clear) })          // ends with ErrServerClosed only
	served.Go(func() { _ = s.http.ServeTLS(s.tls, "", "") }) // as well
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		served.Go(func() { failed <- s.accept(l) })
	}
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.drain(context.WithoutCancel(ctx))
	}
	s.stop(context.WithoutCancel(ctx), listeners)
	served.Wait()
	return err
}

// accept takes connections until l is closed. Running out of file descriptors
// passes: it waits a little and goes on.
func (s *Server) accept(l net.Listener) error {
	const shortest, longest = 5 * time.Millisecond, time.Second
	for pause := shortest; ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = shortest
			if c, ok := s.admit(nc); ok {
				go s.sort(c)
			}
		case errors.Is(err, net.ErrClosed):
			return nil
		case !isTemporary(err):
			return err
		default:
			time.Sleep(pause)
			pause = min(2*pause, longest)
		}
	}
}

func (s *Server) drain(ctx context.Context) {
	s.draining.Store(true)
	if s.OnDrain != nil {
		s.OnDrain()
	}
	timer := time.NewTimer(s.DrainTime)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// stop closes the listeners and every connection that waits for a request.
func (s *Server) stop(ctx context.Context, listeners []net.Listener) {
	s.draining.Store(true)
	for _, l := range listeners {
		_ = l.Close()
	}
	ctx, cancel := context.WithTimeout(ctx, s.StopTime)
	defer cancel()
	s.memory.closeWaiting()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	s.memory.closeWaiting() // what was on its way to net/http
}

// wrap adds to the handler what belongs to connections.
func (s *Server) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor > 1 {
			cost := streamCost(r)
			if !s.memory.borrow(cost) {
				panic(http.ErrAbortHandler) // resets the stream
			}
			defer s.memory.giveBack(cost)
		}
		defer s.contain()
		if s.draining.Load() || !framing(r) {
			w.Header().Set("Connection", "close") // a GOAWAY in HTTP/2
		}
		h.ServeHTTP(w, r)
		if length := w.Header().Get("Content-Length"); r.ProtoMajor > 1 && length != "" && length != "0" {
			// Or net/http sends it when this has returned, and a client that opens no
			// window holds the stream then, uncounted. Not where there is no content:
			// gRPC's answer must stay a single header block.
			_ = http.NewResponseController(w).Flush()
		}
	})
}

// framing says whether this request's end is beyond doubt, so that what follows
// it may count as the next request. A transfer coding leaves doubt: net/http
// hides whether a length stood beside it (RFC 9112 6.1 wants the connection
// closed then), and whoever reads the chunks otherwise than it does, or stops in
// the middle, would have content taken for requests. HTTP/1.0 knows no transfer
// coding, and net/http hides that there was one.
func framing(r *http.Request) bool {
	return r.ProtoAtLeast(1, 1) && len(r.TransferEncoding) == 0 || r.ProtoMajor > 1
}

// contain keeps a panic to its connection or stream, which it ends.
func (s *Server) contain() {
	value := recover()
	if value == nil {
		return
	}
	if err, ok := value.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
		s.stats.panics.Add(1)
		if s.OnPanic != nil {
			s.OnPanic(value, debug.Stack())
		}
	}
	panic(http.ErrAbortHandler)
}
