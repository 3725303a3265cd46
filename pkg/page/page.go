// Package page holds what visitors get during maintenance: the bodies in their
// formats, the HTTP status and Retry-After, and the content hash that names a
// page set. It imports nothing of Kubernetes, so the page server stays small.
package page

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Keys of a page's data that are no bodies.
const (
	StatusKey     = "status"      // an HTTP status, 400 to 599
	RetryAfterKey = "retry-after" // whole seconds, 0 to MaxRetryAfter
)

// Bounds of a page. MaxSize leaves room in a ConfigMap (1 MiB, see
// https://kubernetes.io/docs/concepts/configuration/configmap/) for its metadata.
const (
	DefaultStatus     = 503
	DefaultRetryAfter = 5 * time.Minute
	MaxRetryAfter     = 7 * 24 * time.Hour
	MaxSize           = 960 << 10 // bytes, all keys and values together
)

// What the controller and the page server agree on.
const (
	Port         = 8080
	ReadyPath    = "/.well-known/maintenance-page/ready"
	MarkerHeader = "Maintenance-Page-Set"
	setPrefix    = "maintenance-"
	setHashLen   = 16
)


// bodyKey matches page.html and, for a language variant, page.de.html or page.pt-BR.html.
var bodyKey = regexp.MustCompile(`^page(?:\.([A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*))?\.(html|json|xml|txt)$`)

var setName = regexp.MustCompile(`^` + setPrefix + `[0-9a-f]{` + strconv.Itoa(setHashLen) + `}$`)

// Page is one maintenance page. The zero value of a field means "not given".
type Page struct {
	Status     int
	RetryAfter time.Duration // whole seconds
	// Bodies by key: page.html, page.json, page.xml, page.txt, and language variants such as page.de.html.
	Bodies map[string]string
}

// Parse reads a page from a ConfigMap's data (or a folder's files). Its error
// names the key at fault and says what to do.
func Parse(data map[string]string) (Page, error) {
	p := Page{Bodies: map[string]string{}}
	size := 0
	for _, key := range slices.Sorted(maps.Keys(data)) {
		value := data[key]
		size += len(key) + len(value)
		switch {
		case key == StatusKey:
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil || n < 400 || n > 599 {
				return Page{}, fmt.Errorf("key %q is %q: give an HTTP status from 400 to 599, such as 503 (a 200 would let search engines index the maintenance page)", key, clip(value))
			}
			p.Status = n
		case key == RetryAfterKey:
			n, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil || n < 1 || time.Duration(n)*time.Second > MaxRetryAfter {
				return Page{}, fmt.Errorf("key %q is %q: give whole seconds from 1 to %d", key, clip(value), int(MaxRetryAfter.Seconds()))
			}
			p.RetryAfter = time.Duration(n) * time.Second
		case bodyKey.MatchString(key):
			if !utf8.ValidString(value) {
				return Page{}, fmt.Errorf("key %q is not valid UTF-8: save the file as UTF-8", key)
			}
			p.Bodies[key] = value
		default:
			return Page{}, fmt.Errorf("key %q is unknown: use page.html, page.json, page.xml, page.txt (or a variant such as page.de.html), %s, %s", clip(key), StatusKey, RetryAfterKey)
		}
	}
	if size > MaxSize {
		return Page{}, fmt.Errorf("the page has %d bytes: at most %d fit beside the metadata of a ConfigMap; make images smaller or link to them", size, MaxSize)
	}
	return p, nil
}

// WithDefaults fills what p does not give from d. A format that p has in any
// language is p's alone: a visitor never gets d's German beside p's English.
func (p Page) WithDefaults(d Page) Page {
	out := Page{
		Status:     cmp.Or(p.Status, d.Status, DefaultStatus),
		RetryAfter: cmp.Or(p.RetryAfter, d.RetryAfter, DefaultRetryAfter),
		Bodies:     maps.Clone(p.Bodies),
	}
	if out.Bodies == nil {
		out.Bodies = map[string]string{}
	}
	for key, body := range d.Bodies {
		if !p.hasFormat(formatOf(key)) {
			out.Bodies[key] = body
		}
	}
	return out
}

func (p Page) hasFormat(format string) bool {
	for key := range p.Bodies {
		if formatOf(key) == format {
			return true
		}
	}
	return false
}

func formatOf(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// Data is the page as a ConfigMap's data; Parse(p.Data()) gives p back.
func (p Page) Data() map[string]string {
	data := maps.Clone(p.Bodies)
	if data == nil {
		data = map[string]string{}
	}
	if p.Status != 0 {
		data[StatusKey] = strconv.Itoa(p.Status)
	}
	if p.RetryAfter != 0 {
		data[RetryAfterKey] = strconv.Itoa(int(p.RetryAfter.Seconds()))
	}
	return data
}

// Hash is the SHA-256 of the canonical content, 64 hex digits: the same for
// the same content, whatever the order or source of its parts.
func (p Page) Hash() string { return HashData(p.Data()) }

// HashData hashes a page's data: each key and value in key order, each preceded
// by its length, so that no two different pages run together to the same bytes.
func HashData(data map[string]string) string {
	h := sha256.New()
	var n [8]byte
	write := func(s string) {
		binary.BigEndian.PutUint64(n[:], uint64(len(s)))
		h.Write(n[:])
		h.Write([]byte(s))
	}
	for _, key := range slices.Sorted(maps.Keys(data)) {
		write(key)
		write(data[key])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// SetName is the name of the page set that serves content with this hash.
func SetName(hash string) string { return setPrefix + hash[:setHashLen] }

// IsSetName says whether name has the shape of a page set's name. A slot that
// points at such a name is on a page set; it is never recorded as an original.
func IsSetName(name string) bool { return setName.MatchString(name) }

// clip bounds what a message quotes of a person's input.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
