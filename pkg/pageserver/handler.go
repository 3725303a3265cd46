package pageserver

import (
	"maps"
	"net/http"
	"strconv"
	"strings"
)

// ServeHTTP answers one request of any protocol that net/http speaks. It never looks at the
// request's content, see upload.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := s.borrow()
	defer s.giveBack(x)
	q, reply := &x.query, &x.reply
	q.read(r)
	s.answer(q, reply)
	body := reply.content.body
	out := w.Header()
	maps.Copy(out, reply.content.header)
	for _, f := range reply.dynamic {
		out[f.name] = f.values
	}
	if reply.body != nil {
		body = reply.body
		out["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	u := begin(w, r, s.keepTimeout)
	w.WriteHeader(reply.status)
	sent := 0
	if r.Method != http.MethodHead && len(body) > 0 {
		sent, _ = w.Write(body) // an error means that the client has gone away
	}
	u.finish(len(body))
	s.record(reply, r.Method, sent, func() Access {
		return Access{Remote: r.RemoteAddr, Protocol: r.Proto, Method: r.Method, Host: r.Host, Path: q.path, UserAgent: r.UserAgent()}
	})
}

func (q *query) read(r *http.Request) {
	h := r.Header
	*q = query{
		method:          r.Method,
		path:            path(r),
		search:          r.URL.RawQuery,
		contentType:     h.Get("Content-Type"),
		connectVersion:  h.Get("Connect-Protocol-Version"),
		accept:          list(h, "Accept"),
		acceptLanguage:  list(h, "Accept-Language"),
		acceptEncoding:  list(h, "Accept-Encoding"),
		origin:          h.Get("Origin"),
		askedMethod:     h.Get("Access-Control-Request-Method"),
		askedFields:     list(h, "Access-Control-Request-Headers"),
		askedForPrivate: h.Get("Access-Control-Request-Private-Network") == "true",
	}
}

// path is the path as the client wrote it, in a target in origin-form (RFC 9112 3.2.1) or
// another form.
func path(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		return path
	}
	return r.URL.EscapedPath()
}

// record counts an answer and logs it. It calls describe only if there is a log.
func (s *Server) record(r *reply, method string, sent int, describe func() Access) {
	s.metrics.count(method, r.kind, r.status)
	if s.log == nil || r.kind == kindReady {
		return
	}
	a := describe()
	a.Status, a.Bytes, a.Format = r.status, sent, r.kind.String()
	if language := r.content.header["Content-Language"]; language != nil {
		a.Language = language[0]
	}
	s.log(a)
}

// list joins the lines of a list-valued field (RFC 9110 5.3).
func list(h http.Header, name string) string {
	switch values := h[name]; len(values) {
	case 0:
		return ""
	case 1:
		return values[0]
	default:
		return strings.Join(values, ", ")
	}
}
