package page

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// byteOrderMark is what some editors write at the beginning of a file. RFC 8259 8.1 lets a
// JSON parser refuse it, and it hides the declaration from an XML parser that gets decoded
// text.
const byteOrderMark = "\ufeff"

// checkBody refuses what no client could use: a program that asks for JSON must not get a
// syntax error on top of the maintenance.
func checkBody(format, body string) error {
	switch {
	case !utf8.ValidString(body):
		return errors.New("is not valid UTF-8: save the file as UTF-8")
	case strings.ContainsRune(body, 0):
		return errors.New("has NUL characters, probably because it is in UTF-16: save the file as UTF-8")
	case isBlank(body):
		return errors.New("is empty: write something, or leave the key out to use the default page's body")
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

// checkJSON decodes the document as a client would, so that a number out of range is also a
// fault.
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
