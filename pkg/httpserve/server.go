// Package httpserve listens on one port for HTTP/1.1, HTTP/2 in cleartext and
// TLS, which it tells apart by a connection's first bytes, and drains before it
// stops.
//
// Plain HTTP/1.1 requests have a lane of their own (Direct), in which an idle
// connection holds no buffer and an answer is one write. Whatever is not plain,
// and every other protocol, is net/http's: a connection goes over with the bytes
// that were read from it, and stays there.
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
	// Handler answers without reading the content. It sets Content-Length, so that
	// the answer is complete at the client before the content is.
	Handler http.Handler
	Direct  Direct // optional

	// HeaderTimeout bounds how long a request's head may take to arrive.
	HeaderTimeout time.Duration
	// WriteTimeout bounds how long a client may take to read an answer.
	WriteTimeout time.Duration
	// IdleTimeout bounds how long a connection may wait for its next request. Let
	// it be longer than the keep-alive of every proxy in front (60 s for nginx and
	// ALB, 90 s for Traefik, 600 s for Google's), or they send a request into a
	// connection that is just being closed, and make a 502 of it.
	IdleTimeout time.Duration
	// MaxHeaderBytes bounds a request's head.
	MaxHeaderBytes int
	// DrainTime is how long requests go on being answered after Serve's context ends.
	DrainTime time.Duration
	// StopTime bounds how long the last answers may take after that.
	StopTime time.Duration

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
	or(&c.WriteTimeout, time.Minute)
	or(&c.IdleTimeout, 650*time.Second)
	or(&c.StopTime, 5*time.Second)
	if c.MaxHeaderBytes == 0 {
		c.MaxHeaderBytes = 128 << 10
	}
	if c.ErrorLog == nil {
		c.ErrorLog = log.New(io.Discard, "", 0)
	}
	return c
}

// Server serves one listener, once.
type Server struct {
	Config
	draining atomic.Bool
	date     dates
	stats    Stats
	http     *http.Server
	clear    *handover // HTTP/1 and h2c, for net/http
	tls      *handover
	pool     scratches

	mu     sync.Mutex
	active map[*conn]struct{} // in the direct lane, or not yet in any
}

// New makes a server. Serve starts it.
func New(c Config) *Server {
	s := &Server{Config: c.Defaults(), active: map[*conn]struct{}{}, pool: newScratches()}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler:                      s.wrap(s.Handler),
		Protocols:                    &protocols,
		HTTP2:                        &http.HTTP2Config{MaxReadFrameSize: 16 << 10, MaxReceiveBufferPerConnection: 128 << 10, MaxReceiveBufferPerStream: 64 << 10},
		ReadHeaderTimeout:            s.HeaderTimeout,
		ReadTimeout:                  2 * s.HeaderTimeout,
		WriteTimeout:                 s.WriteTimeout,
		IdleTimeout:                  s.IdleTimeout,
		MaxHeaderBytes:               s.MaxHeaderBytes,
		ErrorLog:                     s.ErrorLog,
		DisableGeneralOptionsHandler: true, // "OPTIONS *" gets the page as well
		TLSConfig:                    tlsConfig(),
	}
	return s
}

func tlsConfig() *tls.Config {
	certificate := sync.OnceValues(func() (*tls.Certificate, error) { return selfSigned(time.Now()) })
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate() },
	}
}

// Stats counts this server's connections.
func (s *Server) Stats() *Stats { return &s.stats }

// Serve accepts connections until ctx ends, goes on for DrainTime, lets the
// last answers out and returns. It closes l. It returns nil after a stop.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.clear, s.tls = newHandover(l.Addr()), newHandover(l.Addr())
	var served sync.WaitGroup
	served.Go(func() { _ = s.http.Serve(s.clear) })          // ends with ErrServerClosed only
	served.Go(func() { _ = s.http.ServeTLS(s.tls, "", "") }) // as well
	failed := make(chan error, 1)
	served.Go(func() { failed <- s.accept(l) })
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		s.drain(context.WithoutCancel(ctx))
	}
	s.stop(context.WithoutCancel(ctx), l)
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
			c := s.newConn(nc)
			s.remember(c)
			go s.serve(c)
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

