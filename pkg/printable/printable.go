// Package printable makes text of others fit to be shown: what cannot be seen, or
// changes how its neighbours are seen, is written out as Go does in string literals.
package printable

import (
	"strconv"
	"strings"
)

// Escape writes out the runes that are hidden. Bytes in a row that are no text become
// one replacement character.
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
