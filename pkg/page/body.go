package page

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// byteOrderMark begins files that some editors save. RFC 8259 8.1 lets a JSON parser
// refuse it, and it hides a declaration from an XML parser that has decoded the text.
const byteOrderMark = "\ufeff"

// checkBody refuses what no client could use: a machine that asked for JSON
// during maintenance must not meet a syntax error on top of it.
func checkBody(format, body string) error {
	switch {
	case !utf8.ValidString(body):
		return errors.New("is not valid UTF-8: save the file as UTF-8")
	case strings.ContainsRune(body, 0):
		return errors.New("has NUL characters, as UTF-16 has, and is no text in UTF-8: save the file as UTF-8")
	case isBlank(body):
		return errors.New("is empty: write something, or leave the key out to get the default page's")
	case format == JSON:
		return checkJSON(body)
	case format == XML:
		return checkXML(body)
	}
	return nil
}

func isBlank(body string) bool {
	return strings.IndexFunc(body, func(r rune) bool { return !unicode.IsSpace(r) && string(r) != byteOrderMark }) < 0
}

// checkJSON reads the document as a client would, so that a number that no client's
// numbers hold is a fault as well.
func checkJSON(body string) error {
	var document any
	err := json.Unmarshal([]byte(body), &document)
	if err == nil {
		return nil
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		at := min(max(int(syntax.Offset)-1, 0), len(body))
		return fmt.Errorf("is not valid JSON: line %d: %w", 1+strings.Count(body[:at], "\n"), err)
	}
	return fmt.Errorf("is not valid JSON: %w", err)
}
