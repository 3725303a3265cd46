package pageserver

import "strings"

// Clients of remote procedure calls get their protocol's own UNAVAILABLE, which
// they may retry. What a call's content says is not looked at.

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

// isConnect knows calls of the Connect protocol (https://connectrpc.com/docs/protocol/):
// application/proto and application/connect+… are nobody else's, JSON is its own
// with the version in a field or, in a GET, in the query.
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

// connect answers a unary call with its error document. Clients of streams look
// at the HTTP status alone where it is not 200, and read the same out of 503.
func (s *Server) connect(q *query, r *reply) {
	r.kind, r.status, r.content = kindConnect, 503, s.connectError
	r.add("Retry-After", s.retryAfter.pick())
	r.allowOrigin(q.origin)
}
