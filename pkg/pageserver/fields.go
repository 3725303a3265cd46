package pageserver

import "strings"

// This file splits the list-valued request fields of RFC 9110 (5.6.1, 12.4.2) without
// allocating, since it runs for every request.

const maxQ = 1000 // a q-value in thousandths

// nextElement cuts the first comma-separated element off a list, respecting quoted strings.
// Empty elements, which RFC 9110 5.6.1.2 allows, are returned as "".
func nextElement(list string) (element, rest string) { return cutUnquoted(list, ',') }

// cutUnquoted cuts s at the first sep outside of a quoted string, and trims the part before
// it.
func cutUnquoted(s string, sep byte) (before, after string) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '\\' && quoted:
			i++
		case s[i] == sep && !quoted:
			return trim(s[:i]), s[i+1:]
		}
	}
	return trim(s), ""
}

// weight reads the parameters of an element: q in thousandths (1000 if absent), and whether
// there are others. ok is false if q is not a number; then the element is ignored.
func weight(params string) (q int, others, ok bool) {
	q = maxQ
	for params != "" {
		var param string
		param, params = cutUnquoted(params, ';')
		name, value, _ := strings.Cut(param, "=")
		name, value = trim(name), trim(value)
		switch {
		case name == "":
		case strings.EqualFold(name, "q"):
			if q, ok = parseQ(value); !ok {
				return 0, false, false
			}
		case strings.EqualFold(name, "charset") && strings.EqualFold(strings.Trim(value, `"`), "utf-8"):
		default:
			others = true
		}
	}
	return q, others, true
}

// parseQ reads a q-value leniently: Java's URLConnection sends ".2", values over 1 count as
// 1, and digits after the third are ignored.
func parseQ(s string) (int, bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	if whole == "" && fraction == "" {
		return 0, false
	}
	q := 0
	for i := range len(whole) {
		if !isDigit(whole[i]) {
			return 0, false
		}
		if whole[i] != '0' {
			q = maxQ
		}
	}
	unit := 100
	for i := range len(fraction) {
		if !isDigit(fraction[i]) {
			return 0, false
		}
		q += int(fraction[i]-'0') * unit
		unit /= 10
	}
	return min(q, maxQ), true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// trim removes optional whitespace (RFC 9110 5.6.3).
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// isToken says whether s is a token (RFC 9110 5.6.2), such as a method.
func isToken(s string) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isTokenByte(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
