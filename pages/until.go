package pages

import (
	"html"
	"strings"
	"time"

	"maintenance-controller.io/pkg/page"
)

// Until is the built-in page of a maintenance that ends by itself, and says when: in the
// visitor's language, in UTC, and where scripts run in the visitor's own time zone. Its
// bodies are other than Default's, which stays as it is.
func Until(until time.Time) page.Page {
	if until = page.Minute(until); until.IsZero() {
		return Default()
	}
	var all []words
	for i, t := range translations() {
		e := endings()[i] // of the same language, as the tests hold
		t.title, t.message = e.title, e.message
		all = append(all, words{translation: t, end: end{at: until, ending: e}})
	}
	p := built(strings.TrimSpace(style)+"\n"+strings.TrimSpace(untilStyle), strings.TrimSpace(script)+";\n"+strings.TrimSpace(untilScript), all)
	p.Until = until
	return p
}

// end is when maintenance ends, in the words of a language. The zero value says nothing.
type end struct {
	at time.Time
	ending
}

// machine writes it for programs.
func (e end) machine() string {
	if e.at.IsZero() {
		return ""
	}
	return e.at.Format(time.RFC3339)
}

// line writes it for people.
func (e end) line() string {
	if e.at.IsZero() {
		return ""
	}
	return strings.Replace(e.back, "%", e.at.Format(e.layout), 1)
}

// html writes it with an element of its own for the time, which the page's script finds.
func (e end) html() string {
	if e.at.IsZero() {
		return ""
	}
	before, after, _ := strings.Cut(html.EscapeString(e.back), "%")
	return "\n<p class=\"until\">" + before + `<time id="until" dir="auto" datetime="` + e.machine() + `">` + e.at.Format(e.layout) + "</time>" + after + "</p>"
}

func (e end) xml() string {
	if e.at.IsZero() {
		return ""
	}
	return "\n  <until>" + e.machine() + "</until>"
}
