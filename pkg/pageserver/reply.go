package pageserver

// query holds the parts of a request that the answer depends on.
type query struct {
	method          string
	path            string // without the query component
	search          string // the query component
	contentType     string
	connectVersion  string // Connect-Protocol-Version
	accept          string
	acceptLanguage  string
	acceptEncoding  string
	origin          string
	askedMethod     string // Access-Control-Request-Method
	askedFields     string // Access-Control-Request-Headers
	askedForPrivate bool   // Access-Control-Request-Private-Network: true
}

// kind of an answer; the first ones are the page's formats.
type kind uint8

const (
	kindGRPC = kind(formats) + iota
	kindConnect
	kindPreflight
	kindReady
	kinds
)

func (k kind) String() string {
	if k < kind(formats) {
		return Format(k).String()
	}
	return [...]string{"grpc", "connect", "preflight", "ready"}[k-kind(formats)]
}

// reply is an answer before it is written to a connection.
type reply struct {
	kind    kind
	status  int
	content *content
	body    []byte         // replaces content's if it depends on the request
	dynamic []dynamicField // header fields that depend on the request
}

// dynamicField has its value in the form of http.Header, so that values need not be
// allocated for each request. Its name is canonical.
type dynamicField struct {
	name   string
	values []string
}

func (r *reply) add(name string, values []string) {
	r.dynamic = append(r.dynamic, dynamicField{name, values})
}

// exchange is one request and its answer. Exchanges come from a pool instead of the stack:
// every connection has a stack, which would grow from 4 to 8 KiB.
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
	*x = exchange{reply: reply{dynamic: x.reply.dynamic[:0]}}
	s.exchanges.Put(x)
}

// answer decides what to answer. It never fails: for every request there is a page.
//
//	OPTIONS with Origin and Access-Control-Request-Method  204, the preflight
//	POST of application/grpc…                              200, trailers only: grpc-status 14
//	a call of the Connect protocol                         503, its JSON error
//	GET or HEAD of the ready path                          200, or 503 while draining
//	anything else                                          the page, with its status
func (s *Server) answer(q *query, r *reply) {
	switch {
	case q.method == "OPTIONS" && q.origin != "" && q.askedMethod != "":
		s.preflight(q, r)
	case q.method == "POST" && isGRPC(q.contentType):
		s.grpc(q, r)
	case isConnect(q):
		s.connect(q, r)
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
		r.body = appendProblem(make([]byte, 0, len(v.plain.body)+len(q.path)+64), v.plain.body, wait[0], q.path)
	} else {
		r.content = v.in(pickEncoding(q.acceptEncoding))
	}
	r.add("Retry-After", wait)
	r.allowOrigin(q.origin)
}

func (s *Server) readiness(r *reply) {
	r.kind, r.status, r.content = kindReady, 200, s.ready
	if s.draining.Load() {
		r.status, r.content = 503, s.unready
	}
}
