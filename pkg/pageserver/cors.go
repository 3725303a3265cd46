package pageserver

import "strings"

// A browser app on another origin sees "status 0" instead of the 503 unless the response
// allows its origin, and it does not even send the request if the preflight fails.
// Everything is allowed, including credentials, because the page has no private data. The
// preflight must not be cached (Max-Age 0), so that the app's own rules apply again as soon
// as maintenance ends.

const maxRequestHeaders = 4 << 10 // bytes of Access-Control-Request-Headers that are echoed

func (s *Server) preflight(q *query, r *reply) {
	r.kind, r.status, r.content = kindPreflight, 204, s.preflighted
	r.allowOrigin(q.origin)
	method := "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
	if isToken(q.askedMethod) && len(q.askedMethod) <= 64 {
		method = q.askedMethod
	}
	r.add("Access-Control-Allow-Methods", []string{method})
	if q.askedFields != "" && len(q.askedFields) <= maxRequestHeaders && isTokenList(q.askedFields) {
		r.add("Access-Control-Allow-Headers", []string{q.askedFields})
	}
	if q.askedForPrivate {
		r.add("Access-Control-Allow-Private-Network", []string{"true"})
	}
}

// allowOrigin echoes the origin if it has the form of one, because "*" does not cover
// requests with credentials (Fetch, 3.3.5).
func (r *reply) allowOrigin(origin string) {
	if !isOrigin(origin) {
		r.add("Access-Control-Allow-Origin", []string{"*"})
		return
	}
	r.add("Access-Control-Allow-Origin", []string{origin})
	r.add("Access-Control-Allow-Credentials", []string{"true"})
}

// isOrigin recognises serialized origins (RFC 6454 6.2): "null", or scheme, host and port.
func isOrigin(s string) bool {
	if s == "null" {
		return true
	}
	scheme, host, ok := strings.Cut(s, "://")
	if !ok || scheme == "" || host == "" || len(s) > 512 {
		return false
	}
	for i := range len(scheme) {
		if c := scheme[i]; !isDigit(c) && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && strings.IndexByte("+-.", c) < 0 {
			return false
		}
	}
	for i := range len(host) {
		if c := host[i]; !isDigit(c) && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && strings.IndexByte("-._~%:[]", c) < 0 {
			return false
		}
	}
	return true
}

func isTokenList(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) && s[i] != ',' && s[i] != ' ' {
			return false
		}
	}
	return true
}
