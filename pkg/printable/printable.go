// Package printable makes foreign text safe to show: it escapes characters that cannot be
// seen, or that change how others are displayed, as Go does in string literals.
package printable

import (
	"strconv"
	"strings"
)

// Escape escapes the runes for which hidden returns true. A sequence of bytes that are not
// valid UTF-8 becomes one replacement character.
func Escape(s string, hidden func(rune) bool) string {
	if s = strings.ToValidUTF8(s, "\uFFFD"); !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if hidden(r) {
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
