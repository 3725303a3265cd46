package pageserver

import "strings"

// Clients of remote procedure calls get their protocol's own UNAVAILABLE, which they may
// retry. The content of a call does not matter.

// isGRPC recognises application/grpc, application/grpc+proto, application/grpc-web-text, …
func isGRPC(contentType string) bool {
	const prefix = "application/grpc"
	if !hasPrefixFold(contentType, prefix) {
		return false
	}
	rest := contentType[len(prefix):]
	return rest == "" || strings.IndexByte("+-; ", rest[0]) >= 0
}

// grpc answers UNAVAILABLE in a single header block, which the gRPC protocol calls
// Trailers-Only. Its HTTP status must be 200.
func (s *Server) grpc(q *query, r *reply) {
	r.kind, r.status, r.content = kindGRPC, 200, s.unavailable
	if hasPrefixFold(q.contentType, "application/grpc-web") {
		r.content = s.unavailableWeb
	}
	r.add("Retry-After", s.retryAfter.pick())
	r.allowOrigin(q.origin)
}

// isConnect recognises calls of the Connect protocol (https://connectrpc.com/docs/protocol/).
// No other protocol uses application/proto and application/connect+…; JSON is a Connect call
// if the version is in a header field or, with GET, in the query.
func isConnect(q *query) bool {
	switch media, _ := cutUnquoted(q.contentType, ';'); {
	case q.method == "GET":
		return strings.Contains(q.search, "connect=v1") && strings.Contains(q.search, "encoding=")
	case q.method != "POST":
		return false
	case strings.EqualFold(media, "application/proto"), hasPrefixFold(media, "application/connect+"):
		return true
	default:
		return q.connectVersion != "" && strings.EqualFold(media, "application/json")
	}
}

// connect answers with the error document of a unary call. Clients of streams look only at
// the HTTP status if it is not 200, and 503 means the same to them.
func (s *Server) connect(q *query, r *reply) {
	r.kind, r.status, r.content = kindConnect, 503, s.connectError
	r.add("Retry-After", s.retryAfter.pick())
	r.allowOrigin(q.origin)
}
