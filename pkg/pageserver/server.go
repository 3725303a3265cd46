// Package pageserver answers every request with a maintenance page, in the
// format, language and coding that the client asked for.
package pageserver

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"maintenance-controller.io/pkg/page"
)

const readyPath = page.ReadyPath

// Access describes one answered request, for an access log. Its strings are
// the client's words: whatever writes them must escape them.
type Access struct {
	Remote, Protocol, Method, Host, Path, UserAgent string
	Format, Language                                string
	Status, Bytes                                   int
}

// Config says what to serve.
type Config struct {
	Page    page.Page
	PageSet string       // name of the page set, sent as the marker header
	Log     func(Access) // called for each request but readiness checks, if set
	// Now is the time that what is left until the page's end is counted from; nil is
	// the system's clock.
	Now func() time.Time
}

// Server is an http.Handler that answers requests. Safe for concurrent use.
type Server struct {
	status     int
	catalog    *catalog
	retryAfter wait
	draining   atomic.Bool
	log        func(Access)
	metrics    Metrics
	exchanges  sync.Pool

	ready, unready, preflighted, unavailable, unavailableWeb, connectError *content
}

// New lays out a page's answers. It fails on a page without any body, and on
// one whose status is not 400 to 599.
func New(c Config) (*Server, error) {
	p := c.Page.WithDefaults(page.Page{})
	if p.Status < 400 || p.Status > 599 {
		return nil, fmt.Errorf("the page's status is %d: give one from 400 to 599", p.Status)
	}
	h := headers{set: c.PageSet, until: untilText(p)}
	cat, err := newCatalog(p, h)
	if err != nil {
		return nil, err
	}
	return &Server{
		status: p.Status, catalog: cat, retryAfter: newWait(p, c.Now), log: c.Log,
		ready:          newContent([]byte("ready\n"), h.ready()),
		unready:        newContent([]byte("draining\n"), h.ready()),
		preflighted:    newContent(nil, h.preflight()),
		unavailable:    newContent([]byte{}, h.grpc("application/grpc")),
		unavailableWeb: newContent([]byte{}, h.grpc("application/grpc-web+proto")),
		connectError:   newContent([]byte(`{"code":"unavailable","message":"`+unavailable+`"}`), h.connect()),
	}, nil
}

// untilText is when maintenance ends, empty if that is not known.
func untilText(p page.Page) string {
	if p.Until.IsZero() {
		return ""
	}
	return p.Until.UTC().Format(time.RFC3339)
}

// Drain makes the readiness path answer 503 from now on; pages go on as before.
func (s *Server) Drain() { s.draining.Store(true) }

// Metrics counts what this server answered.
func (s *Server) Metrics() *Metrics { return &s.metrics }
