// Package httpserve serves HTTP/1.1, HTTP/2 without TLS, and TLS on one port or several. It
// tells the protocols apart by a connection's first bytes, and drains before it stops. Only
// net/http reads requests and writes responses.
//
// For every handler the following holds:
//
//   - Memory is bounded (Config.Memory). When it is used up, the connection that has been
//     waiting for its client longest is closed, or if there is none, the new one is refused.
//   - A head must arrive within HeaderTimeout. The handler decides how long content and
//     response may take (http.ResponseController): one that streams for hours sets no
//     deadline.
//   - A connection is used again only if the end of the request is beyond doubt, see
//     endIsCertain.
//   - A response reaches a client that is still sending, see conn.Close.
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

// Config of a Server.
type Config struct {
	// Handler answers the requests.
	Handler http.Handler

	// HeaderTimeout is how long a request's head, or a TLS handshake, may take to arrive;
	// 15 s if zero.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a connection may wait for its next request; 650 s if zero. It
	// should exceed the keep-alive of every proxy in front (60 s for nginx and ALB, 90 s for
	// Traefik, 600 s for Google's). Otherwise a proxy may send a request on a connection
	// that is being closed, and answer 502.
	IdleTimeout time.Duration
	// MaxHeaderBytes is the largest head of a request; 128 KiB if zero.
	MaxHeaderBytes int
	// Memory is how much connections, heads and streams may take, in estimated bytes;
	// 320 MiB if zero, which is enough for 10,000 connections.
	Memory int64
	// DrainTime is how long Serve keeps serving after its context ends; not at all if zero.
	DrainTime time.Duration
	// StopTime is how long the last responses may take after that; 5 s if zero.
	StopTime time.Duration

	// Certificate returns the certificate for a TLS handshake; a self-signed one if nil.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)

	// OnDrain is called when draining begins; nil for nothing.
	OnDrain func()
	// OnPanic is called for each panic of the handler, which ends only its own connection or
	// stream; nil for nothing.
	OnPanic func(value any, stack []byte)
	// ErrorLog gets net/http's remarks about clients; nil drops them.
	ErrorLog *log.Logger
}

// withDefaults replaces the zero values of c.
func (c Config) withDefaults() Config {
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

// Server serves its listeners once. In a request's context, http.LocalAddrContextKey tells
// the handler through which listener it came.
type Server struct {
	Config
	draining atomic.Bool
	stats    Stats
	memory   *budget
	http     *http.Server
	plain    *handover // HTTP/1 and HTTP/2 without TLS
	tls      *handover
}

// New creates a server. Serve starts it.
func New(c Config) *Server {
	s := &Server{Config: c.withDefaults()}
	s.memory = newBudget(s.Memory)
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler:   s.wrap(s.Handler),
		Protocols: &protocols,
		HTTP2: &http.HTTP2Config{MaxReadFrameSize: 16 << 10, MaxReceiveBufferPerConnection: 128 << 10, MaxReceiveBufferPerStream: streamBuffer,
			WriteByteTimeout: time.Minute}, // for clients that read nothing at all
		ReadHeaderTimeout:            s.HeaderTimeout,
		IdleTimeout:                  s.IdleTimeout,
		MaxHeaderBytes:               s.MaxHeaderBytes,
		ErrorLog:                     s.ErrorLog,
		ConnState:                    connState,
		DisableGeneralOptionsHandler: true, // "OPTIONS *" gets the page too
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
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: onClientHello, GetCertificate: certificate}
}

// Stats are the counters of this server's connections.
func (s *Server) Stats() *Stats { return &s.stats }

// Serve accepts connections until ctx ends, continues for DrainTime, waits up to StopTime for
// the last responses, and returns nil. It returns an error if a listener fails. It closes the
// listeners, of which there must be at least one. It can be called once.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	s.plain, s.tls = newHandover(listeners[0].Addr()), newHandover(listeners[0].Addr())
	var served sync.WaitGroup
	served.Go(func() { _ = s.http.Serve(s.plain) })          // it returns only ErrServerClosed
	served.Go(func() { _ = s.http.ServeTLS(s.tls, "", "") }) // likewise
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

// accept accepts connections until l is closed. After a temporary error, such as no free file
// descriptors, it pauses and tries again.
func (s *Server) accept(l net.Listener) error {
	const shortest, longest = 5 * time.Millisecond, time.Second
	for pause := shortest; ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = shortest
			if c, ok := s.admit(nc); ok {
				go s.dispatch(c)
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
	s.memory.closeWaiting() // those that were on their way to net/http
}

// wrap adds memory bounds, framing and panic handling to the handler.
func (s *Server) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor > 1 {
			cost := streamCost(r)
			if !s.memory.reserveStream(cost) {
				panic(http.ErrAbortHandler) // resets the stream
			}
			defer s.memory.releaseStream(cost)
		}
		defer s.contain()
		if s.draining.Load() || !endIsCertain(r) {
			w.Header().Set("Connection", "close") // a GOAWAY in HTTP/2
		}
		h.ServeHTTP(w, r)
		if length := w.Header().Get("Content-Length"); r.ProtoMajor > 1 && length != "" && length != "0" {
			// Otherwise net/http sends the content after this has returned. A client that
			// opens no window would then hold the stream without it being counted. Without
			// content there is no flush: gRPC's answer must be a single header block.
			_ = http.NewResponseController(w).Flush()
		}
	})
}

// endIsCertain says whether this request's end is beyond doubt, so that the next bytes can
// count as the next request. With a transfer coding it is not: net/http hides whether there
// was also a length (then RFC 9112 6.1 requires that the connection is closed), and if a
// proxy in front reads the chunks differently, or stops in the middle, content would be taken
// for requests. HTTP/1.0 does not have transfer codings, and net/http hides that there was
// one.
func endIsCertain(r *http.Request) bool {
	return r.ProtoAtLeast(1, 1) && len(r.TransferEncoding) == 0 || r.ProtoMajor > 1
}

// contain limits a panic to its connection or stream, which it ends.
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
