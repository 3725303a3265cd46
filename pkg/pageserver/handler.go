package pageserver

import (
	"net/http"
	"strconv"
	"strings"
)

// ServeHTTP answers one request of any protocol that net/http speaks. It never
// reads the body: httpserve sees to what is left of it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := r.Header
	x := s.borrow()
	defer s.giveBack(x)
	q, reply := &x.query, &x.reply
	*q = query{
		method:          r.Method,
		path:            path(r),
		contentType:     h.Get("Content-Type"),
		accept:          list(h, "Accept"),
		acceptLanguage:  list(h, "Accept-Language"),
		acceptEncoding:  list(h, "Accept-Encoding"),
		origin:          h.Get("Origin"),
		askedMethod:     h.Get("Access-Control-Request-Method"),
		askedFields:     list(h, "Access-Control-Request-Headers"),
		askedForPrivate: h.Get("Access-Control-Request-Private-Network") == "true",
	}
	s.answer(q, reply)
	out := w.Header()
	for name, values := range reply.content.header {
		out[name] = values
	}
	for _, f := range reply.dynamic[:reply.n] {
		out[http.CanonicalHeaderKey(f.name)] = []string{f.value}
	}
	if hasLength(reply.status) {
		out["Content-Length"] = []string{strconv.Itoa(len(reply.body))}
	}
	w.WriteHeader(reply.status)
	sent := 0
	if r.Method != http.MethodHead && len(reply.body) > 0 {
		sent, _ = w.Write(reply.body) // the client went away: nobody to tell
	}
	s.note(reply, r.Method, sent, func() Access {
		return Access{Remote: r.RemoteAddr, Protocol: r.Proto, Method: r.Method, Host: r.Host, Path: q.path, UserAgent: r.UserAgent()}
	})
}

// path is the path as the client wrote it, of an origin-form target (RFC 9112
// 3.2.1) or of another form.
func path(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		return path
	}
	return r.URL.EscapedPath()
}

// hasLength is false for a status that has no content (RFC 9110 8.6).
func hasLength(status int) bool { return status != http.StatusNoContent }

// note counts an answer and logs it. describe is called only if somebody reads it.
func (s *Server) note(r *reply, method string, sent int, describe func() Access) {
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
