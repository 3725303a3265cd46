// Package page defines what visitors get during maintenance: the bodies in all formats, the
// HTTP status and Retry-After, and the content hash that names a page set. It imports
// nothing from Kubernetes, so that the page server stays small.
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

// Keys of a page's data other than bodies.
const (
	StatusKey     = "status"      // an HTTP status, 400 to 599
	RetryAfterKey = "retry-after" // whole seconds, 1 to MaxRetryAfter
	// CSPKey holds the Content-Security-Policy of the HTML bodies, on one line of ASCII.
	CSPKey = "content-security-policy"
	// UntilKey holds when maintenance ends automatically, in RFC 3339 in UTC, a whole
	// minute. Only the controller writes it; Read refuses it.
	UntilKey = "until"
	// AccessKey holds who is let through to the app, see pkg/access. Only the controller
	// writes it; Read refuses it.
	AccessKey = "access.json"
)

// Formats of a body: the last part of its key.
const (
	HTML = "html" // served unchanged
	JSON = "json" // any JSON document
	XML  = "xml"  // XML 1.0 with namespaces
	Text = "txt"  // plain text
)

// Defaults and bounds of a page.
const (
	// DefaultStatus is the HTTP status of a page that does not have one (RFC 9110 15.6.4).
	DefaultStatus = 503
	// DefaultRetryAfter is the Retry-After of a page that does not have one.
	DefaultRetryAfter = 5 * time.Minute
	// MaxRetryAfter is the longest Retry-After.
	MaxRetryAfter = 7 * 24 * time.Hour
	// MaxSize is the largest size of all keys and values together, in bytes. It leaves room
	// for metadata in a ConfigMap, which can have 1 MiB
	// (https://kubernetes.io/docs/concepts/configuration/configmap/).
	MaxSize = 960 << 10
	maxCSP  = 4 << 10 // bytes; proxies limit the whole header, often to 8 KiB
)

// What the controller and the page server agree on.
const (
	// Port is the port of the page Pods.
	Port = 8080
	// PortName is the name of Port in a page Pod. No port of an app has this name, so a
	// Service with this targetPort has been pointed at a page.
	PortName = "maintenancepage"
	// ServicePort is the port of the page set's Service that leads to Port.
	ServicePort = 80
	// ServicePortName is the name of ServicePort.
	ServicePortName = "http"
	// ReadyPath is the path of the readiness probe.
	ReadyPath = "/.well-known/maintenance-page/ready"
	// MarkerHeader names the page set in every response of a page Pod.
	MarkerHeader = "Maintenance-Page-Set"
	// UntilHeader says when maintenance ends automatically, in the format of UntilKey.
	UntilHeader = "Maintenance-Until"

	setPrefix  = "maintenance-"
	setHashLen = 16 // hex digits
)

// bodyKey matches page.html and, for a language variant, page.de.html or page.pt-BR.html.
var bodyKey = regexp.MustCompile(`^page(?:\.([A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*))?\.(html|json|xml|txt)$`)

var setName = regexp.MustCompile(`^` + setPrefix + `[0-9a-f]{` + strconv.Itoa(setHashLen) + `}$`)

// Page is one maintenance page. The zero value of a field means that it is not set.
type Page struct {
	// Status is the HTTP status, 400 to 599.
	Status int
	// RetryAfter is the value of the header, in whole seconds, 1 s to MaxRetryAfter.
	RetryAfter time.Duration
	// ContentSecurityPolicy is sent with the HTML bodies and belongs to them: WithDefaults
	// does not combine one page's policy with another page's HTML.
	ContentSecurityPolicy string
	// Bodies by key: page.html, page.json, page.xml, page.txt, and language variants such
	// as page.de.html.
	Bodies map[string]string
	// Until is when maintenance ends automatically, see Minute; zero if that is not known.
	// Read never sets it.
	Until time.Time
	// Access is the text of AccessKey: who is let through to the app, and by which doors;
	// empty if nobody is. Read never sets it.
	Access string
}

// WithDefaults returns p with what it does not have taken from d, and with the built-in
// defaults for what d does not have either. If p has a format in any language, it gets no
// body of that format from d: visitors would get d's German next to p's English.
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

// Filled is WithDefaults, with an error if the result is larger than MaxSize.
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

// SplitKey splits a body's key: page.pt-BR.html gives (pt-BR, html), page.html gives
// ("", html). ok is false if the key is not a body's.
func SplitKey(key string) (language, format string, ok bool) {
	m := bodyKey.FindStringSubmatch(key)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}

func formatOf(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// Data returns the page as a ConfigMap's data. Parse(p.Data()) returns p.
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

// Hash is the SHA-256 of the page's Data, 64 hex digits.
func (p Page) Hash() string { return HashData(p.Data()) }

// HashData hashes a page's data: each key and value in the order of the keys, each preceded
// by its length, so that no two different pages give the same bytes.
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

// SetName is the name of the page set that serves content with this hash, which must have
// at least 16 digits.
func SetName(hash string) string { return setPrefix + hash[:setHashLen] }

// IsSetName says whether name has the form of a page set's name. A slot that points at such
// a name points at a page, and is never recorded as an original.
func IsSetName(name string) bool { return setName.MatchString(name) }
