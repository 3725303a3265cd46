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

// content is one body in one coding with the header that never changes. Both are
// only read.
type content struct {
	body   []byte
	header http.Header
}

// newContent lays out a body. A nil one is of an answer that has none and says
// no length, as 204 and gRPC's.
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
	// Codings are made when a client first asks for them: start stays quick, and
	// the languages that nobody reads here cost no memory.
	coded [encodings]func() *content
}

func (v *variant) in(e Encoding) *content {
	if e != Identity && v.coded[e] != nil {
		return v.coded[e]()
	}
	return v.plain
}

// shelf holds the variants of one format.
type shelf struct {
	variants []variant
	tags     []string // of the variants, for pickLanguage: see canonical
	fallback int
}

type catalog struct {
	shelves   [formats]shelf
	available [formats]bool
}

var formatByKey = map[string]Format{page.HTML: HTML, page.JSON: JSON, page.XML: XML, page.Text: Text}

// newCatalog lays out every body of p.
func newCatalog(p page.Page, h headers) (*catalog, error) {
	c := &catalog{}
	unsaid := languageOf(p.Bodies["page.html"])
	for _, key := range slices.Sorted(maps.Keys(p.Bodies)) {
		language, name, ok := page.SplitKey(key)
		if !ok {
			continue
		}
		if language == "" {
			language = unsaid
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

// put adds a variant. A visitor whom no variant suits gets the body without a
// language in its key (preferLast); without one English, or else the first.
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

// worthIt is the size under which a body fits in one packet with its header
// anyway, so that compressing it would only cost the client time.
const worthIt = 512

func gzipped(body []byte) []byte {
	if len(body) < worthIt {
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

// brotliLevel compresses as well as gzip's best and better, in about its time
// and memory; level 11 would take twenty times as long for 5 % less.
const brotliLevel = 5

func brotlied(body []byte) []byte {
	if len(body) < worthIt {
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

// windowFor is the smallest brotli window that spans n bytes: the encoder's
// memory grows with it.
func windowFor(n int) int {
	window := 10
	for window < 22 && 1<<window-16 < n {
		window++
	}
	return window
}

// htmlTag finds the language that an HTML page says it is in.
var htmlTag = regexp.MustCompile(`(?i)<html\s[^>]*?\blang\s*=\s*["']?([A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*)["'\s>]`)

// languageOf reads <html lang>, within the first kilobyte as browsers do for
// the charset. It stands for all bodies without a language in their key: they
// come from one author.
func languageOf(html string) string {
	if m := htmlTag.FindStringSubmatch(html[:min(len(html), 1024)]); m != nil {
		return m[1]
	}
	return ""
}
