package pageserver

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// query is what of a request decides the answer.
type query struct {
	method          string
	path            string // without the query component
	contentType     string
	accept          string
	acceptLanguage  string
	acceptEncoding  string
	origin          string
	askedMethod     string // Access-Control-Request-Method
	askedFields     string // Access-Control-Request-Headers
	askedForPrivate bool   // Access-Control-Request-Private-Network: true
}

// kind is what sort of answer was given; the first ones are the page's formats.
type kind uint8

const (
	kindGRPC = kind(formats) + iota
	kindPreflight
	kindReady
	kinds
)

func (k kind) String() string {
	if k < kind(formats) {
		return Format(k).String()
	}
	return [...]string{"grpc", "preflight", "ready"}[k-kind(formats)]
}

// reply is an answer before it is written to a connection.
type reply struct {
	kind    kind
	status  int
	content *content
	body    []byte // content's, unless it is made for the request
	dynamic [8]field
	n       int // of dynamic
}

func (r *reply) add(name, value string) {
	r.dynamic[r.n] = field{name, value}
	r.n++
}

// exchange is one request and its answer. They are borrowed and not on the stack,
// because every connection has a stack, which would grow from 4 to 8 KiB.
type exchange struct {
	query query
	reply reply
}

func (s *Server) borrow() *exchange {
	if x, ok := s.exchanges.Get().(*exchange); ok {
		return x
	}
	return new(exchange)
}

func (s *Server) giveBack(x *exchange) {
	*x = exchange{}
	s.exchanges.Put(x)
}

// answer decides. It never fails: whatever the request, there is a page.
//
//	OPTIONS with Origin and Access-Control-Request-Method  204, the preflight
//	POST of application/grpc…                              200, trailers only: grpc-status 14
//	GET or HEAD of the ready path                          200, or 503 while draining
//	anything else                                          the page, with its status
func (s *Server) answer(q *query, r *reply) {
	switch {
	case q.method == "OPTIONS" && q.origin != "" && q.askedMethod != "":
		s.preflight(q, r)
	case q.method == "POST" && isGRPC(q.contentType):
		s.grpc(q, r)
	case q.path == readyPath && (q.method == "GET" || q.method == "HEAD"):
		s.readiness(r)
	default:
		s.page(q, r)
	}
}

func (s *Server) page(q *query, r *reply) {
	format := negotiate(q.accept, s.catalog.available)
	shelf := &s.catalog.shelves[format]
	v := &shelf.variants[pickLanguage(q.acceptLanguage, shelf.tags, shelf.fallback)]
	r.kind, r.status = kind(format), s.status
	wait := s.retryAfter.pick()
	if format == Problem {
		r.content = v.plain
		r.body = appendProblem(make([]byte, 0, len(v.plain.body)+len(q.path)+64), v.plain.body, wait, q.path)
	} else {
		r.content = v.in(pickEncoding(q.acceptEncoding))
		r.body = r.content.body
	}
	r.add("Retry-After", wait)
	r.allowOrigin(q.origin)
}

func (s *Server) readiness(r *reply) {
	r.kind, r.status, r.content = kindReady, 200, s.ready
	if s.draining.Load() {
		r.status, r.content = 503, s.unready
	}
	r.body = r.content.body
}

// isGRPC knows application/grpc, application/grpc+proto, application/grpc-web-text, …
func isGRPC(contentType string) bool {
	const prefix = "application/grpc"
	if !hasPrefixFold(contentType, prefix) {
		return false
	}
	rest := contentType[len(prefix):]
	return rest == "" || strings.IndexByte("+-; ", rest[0]) >= 0
}

// grpc answers UNAVAILABLE in a single header block, which the gRPC protocol
// calls Trailers-Only; its HTTP status has to be 200.
func (s *Server) grpc(q *query, r *reply) {
	r.kind, r.status, r.content = kindGRPC, 200, s.unavailable
	if hasPrefixFold(q.contentType, "application/grpc-web") {
		r.content = s.unavailableWeb
	}
	r.add("Retry-After", s.retryAfter.pick())
	r.allowOrigin(q.origin)
}

// jitter gives waiting times from the page's to a quarter more, so that clients
// which obey Retry-After do not all come back in the same second.
type jitter []string

func newJitter(base time.Duration) jitter {
	const steps = 64
	seconds := int(base / time.Second)
	j := make(jitter, 0, steps)
	for i := range steps {
		j = append(j, strconv.Itoa(seconds+seconds*i/(4*(steps-1))))
	}
	return j
}

func (j jitter) pick() string { return j[rand.IntN(len(j))] }
