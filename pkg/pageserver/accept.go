package pageserver

import "strings"

// Format of a body.
type Format uint8

// The formats, in the order in which the server prefers them if the client has no
// preference.
const (
	HTML    Format = iota // text/html
	JSON                  // application/json
	XML                   // application/xml
	Text                  // text/plain
	Problem               // application/problem+json (RFC 9457), made from the page's JSON
	formats
)

// String is the format's name in metrics and logs.
func (f Format) String() string { return [...]string{"html", "json", "xml", "text", "problem"}[f] }

func (f Format) contentType() string {
	return [...]string{
		"text/html; charset=utf-8",
		"application/json",
		"application/xml; charset=utf-8",
		"text/plain; charset=utf-8",
		"application/problem+json",
	}[f]
}

// rank says how precisely a media range names a format (RFC 9110 12.5.1: the most specific
// range that matches has precedence).
type rank uint8

const (
	noMatch  rank = iota
	anything      // */*
	anyOf         // text/*
	related       // application/vnd.api+json, or a parameter that our type does not have
	exactly
)

// choice is what the header says about one format.
type choice struct {
	rank  rank
	q     int // in thousandths
	order int // position of the range in the header
}

// acceptance is what an Accept header says about all formats.
type acceptance struct {
	of      [formats]choice
	browser bool // lists XHTML, as browsers do and API clients do not
	foreign bool // names types that no page has, as for an <img>
}

// negotiate chooses a format among those available by the Accept header. The highest q
// wins. Of equals, a type that is named wins over a wildcard; then the order in the header
// decides, and for wildcards our own order.
//
//	nothing, */*, or nothing acceptable  HTML
//	text/html, application/json          HTML
//	application/json, text/plain, */*    JSON: a name beats */*
//	application/json, problem+json       problem+json: a client that knows it wants it for errors
//	image/avif, image/*, */*             text, the smallest: nobody will read it
//	text/event-stream                    text, for the same reason
//	text/html;q=0, */*                   JSON
func negotiate(accept string, available [formats]bool) Format {
	a := parseAccept(accept)
	best, found := HTML, false
	for f := range formats {
		c := a.of[f]
		if !available[f] || c.rank == noMatch || c.q == 0 || (f == Problem && c.rank < related) {
			continue
		}
		if !found || a.better(f, best) {
			best, found = f, true
		}
	}
	switch {
	case !found && a.foreign && available[Text] && !a.refuses(Text):
		return Text
	case !found:
		return fallback(available)
	case a.of[best].rank == anything && a.foreign && available[Text] && a.of[Text].q == a.of[best].q:
		return Text
	}
	return best
}

// refuses says whether the header names the format, or a range that includes it, with a q
// of 0.
func (a *acceptance) refuses(f Format) bool { return a.of[f].rank != noMatch && a.of[f].q == 0 }

func fallback(available [formats]bool) Format {
	for f := range formats {
		if available[f] {
			return f
		}
	}
	return HTML
}

func (a *acceptance) better(f, than Format) bool {
	x, y := a.of[f], a.of[than]
	switch {
	case x.q != y.q:
		return x.q > y.q
	case x.rank < related || y.rank < related:
		return x.rank > y.rank
	case a.browser && (f == HTML || than == HTML):
		return f == HTML
	case f == Problem && than == JSON:
		return true
	}
	return x.order < y.order
}

func parseAccept(accept string) acceptance {
	var a acceptance
	for order := 0; accept != ""; order++ {
		var element string
		element, accept = nextElement(accept)
		a.add(element, order)
	}
	return a
}

func (a *acceptance) add(element string, order int) {
	media, params := cutUnquoted(element, ';')
	q, others, ok := weight(params)
	if !ok {
		return
	}
	if media == "*" { // sent by Java's URLConnection
		media = "*/*"
	}
	mainType, subtype, ok := strings.Cut(media, "/")
	if !ok || mainType == "" || subtype == "" {
		return
	}
	exact := exactly
	if others {
		exact = related
	}
	c := choice{exact, q, order}
	switch {
	case mainType == "*" && subtype == "*":
		for f := range formats {
			a.record(f, choice{anything, q, order})
		}
	case strings.EqualFold(mainType, "text"):
		a.addText(subtype, c)
	case strings.EqualFold(mainType, "application"):
		a.addApplication(subtype, c)
	default:
		a.foreign = a.foreign || q > 0
	}
}

func (a *acceptance) addText(subtype string, c choice) {
	switch {
	case subtype == "*":
		c.rank = anyOf
		for _, f := range [...]Format{HTML, Text} { // our XML is application/xml
			a.record(f, c)
		}
	case strings.EqualFold(subtype, "html"):
		a.record(HTML, c)
	case strings.EqualFold(subtype, "plain"):
		a.record(Text, c)
	case strings.EqualFold(subtype, "xml"):
		a.record(XML, c)
	case strings.EqualFold(subtype, "json"):
		a.record(JSON, c)
	default:
		a.foreign = a.foreign || c.q > 0
	}
}

func (a *acceptance) addApplication(subtype string, c choice) {
	switch {
	case subtype == "*":
		c.rank = anyOf
		for _, f := range [...]Format{JSON, XML} {
			a.record(f, c)
		}
	case strings.EqualFold(subtype, "json"):
		a.record(JSON, c)
	case strings.EqualFold(subtype, "problem+json"):
		a.record(Problem, c)
	case strings.EqualFold(subtype, "xml"):
		a.record(XML, c)
	case strings.EqualFold(subtype, "xhtml+xml"):
		a.browser = a.browser || c.q > 0
		a.record(HTML, c)
	case hasSuffixFold(subtype, "+json"):
		c.rank = related
		a.record(JSON, c)
	case hasSuffixFold(subtype, "+xml"):
		c.rank = related
		a.record(XML, c)
	default:
		a.foreign = a.foreign || c.q > 0
	}
}

// record keeps the most specific statement about a format, and of two equally specific ones
// that with the higher q. A related range cannot refuse: "application/json;v=2;q=0" says
// nothing about JSON without a version.
func (a *acceptance) record(f Format, c choice) {
	if c.rank == related && c.q == 0 {
		return
	}
	old := &a.of[f]
	if c.rank > old.rank || c.rank == old.rank && c.q > old.q {
		*old = c
	}
}

func hasSuffixFold(s, suffix string) bool {
	return len(s) > len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}
