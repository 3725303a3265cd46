package pages

import (
	"html"
	"strings"
	"time"

	"maintenance-controller.io/pkg/page"
)

// Until returns the built-in page for maintenance that ends automatically. It says when, in
// the visitor's language, in UTC and, if scripts run, in the visitor's time zone. A zero
// time gives Default. Its texts differ from Default's, whose hash must not change.
func Until(until time.Time) page.Page {
	if until = page.Minute(until); until.IsZero() {
		return Default()
	}
	var all []words
	for i, t := range translations() {
		e := endings()[i] // in the same language; a test checks that
		t.title, t.message = e.title, e.message
		all = append(all, words{translation: t, end: end{at: until, ending: e}})
	}
	p := built(strings.TrimSpace(style)+"\n"+strings.TrimSpace(untilStyle), strings.TrimSpace(script)+";\n"+strings.TrimSpace(untilScript), all)
	p.Until = until
	return p
}

// end says when maintenance ends, in one language. The zero value says nothing.
type end struct {
	at time.Time
	ending
}

// machine is the time for programs, in RFC 3339.
func (e end) machine() string {
	if e.at.IsZero() {
		return ""
	}
	return e.at.Format(time.RFC3339)
}

// line is the sentence for people.
func (e end) line() string {
	if e.at.IsZero() {
		return ""
	}
	return strings.Replace(e.back, "%", e.at.Format(e.layout), 1)
}

// html is the sentence with an element around the time, for the page's script.
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
