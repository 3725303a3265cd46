// Package pageserver answers every request with a maintenance page, in the format, language
// and coding that the client asks for.
package pageserver

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"maintenance-controller.io/pkg/page"
)

const readyPath = page.ReadyPath

// Access describes one answered request, for an access log. Its strings come from the client
// except Format and Language, and can hold anything: the log must escape them.
type Access struct {
	Remote    string // address and port of the client's connection
	Protocol  string // HTTP/1.1, HTTP/2.0
	Method    string // as in the request
	Host      string // as in the request
	Path      string // as in the request, without the query
	UserAgent string // of the client; empty if it has none
	Format    string // of the answer: html, json, xml, text, problem, grpc, connect or preflight
	Language  string // of the answer, BCP 47; empty if that is not known
	Status    int    // of the answer
	Bytes     int    // of the answer's body that were written
}

// Config of a Server.
type Config struct {
	// Page to serve. It needs a body; its other fields have defaults.
	Page page.Page
	// PageSet is the name of the page set, for page.MarkerHeader.
	PageSet string
	// Log is called for each request except readiness probes; nil logs none.
	Log func(Access)
	// Now is the clock for the time that is left until the page's end; time.Now if nil.
	Now func() time.Time
}

// Server is an http.Handler that answers every request. It is safe for concurrent use.
type Server struct {
	status     int
	catalog    *catalog
	retryAfter wait
	draining   atomic.Bool
	log        func(Access)
	metrics    Metrics
	exchanges  sync.Pool

	keepTimeout time.Duration // the constant, except in a test

	ready, unready, preflighted, unavailable, unavailableWeb, connectError *content
}

// New prepares the answers. It fails if the page has no body, or if its status is not 400 to
// 599.
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
		status: p.Status, catalog: cat, retryAfter: newWait(p, c.Now), log: c.Log, keepTimeout: keepTimeout,
		ready:          newContent([]byte("ready\n"), h.ready()),
		unready:        newContent([]byte("draining\n"), h.ready()),
		preflighted:    newContent(nil, h.preflight()),
		unavailable:    newContent([]byte{}, h.grpc("application/grpc")),
		unavailableWeb: newContent([]byte{}, h.grpc("application/grpc-web+proto")),
		connectError:   newContent([]byte(`{"code":"unavailable","message":"`+unavailable+`"}`), h.connect()),
	}, nil
}

// untilText is when maintenance ends; empty if that is not known.
func untilText(p page.Page) string {
	if p.Until.IsZero() {
		return ""
	}
	return p.Until.UTC().Format(time.RFC3339)
}

// Drain makes the readiness path answer 503 from now on. All other answers stay the same.
func (s *Server) Drain() { s.draining.Store(true) }

// Metrics are the counters of this server's answers.
func (s *Server) Metrics() *Metrics { return &s.metrics }
