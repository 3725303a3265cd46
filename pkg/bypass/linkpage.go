package bypass

import (
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"html"
	"net/http"
	"strconv"
	"strings"

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

// linkState is what the link's page shows.
type linkState uint8

const (
	asking  linkState = iota // the form for a token
	refused                  // the form, and that the token is wrong
)

// linkPage is the page that a link leads to. It takes the token from the address's
// fragment by script, since no browser sends the fragment anywhere, or from a form.
type linkPage struct {
	set       string // name of the page set
	policy    string // Content-Security-Policy
	languages pageserver.Languages
	bodies    [2][]string // by linkState, in the order of words
}

func newLinkPage(set string) *linkPage {
	style, script := strings.TrimSpace(linkStyle), strings.TrimSpace(linkScript)
	l := &linkPage{set: set, policy: "default-src 'none'; style-src '" + source(style) + "'; script-src '" + source(script) +
		"'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"}
	var tags []string
	for _, words := range words() {
		tags = append(tags, words.tag)
		for state, hidden := range [...]string{asking: " hidden", refused: ""} {
			l.bodies[state] = append(l.bodies[state], strings.NewReplacer(
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
	pageserver.SetCommon(h, l.set)
	h.Set("X-Robots-Tag", "noindex")
	h.Set("Referrer-Policy", "same-origin") // "no-referrer" would make Origin null
}

func (l *linkPage) show(w http.ResponseWriter, r *http.Request, state linkState) {
	body := l.bodies[state][l.languages.Pick(r.Header["Accept-Language"])]
	h := w.Header()
	l.common(h)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", l.policy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	status := http.StatusOK
	if state == refused {
		status = http.StatusForbidden
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write([]byte(body)) // an error means that the client has gone away
	}
}
