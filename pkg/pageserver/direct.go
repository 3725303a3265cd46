package pageserver

import (
	"strconv"
	"strings"

	"maintenance-controller.io/pkg/httpserve"
)

// Answer answers a plain HTTP/1.1 request for httpserve's direct lane. Its
// answers are those of ServeHTTP, field by field.
func (s *Server) Answer(dst []byte, r *httpserve.Request) (head, body []byte) {
	x := s.borrow()
	defer s.giveBack(x)
	q, reply := &x.query, &x.reply
	agent := readQuery(q, r)
	s.answer(q, reply)
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(reply.status), 10)
	dst = append(dst, ' ')
	dst = append(dst, statusText(reply.status)...)
	dst = append(dst, "\r\n"...)
	dst = append(dst, reply.content.lines...)
	for _, f := range reply.dynamic[:reply.n] {
		dst = append(dst, f.name...)
		dst = append(dst, ": "...)
		dst = append(dst, f.value...)
		dst = append(dst, "\r\n"...)
	}
	if hasLength(reply.status) {
		dst = append(dst, "Content-Length: "...)
		dst = strconv.AppendInt(dst, int64(len(reply.body)), 10)
		dst = append(dst, "\r\n"...)
	}
	sent := len(reply.body)
	if r.Method == "HEAD" {
		sent = 0
	}
	s.note(reply, r.Method, sent, func() Access {
		return Access{Remote: r.Remote.String(), Protocol: "HTTP/1.1", Method: strings.Clone(r.Method),
			Host: strings.Clone(r.Host), Path: strings.Clone(q.path), UserAgent: strings.Clone(agent)}
	})
	return dst, reply.body
}

// readQuery picks the fields that matter. Most fields of a browser's request do
// not; the length of a name tells them apart faster than its letters.
func readQuery(q *query, r *httpserve.Request) (agent string) {
	q.method = r.Method
	q.path, _, _ = strings.Cut(r.Target, "?")
	for i := range r.Fields {
		f := &r.Fields[i]
		switch len(f.Name) {
		case len("Accept"):
			join(&q.accept, f, "Accept")
			only(&q.origin, f, "Origin")
		case len("User-Agent"):
			only(&agent, f, "User-Agent")
		case len("Content-Type"):
			only(&q.contentType, f, "Content-Type")
		case len("Accept-Language"): // Accept-Encoding is as long
			join(&q.acceptLanguage, f, "Accept-Language")
			join(&q.acceptEncoding, f, "Accept-Encoding")
		case len("Access-Control-Request-Method"):
			only(&q.askedMethod, f, "Access-Control-Request-Method")
		case len("Access-Control-Request-Headers"):
			join(&q.askedFields, f, "Access-Control-Request-Headers")
		case len("Access-Control-Request-Private-Network"):
			q.askedForPrivate = q.askedForPrivate || strings.EqualFold(f.Name, "Access-Control-Request-Private-Network") && f.Value == "true"
		}
	}
	return agent
}

// only takes the first line of a field that has one value.
func only(value *string, f *httpserve.Field, name string) {
	if *value == "" && strings.EqualFold(f.Name, name) {
		*value = f.Value
	}
}

// join takes all lines of a field whose value is a list (RFC 9110 5.3).
func join(value *string, f *httpserve.Field, name string) {
	switch {
	case !strings.EqualFold(f.Name, name):
	case *value == "":
		*value = f.Value
	default:
		*value += ", " + f.Value
	}
}
