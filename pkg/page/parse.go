package page

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Parse reads what Data wrote. It checks keys and settings, but not bodies: Read has checked
// those when a person wrote them, and a page server must serve what a controller of another
// version accepted.
func Parse(data map[string]string) (Page, error) {
	p := Page{Bodies: map[string]string{}}
	if err := checkSize(data); err != nil {
		return Page{}, err
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		if _, _, ok := SplitKey(key); ok {
			p.Bodies[key] = data[key]
		} else if key == AccessKey {
			p.Access = data[key]
		} else if key == UntilKey {
			until, err := time.Parse(time.RFC3339, data[key])
			if err != nil {
				return Page{}, fmt.Errorf("key %q is not a time in RFC 3339: %w", key, err)
			}
			p.Until = until.UTC()
		} else if err := p.set(key, data[key]); err != nil {
			return Page{}, err
		}
	}
	return p, nil
}

// Fault says why one format of a page cannot be served.
type Fault struct {
	Format string // HTML, JSON, XML or Text
	Err    error  // names the key and says what to do
}

// Error is the text of Err.
func (f Fault) Error() string { return f.Err.Error() }

// Read checks a page as people write it: a ConfigMap's data, or the files of a folder. The
// controller and check-pages both call it, so they always agree.
//
// A format with a fault is left out in all its languages, and the others are served. The
// faults are in the order of their formats. An error means that nothing of the page can be
// served: a key is unknown, a setting is invalid, or every format has a fault. Read removes
// byte order marks, and white space before an XML declaration.
func Read(data map[string]string) (Page, []Fault, error) {
	p := Page{Bodies: map[string]string{}}
	if err := checkSize(data); err != nil {
		return Page{}, nil, err
	}
	faults := map[string]error{}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		value := strings.TrimLeft(data[key], byteOrderMark)
		_, format, isBody := SplitKey(key)
		switch {
		case isBody:
			if format == XML {
				value = strings.TrimLeft(value, byteOrderMark+xmlSpace)
			}
			p.Bodies[key] = value
			if err := checkBody(format, value); err != nil {
				faults[format] = cmp.Or(faults[format], fmt.Errorf("key %q %w", key, err))
			}
		case key == CSPKey:
			// The HTML may not work, or not be safe, without the policy that it was written for.
			if err := p.set(key, value); err != nil {
				faults[HTML] = cmp.Or(faults[HTML], err)
			}
		default:
			if err := p.set(key, value); err != nil {
				return Page{}, nil, err
			}
		}
	}
	for format, err := range checkLanguages(p.Bodies) {
		faults[format] = cmp.Or(faults[format], err)
	}
	return p.without(faults)
}

// without removes the formats that have faults.
func (p Page) without(faults map[string]error) (Page, []Fault, error) {
	var list []Fault
	var all []string
	for _, format := range slices.Sorted(maps.Keys(faults)) {
		list = append(list, Fault{Format: format, Err: faults[format]})
		all = append(all, faults[format].Error())
		maps.DeleteFunc(p.Bodies, func(key, _ string) bool { return formatOf(key) == format })
		if format == HTML {
			p.ContentSecurityPolicy = ""
		}
	}
	if len(list) > 0 && len(p.Bodies) == 0 {
		return Page{}, nil, errors.New(strings.Join(all, "; "))
	}
	return p, list, nil
}

func checkSize(data map[string]string) error {
	size := 0
	for key, value := range data {
		if key != AccessKey && key != UntilKey { // a page that fits must still fit when the controller adds these
			size += len(key) + len(value)
		}
	}
	if size > MaxSize {
		return fmt.Errorf("the page has %d bytes, and a ConfigMap has room for %d: make images smaller or link to them", size, MaxSize)
	}
	return nil
}

// set reads a key other than a body.
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
		return fmt.Errorf("key %q is unknown: use page.html, page.json, page.xml, page.txt (or a variant such as page.de.html), %s, %s, %s", clip(key), StatusKey, RetryAfterKey, CSPKey)
	}
	return nil
}

// checkLanguages finds formats with two bodies in the same language: language tags are
// case-insensitive (RFC 5646 2.1.1).
func checkLanguages(bodies map[string]string) map[string]error {
	faults, seen := map[string]error{}, map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(bodies)) {
		folded := strings.ToLower(key)
		if other, ok := seen[folded]; ok {
			faults[formatOf(key)] = fmt.Errorf("keys %q and %q are the same language: keep one", other, key)
		}
		seen[folded] = key
	}
	return faults
}

func isHeaderValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// clip shortens a person's input for a message.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
