package pageserver

import (
	"bytes"
	"compress/gzip"
	"errors"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"

	"maintenance-controller.io/pkg/page"
)

// content is one body in one coding, with the header fields that do not depend on the
// request. It never changes.
type content struct {
	body   []byte
	header http.Header
}

// newContent adds the Content-Length. A nil body is for a response that has no content and
// must not have a length, such as a 204.
func newContent(body []byte, header http.Header) *content {
	if body != nil {
		header.Set("Content-Length", strconv.Itoa(len(body)))
	}
	return &content{body: body, header: header}
}

// variant is a body in one format and language.
type variant struct {
	language string
	plain    *content
	// Bodies are compressed when a client first asks for them: that keeps the start quick,
	// and languages that nobody reads cost no memory.
	coded [encodings]func() *content
}

func (v *variant) in(e Encoding) *content {
	if e != Identity && v.coded[e] != nil {
		return v.coded[e]()
	}
	return v.plain
}

// shelf has the variants of one format.
type shelf struct {
	variants []variant
	tags     []string // language tags of the variants, in canonical form, for pickLanguage
	fallback int      // index of the variant for visitors whom none suits
}

// catalog has all variants of a page.
type catalog struct {
	shelves   [formats]shelf
	available [formats]bool // which shelves have variants
}

var formatByKey = map[string]Format{page.HTML: HTML, page.JSON: JSON, page.XML: XML, page.Text: Text}

// newCatalog prepares all bodies of p.
func newCatalog(p page.Page, h headers) (*catalog, error) {
	c := &catalog{}
	declared := languageOf(p.Bodies["page.html"])
	for _, key := range slices.Sorted(maps.Keys(p.Bodies)) {
		language, name, ok := page.SplitKey(key)
		if !ok {
			continue
		}
		if language == "" {
			language = declared
		}
		format, body := formatByKey[name], p.Bodies[key]
		v := newVariant(body, language, func(coding string) http.Header { return h.page(format, language, coding, p.ContentSecurityPolicy) })
		c.put(format, v)
		if key == "page."+name {
			c.preferLast(format)
		}
	}
	for f := range formats {
		c.available[f] = len(c.shelves[f].variants) > 0
	}
	if c.available == [formats]bool{} {
		return nil, errors.New("the page has no body: give at least page.html")
	}
	if !c.available[JSON] {
		c.put(Problem, problemVariant("", "{}", p.Status, h))
	}
	for i := range c.shelves[JSON].variants {
		v := &c.shelves[JSON].variants[i]
		c.put(Problem, problemVariant(v.language, string(v.plain.body), p.Status, h))
		if i == c.shelves[JSON].fallback {
			c.preferLast(Problem)
		}
	}
	c.available[Problem] = true
	return c, nil
}

// put adds a variant. Visitors whom no variant suits get the body without a language in its
// key (see preferLast), or else the English one, or else the first.
func (c *catalog) put(f Format, v variant) {
	s := &c.shelves[f]
	s.variants = append(s.variants, v)
	s.tags = append(s.tags, canonical(v.language))
	english := strings.EqualFold(v.language, "en") && !strings.EqualFold(s.variants[s.fallback].language, "en")
	if english && f != Problem {
		c.preferLast(f)
	}
}

func (c *catalog) preferLast(f Format) { c.shelves[f].fallback = len(c.shelves[f].variants) - 1 }

func newVariant(body, language string, header func(coding string) http.Header) variant {
	v := variant{language: language, plain: newContent([]byte(body), header(""))}
	for e, compress := range map[Encoding]func([]byte) []byte{Gzip: gzipped, Brotli: brotlied} {
		v.coded[e] = sync.OnceValue(func() *content {
			small := compress(v.plain.body)
			if len(small) == 0 || len(small)+len(v.plain.body)/10 > len(v.plain.body) {
				return v.plain
			}
			return newContent(small, header(e.String()))
		})
	}
	return v
}

// minCompressed is the smallest body that is compressed, in bytes. A smaller one fits in one
// packet with its header anyway, so compressing it would only cost the client time.
const minCompressed = 512

func gzipped(body []byte) []byte {
	if len(body) < minCompressed {
		return nil
	}
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil
	}
	if _, err := w.Write(body); err != nil {
		return nil
	}
	if err := w.Close(); err != nil {
		return nil
	}
	return bytes.Clone(out.Bytes())
}

// brotliLevel compresses at least as well as gzip's best level, in about the same time and
// memory. Level 11 would take twenty times as long to save another 5 %.
const brotliLevel = 5

func brotlied(body []byte) []byte {
	if len(body) < minCompressed {
		return nil
	}
	var out bytes.Buffer
	w := brotli.NewWriterOptions(&out, brotli.WriterOptions{Quality: brotliLevel, LGWin: windowFor(len(body))})
	if _, err := w.Write(body); err != nil {
		return nil
	}
	if err := w.Close(); err != nil {
		return nil
	}
	return bytes.Clone(out.Bytes())
}

// windowFor is the smallest brotli window that spans n bytes, since the encoder's memory
// grows with the window.
func windowFor(n int) int {
	window := 10
	for window < 22 && 1<<window-16 < n {
		window++
	}
	return window
}

// htmlTag finds the language that an HTML page declares.
var htmlTag = regexp.MustCompile(`(?i)<html\s[^>]*?\blang\s*=\s*["']?([A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*)["'\s>]`)

// languageOf reads <html lang> in the first kilobyte, where browsers look for the charset.
// It counts for all bodies without a language in their key, since one author wrote them.
func languageOf(html string) string {
	if m := htmlTag.FindStringSubmatch(html[:min(len(html), 1024)]); m != nil {
		return m[1]
	}
	return ""
}