// stop closes the listener and every connection that waits for a request.
func (s *Server) stop(ctx context.Context, l net.Listener) {
	s.draining.Store(true)
	_ = l.Close()
	ctx, cancel := context.WithTimeout(ctx, s.StopTime)
	defer cancel()
	s.wakeAll()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	for s.open() > 0 && ctx.Err() == nil {
		s.wakeAll()
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// wakeAll ends the wait of every connection of the direct lane; one that is
// being answered closes after that.
func (s *Server) wakeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.active {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
}

func (s *Server) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.active)
}

func (s *Server) remember(c *conn) {
	s.stats.opened()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active[c] = struct{}{}
}

func (s *Server) forget(c *conn) {
	s.stats.closed(c.protocol)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.active, c)
}

// handOver gives the connection to net/http for good, with the bytes that are
// read but not answered.
func (v *visit) handOver(used int) {
	c, s := v.conn, v.server
	c.replay = append([]byte(nil), v.buf.in[used:v.n]...)
	v.buf.giveBack()
	v.buf = nil
	_ = c.SetDeadline(time.Time{}) // net/http sets its own
	s.mu.Lock()
	delete(s.active, c)
	s.mu.Unlock()
	lane := s.clear
	if c.protocol == TLS {
		lane = s.tls
	}
	if !lane.give(c) {
		v.end()
	}
}

// wrap adds to the handler what belongs to connections.
func (s *Server) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if value := recover(); value != nil {
				s.panicked(value)
				panic(http.ErrAbortHandler) // ends this request's connection or stream, quietly
			}
		}()
		if s.draining.Load() || r.ProtoMajor == 1 && r.ContentLength > maxSkip {
			w.Header().Set("Connection", "close") // a GOAWAY in HTTP/2
		}
		switch {
		case r.ContentLength == 0 || r.Header.Get("Expect") != "":
			h.ServeHTTP(w, r)
		case r.ProtoMajor > 1:
			answerStream(h, w, r)
		default:
			answerFirst(h, w, r)
		}
	})
}

// answerFirst answers an HTTP/1 request before its content is read; net/http on
// its own reads up to 256 KiB first. What a kept connection needs is then read
// here: left to net/http in full-duplex mode, it breaks the next request.
func answerFirst(h http.Handler, w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	if control.EnableFullDuplex() != nil {
		h.ServeHTTP(w, r)
		return
	}
	h.ServeHTTP(w, r)
	if control.Flush() == nil && r.ContentLength <= maxSkip {
		_, _ = io.CopyN(io.Discard, r.Body, maxSkip) // an error ends the connection
	}
}

// streamLinger is short, because some clients take an answer for complete only
// when its stream ends.
const streamLinger = time.Second

// answerStream answers an HTTP/2 request and lingers as conn.Close does: net/http
// resets the stream (RFC 9113 8.1) when the handler returns before the content
// ends, and curl 7.88 drops an answer that it has not read by then. An answer
// without content, such as gRPC's, must stay a single header block: no flush.
func answerStream(h http.Handler, w http.ResponseWriter, r *http.Request) {
	h.ServeHTTP(w, r)
	if length := w.Header().Get("Content-Length"); length == "" || length == "0" {
		return
	}
	control := http.NewResponseController(w)
	if control.Flush() == nil && control.SetReadDeadline(time.Now().Add(streamLinger)) == nil {
		_, _ = io.CopyN(io.Discard, r.Body, lingerBytes) // an error ends the stream
	}
}

// contain keeps a panic in the direct lane to its connection.
func (s *Server) contain(v *visit) {
	if value := recover(); value != nil {
		s.panicked(value)
		v.end()
	}
}

func (s *Server) panicked(value any) {
	s.stats.panics.Add(1)
	if s.OnPanic != nil {
		s.OnPanic(value, debug.Stack())
	}
}
