package page

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Parse reads a page from a ConfigMap's data (or a folder's files). Its error
// names the key at fault and says what to do.
func Parse(data map[string]string) (Page, error) {
	p := Page{Bodies: map[string]string{}}
	size := 0
	for _, key := range slices.Sorted(maps.Keys(data)) {
		size += len(key) + len(data[key])
		if err := p.set(key, data[key]); err != nil {
			return Page{}, err
		}
	}
	if size > MaxSize {
		return Page{}, fmt.Errorf("the page has %d bytes: at most %d fit beside the metadata of a ConfigMap; make images smaller or link to them", size, MaxSize)
	}
	if err := checkLanguages(p.Bodies); err != nil {
		return Page{}, err
	}
	return p, nil
}

func (p *Page) set(key, value string) error {
	switch key {
	case StatusKey:
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil || n < 400 || n > 599 {
			return fmt.Errorf("key %q is %q: give an HTTP status from 400 to 599, such as 503 (a 200 would let search engines index the maintenance page)", key, clip(value))
		}
		p.Status = n
	case RetryAfterKey:
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil || n < 1 || n > int(MaxRetryAfter/time.Second) {
			return fmt.Errorf("key %q is %q: give whole seconds from 1 to %d", key, clip(value), int(MaxRetryAfter.Seconds()))
		}
		p.RetryAfter = time.Duration(n) * time.Second
	case CSPKey:
		policy := strings.TrimSpace(value)
		if policy == "" || len(policy) > maxCSP || !isHeaderValue(policy) {
			return fmt.Errorf("key %q is %q: give the policy on one line of ASCII, 1 to %d bytes, or leave the key out to send none", key, clip(value), maxCSP)
		}
		p.ContentSecurityPolicy = policy
	default:
		if _, format, ok := SplitKey(key); ok {
			if err := checkBody(format, value); err != nil {
				return fmt.Errorf("key %q %w", key, err)
			}
			p.Bodies[key] = value
			return nil
		}
		return fmt.Errorf("key %q is unknown: use page.html, page.json, page.xml, page.txt (or a variant such as page.de.html), %s, %s, %s", clip(key), StatusKey, RetryAfterKey, CSPKey)
	}
	return nil
}

// checkBody refuses what no client could use: a machine that asked for JSON
// during maintenance must not meet a syntax error on top of it.
func checkBody(format, body string) error {
	switch {
	case !utf8.ValidString(body):
		return errors.New("is not valid UTF-8: save the file as UTF-8")
	case strings.TrimSpace(body) == "":
		return errors.New("is empty: write something, or leave the key out to get the default page's")
	case format == JSON && !json.Valid([]byte(body)):
		return errors.New("is not valid JSON: check it with a tool such as jq")
	case format == XML:
		return checkXML(body)
	}
	return nil
}

func checkXML(body string) error {
	d := xml.NewDecoder(strings.NewReader(body))
	root := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			if !root {
				return errors.New("has no XML element: check it with a tool such as xmllint")
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("is not well-formed XML in UTF-8: %w", err)
		}
		if _, ok := token.(xml.StartElement); ok {
			root = true
		}
	}
}

// checkLanguages refuses two bodies of one format whose languages differ in
// case only: language tags are case-insensitive (RFC 5646 2.1.1).
func checkLanguages(bodies map[string]string) error {
	seen := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(bodies)) {
		folded := strings.ToLower(key)
		if other, ok := seen[folded]; ok {
			return fmt.Errorf("keys %q and %q are the same language: keep one", other, key)
		}
		seen[folded] = key
	}
	return nil
}

func isHeaderValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// clip bounds what a message quotes of a person's input.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
