package access

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// ParseOpenPaths reads a comma-separated list of path prefixes, such as "/admin,
// /webhooks/". It returns the valid ones, sorted and without duplicates, and an error that
// names the others. With more than MaxOpenPaths it returns none.
func ParseOpenPaths(list string) ([]string, error) {
	var paths []string
	var wrong []error
	for item := range strings.SplitSeq(list, ",") {
		path := strings.TrimSpace(item)
		if path == "" {
			continue
		}
		if err := CheckOpenPath(path); err != nil {
			wrong = append(wrong, err)
			continue
		}
		paths = append(paths, path)
	}
	slices.Sort(paths)
	paths = slices.Compact(paths)
	if len(paths) > MaxOpenPaths {
		wrong = append(wrong, fmt.Errorf("%d open paths: give at most %d", len(paths), MaxOpenPaths))
		paths = nil
	}
	return paths, errors.Join(wrong...)
}

// CheckOpenPath says why a path cannot be an open path; nil if it can. "/admin" opens
// itself and everything below it, "/admin/" only what is below it.
func CheckOpenPath(path string) error {
	switch {
	case len(path) > MaxOpenPath:
		return fmt.Errorf("open path %q has %d bytes: give at most %d", clip(path), len(path), MaxOpenPath)
	case path == "/":
		return errors.New(`open path "/" would open everything: end the maintenance instead`)
	case !strings.HasPrefix(path, "/"):
		return fmt.Errorf("open path %q does not begin with /", clip(path))
	case strings.ContainsAny(path, "?#*"):
		return fmt.Errorf("open path %q: give a path prefix without ?, # and *", clip(path))
	case !plain(path):
		return fmt.Errorf(`open path %q: give it without "." and ".." segments, //, \ and ;, and without percent-encoded / \ . ; %%`, clip(path))
	}
	return nil
}

// open says whether a raw path, as in the request, is an open one. A path that two programs
// may read differently is not.
func open(paths []string, raw string) bool {
	if len(paths) == 0 || !plain(raw) {
		return false
	}
	path, err := url.PathUnescape(raw)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(paths, func(prefix string) bool { return below(prefix, path) })
}

// below says whether path begins with prefix, case-sensitively and by whole segments.
func below(prefix, path string) bool {
	prefix, err := url.PathUnescape(prefix)
	if err != nil {
		return false
	}
	rest, found := strings.CutPrefix(path, prefix)
	return found && (rest == "" || strings.HasSuffix(prefix, "/") || rest[0] == '/')
}

// plain says whether every program reads the raw path alike: it has no dot segments, no
// empty segments, no \ or ;, no percent-encoded / \ . ; %, and it decodes to valid text.
func plain(raw string) bool {
	if !strings.HasPrefix(raw, "/") || strings.Contains(raw, "//") || strings.ContainsAny(raw, `\;`) {
		return false
	}
	for segment := range strings.SplitSeq(raw, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	for rest := raw; ; {
		i := strings.IndexByte(rest, '%')
		if i < 0 {
			break
		}
		if len(rest) < i+3 {
			return false
		}
		hi, lo := unhex(rest[i+1]), unhex(rest[i+2])
		if hi < 0 || lo < 0 || ambiguous(byte(hi<<4|lo)) {
			return false
		}
		rest = rest[i+3:]
	}
	path, err := url.PathUnescape(raw)
	return err == nil && utf8.ValidString(path) && !strings.ContainsFunc(path, changes)
}

func ambiguous(c byte) bool { return strings.IndexByte(`/\.;%`, c) >= 0 }

// changes says whether some programs drop the rune, end the path at it, or turn it into
// ASCII: controls, full-width forms, and what looks like dots and slashes (Unicode's NFKC).
func changes(r rune) bool {
	return r < ' ' || r == 0x7f || 0xff01 <= r && r <= 0xff5e || 0x2024 <= r && r <= 0x2026 || r == 0x2044 || r == 0x2215 || r == 0xfe52 || r == 0xfe68
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
