package pageserver

import "strings"

// Encoding is a content coding (RFC 9110 8.4.1).
type Encoding uint8

// The codings, worst first: of equal q-values the later one wins.
const (
	Identity Encoding = iota // no compression
	Gzip                     // RFC 1952
	Brotli                   // RFC 7932
	encodings
)

// String is the name of the coding in Content-Encoding.
func (e Encoding) String() string { return [...]string{"identity", "gzip", "br"}[e] }

// pickEncoding chooses a coding by Accept-Encoding (RFC 9110 12.5.3). No header means
// identity. Identity is also the last resort, even if the client refuses it: a page is
// better than a 406.
func pickEncoding(header string) Encoding {
	if header == "" {
		return Identity
	}
	q := [encodings]int{-1, -1, -1}
	rest := -1 // what "*" says about codings that are not named
	for header != "" {
		var element string
		element, header = nextElement(header)
		name, params := cutUnquoted(element, ';')
		w, _, ok := weight(params)
		if !ok {
			continue
		}
		switch {
		case strings.EqualFold(name, "br"):
			q[Brotli] = w
		case strings.EqualFold(name, "gzip"), strings.EqualFold(name, "x-gzip"):
			q[Gzip] = w
		case strings.EqualFold(name, "identity"):
			q[Identity] = w
		case name == "*":
			rest = w
		}
	}
	best, bestQ := Identity, max(q[Identity], 0)
	for _, e := range [...]Encoding{Gzip, Brotli} {
		if q[e] < 0 {
			q[e] = rest
		}
		if q[e] > 0 && q[e] >= bestQ {
			best, bestQ = e, q[e]
		}
	}
	return best
}
