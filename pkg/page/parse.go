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

// Parse gives back the page whose Data this is. It judges keys and settings and not
// the bodies: Read has judged those when a person gave them, and a page server must
// go on serving what a controller of another version has let through.
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
				return Page{}, fmt.Errorf("key %q is no time in RFC 3339: %w", key, err)
			}
			p.Until = until.UTC()
		} else if err := p.set(key, data[key]); err != nil {
			return Page{}, err
		}
	}
	return p, nil
}

// Fault says why a format that a page gives cannot be served.
type Fault struct {
	Format string // HTML, JSON, XML or Text
	Err    error  // names the key and says what to do
}

func (f Fault) Error() string { return f.Err.Error() }

// Read judges a page as people give it: a ConfigMap's data, or a folder's files. What
// it lets through is what visitors get, so whoever judges pages asks it.
//
// A format with a fault counts as not given, in all its languages, and the others are
// served; the faults are in the order of their formats. An error means that nothing
// of the page can be served: a key or a setting that nobody understands, or no format
// that is left. Byte order marks are dropped, and what is blank before an XML declaration.
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
			// Without the policy that it was written for, the HTML is not what its author meant.
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

// without leaves out the formats at fault.
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
		if key != AccessKey && key != UntilKey { // one has bounds of its own, and a page that fits does so at any time
			size += len(key) + len(value)
		}
	}
	if size > MaxSize {
		return fmt.Errorf("the page has %d bytes: at most %d fit beside the metadata of a ConfigMap; make images smaller or link to them", size, MaxSize)
	}
	return nil
}

// set reads a key that is no body.
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

// checkLanguages finds formats of which two bodies have languages that differ in
// case only: language tags are case-insensitive (RFC 5646 2.1.1).
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

// clip bounds what a message quotes of a person's input.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
