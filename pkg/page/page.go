// Package page holds what visitors get during maintenance: the bodies in their
// formats, the HTTP status and Retry-After, and the content hash that names a
// page set. It imports nothing of Kubernetes, so the page server stays small.
package page

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Keys of a page's data that are no bodies.
const (
	StatusKey     = "status"      // an HTTP status, 400 to 599
	RetryAfterKey = "retry-after" // whole seconds, 1 to MaxRetryAfter
	// CSPKey holds the Content-Security-Policy of the HTML bodies, on one line.
	CSPKey = "content-security-policy"
	// UntilKey holds when maintenance ends by itself, which the controller writes and no
	// page of a person's has: RFC 3339 in UTC, a whole minute.
	UntilKey = "until"
	// AccessKey holds who is let through to the app, which the controller writes and no
	// page of a person's has: see pkg/access.
	AccessKey = "access.json"
)

// Formats of a body: the last part of its key.
const (
	HTML = "html"
	JSON = "json"
	XML  = "xml"
	Text = "txt"
)

// Bounds of a page. MaxSize leaves room in a ConfigMap (1 MiB, see
// https://kubernetes.io/docs/concepts/configuration/configmap/) for its metadata.
const (
	DefaultStatus     = 503
	DefaultRetryAfter = 5 * time.Minute
	MaxRetryAfter     = 7 * 24 * time.Hour
	MaxSize           = 960 << 10 // bytes, all keys and values together
	maxCSP            = 4 << 10   // bytes; proxies bound the whole header, often at 8 KiB
)

// What the controller and the page server agree on.
const (
	Port = 8080 // of the page Pods
	// PortName is Port's name in a page Pod. No app's port is called so: a Service
	// whose targetPort is this name is known to have been pointed at a page.
	PortName        = "maintenancepage"
	ServicePort     = 80     // of the page set's Service
	ServicePortName = "http" // of ServicePort
	ReadyPath       = "/.well-known/maintenance-page/ready"
	MarkerHeader    = "Maintenance-Page-Set"
	UntilHeader     = "Maintenance-Until" // as the value of UntilKey
	setPrefix       = "maintenance-"
	setHashLen      = 16
)

// bodyKey matches page.html and, for a language variant, page.de.html or page.pt-BR.html.
var bodyKey = regexp.MustCompile(`^page(?:\.([A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*))?\.(html|json|xml|txt)$`)

var setName = regexp.MustCompile(`^` + setPrefix + `[0-9a-f]{` + strconv.Itoa(setHashLen) + `}$`)

// Page is one maintenance page. The zero value of a field means "not given".
type Page struct {
	Status     int
	RetryAfter time.Duration // whole seconds
	// ContentSecurityPolicy is sent with the HTML bodies; it belongs to them, so
	// WithDefaults never gives one page's policy to another page's HTML.
	ContentSecurityPolicy string
	// Bodies by key: page.html, page.json, page.xml, page.txt, and language variants such as page.de.html.
	Bodies map[string]string
	// Until is when maintenance ends by itself, see Minute; zero is that nobody knows. It
	// is no part of what Read reads.
	Until time.Time
	// Access says who is let through to the app, and by which doors, as the text of
	// AccessKey; empty if nobody is. It is no part of what Read reads.
	Access string
}

// WithDefaults fills what p does not give from d. A format that p has in any
// language is p's alone: a visitor never gets d's German beside p's English.
func (p Page) WithDefaults(d Page) Page {
	out := Page{
		Status:     cmp.Or(p.Status, d.Status, DefaultStatus),
		RetryAfter: cmp.Or(p.RetryAfter, d.RetryAfter, DefaultRetryAfter),
		Bodies:     maps.Clone(p.Bodies),
		Until:      p.Until,
	}
	if out.Bodies == nil {
		out.Bodies = map[string]string{}
	}
	for key, body := range d.Bodies {
		if !p.HasFormat(formatOf(key)) {
			out.Bodies[key] = body
		}
	}
	out.ContentSecurityPolicy = d.ContentSecurityPolicy
	if p.HasFormat(HTML) {
		out.ContentSecurityPolicy = p.ContentSecurityPolicy
	}
	return out
}

// Filled is WithDefaults, and an error if the page is too large with what it is filled with.
func (p Page) Filled(d Page) (Page, error) {
	out := p.WithDefaults(d)
	return out, checkSize(out.Data())
}

// HasFormat says whether the page has a body of this format in any language.
func (p Page) HasFormat(format string) bool {
	for key := range p.Bodies {
		if formatOf(key) == format {
			return true
		}
	}
	return false
}

// SplitKey takes a body's key apart: page.pt-BR.html is (pt-BR, html), page.html
// is ("", html). ok is false for a key that names no body.
func SplitKey(key string) (language, format string, ok bool) {
	m := bodyKey.FindStringSubmatch(key)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
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
	if p.ContentSecurityPolicy != "" {
		data[CSPKey] = p.ContentSecurityPolicy
	}
	if !p.Until.IsZero() {
		data[UntilKey] = p.Until.UTC().Format(time.RFC3339)
	}
	if p.Access != "" {
		data[AccessKey] = p.Access
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
