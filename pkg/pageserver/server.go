// Package pageserver answers every request with a maintenance page, in the
// format, language and coding that the client asked for.
package pageserver

import (
	"fmt"
	"sync"
	"sync/atomic"

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
}

// Server answers requests. It is an http.Handler and an httpserve.Direct: both
// give the same answers. Safe for concurrent use.
type Server struct {
	status     int
	catalog    *catalog
	retryAfter jitter
	draining   atomic.Bool
	log        func(Access)
	metrics    Metrics
	exchanges  sync.Pool

	ready, unready, preflighted, unavailable, unavailableWeb *content
}

// New lays out a page's answers. It fails on a page without any body, and on
// one whose status is not 400 to 599.
func New(c Config) (*Server, error) {
	p := c.Page.WithDefaults(page.Page{})
	if p.Status < 400 || p.Status > 599 {
		return nil, fmt.Errorf("the page's status is %d: give one from 400 to 599", p.Status)
	}
	common := []field{
		{"Cache-Control", "no-store"},
		{"Vary", "Accept, Accept-Language, Accept-Encoding, Origin"},
		{"X-Content-Type-Options", "nosniff"},
		{"Access-Control-Expose-Headers", "Retry-After, " + page.MarkerHeader},
		{page.MarkerHeader, c.PageSet},
	}
	cat, err := newCatalog(p, p.Status, common)
	if err != nil {
		return nil, err
	}
	s := &Server{status: p.Status, catalog: cat, retryAfter: newJitter(p.RetryAfter), log: c.Log}
	s.layOutSpecials(c.PageSet)
	return s, nil
}

func (s *Server) layOutSpecials(set string) {
	base := []field{{"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}, {page.MarkerHeader, set}}
	with := func(more ...field) []field { return append(more, base...) }
	plain := field{"Content-Type", Text.contentType()}
	s.ready = newContent([]byte("ready\n"), with(plain)...)
	s.unready = newContent([]byte("draining\n"), with(plain)...)
	s.preflighted = newContent(nil, with(
		field{"Access-Control-Max-Age", "0"},
		field{"Vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"})...)
	unavailable := func(contentType string) *content {
		return newContent(nil, with(
			field{"Content-Type", contentType},
			field{"Grpc-Status", "14"}, // UNAVAILABLE, the one that clients retry
			field{"Grpc-Message", "the service is under maintenance"},
			field{"Vary", "Origin"},
			field{"Access-Control-Expose-Headers", "Grpc-Status, Grpc-Message, Retry-After, " + page.MarkerHeader})...)
	}
	s.unavailable = unavailable("application/grpc")
	s.unavailableWeb = unavailable("application/grpc-web+proto")
}

// Drain makes the readiness path answer 503 from now on; pages go on as before.
func (s *Server) Drain() { s.draining.Store(true) }

// Metrics counts what this server answered.
func (s *Server) Metrics() *Metrics { return &s.metrics }
