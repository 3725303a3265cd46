package bypass

import (
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"html"
	"net/http"
	"strconv"
	"strings"

	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageserver"
)

var (
	//go:embed link/page.html
	linkHTML string
	//go:embed link/style.css
	linkStyle string
	//go:embed link/script.js
	linkScript string
)

// moment is what the link's page says.
type moment uint8

const (
	asking moment = iota
	refused
)

// linkPage takes a token where a link leads: the page's script from the address'
// fragment, which no browser sends anywhere, or without a script a form.
type linkPage struct {
	set       string
	policy    string
	languages pageserver.Languages
	bodies    [2][]string // by moment, in the order of words
}

func newLinkPage(set string) *linkPage {
	style, script := strings.TrimSpace(linkStyle), strings.TrimSpace(linkScript)
	l := &linkPage{set: set, policy: "default-src 'none'; style-src '" + source(style) + "'; script-src '" + source(script) +
		"'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"}
	var tags []string
	for _, words := range words() {
		tags = append(tags, words.tag)
		for m, hidden := range [...]string{asking: " hidden", refused: ""} {
			l.bodies[m] = append(l.bodies[m], strings.NewReplacer(
				"{{tag}}", words.tag, "{{dir}}", words.dir(), "{{style}}", style, "{{script}}", script, "{{hidden}}", hidden,
				"{{title}}", html.EscapeString(words.title), "{{message}}", html.EscapeString(words.message),
				"{{token}}", html.EscapeString(words.token), "{{go}}", html.EscapeString(words.proceed),
				"{{wrong}}", html.EscapeString(words.wrong),
			).Replace(linkHTML))
		}
	}
	l.languages = pageserver.NewLanguages(tags)
	return l
}

func source(block string) string {
	sum := sha256.Sum256([]byte(block))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func (l *linkPage) common(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Referrer-Policy", "same-origin") // "no-referrer" would make Origin null
	h.Set(page.MarkerHeader, l.set)
}

func (l *linkPage) show(w http.ResponseWriter, r *http.Request, m moment) {
	body := l.bodies[m][l.languages.Pick(r.Header["Accept-Language"])]
	h := w.Header()
	l.common(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", l.policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	status := http.StatusOK
	if m == refused {
		status = http.StatusForbidden
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(body)) // the client went away: nobody to tell
	}
}
