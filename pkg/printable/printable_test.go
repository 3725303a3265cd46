package printable

import (
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
)

func TestEscape(t *testing.T) {
	hidden := func(r rune) bool { return !unicode.IsPrint(r) }
	for give, want := range map[string]string{
		"":                    "",
		"plain, 日本語 é":        "plain, 日本語 é",
		"two\nlines\ttab\x1b": `two\nlines\ttab\x1b`,
		"right\u202eto left":  `right\u202eto left`,
		"not UTF-8 \xff\xfe":  "not UTF-8 \ufffd",
		"both \xff\n":         `both ` + "\ufffd" + `\n`,
	} {
		assert.Equal(t, want, Escape(give, hidden))
	}
}
