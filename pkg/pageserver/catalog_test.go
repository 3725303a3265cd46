package pageserver

import (
	"strings"
	"testing"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/page"
)

func TestCustomPageVariants(t *testing.T) {
	l := serve(t, Config{Page: page.Page{Bodies: map[string]string{
		"page.html":       `<!doctype html><html class="x" lang="fr"><p>bonjour`,
		"page.de.html":    "<p>hallo",
		"page.pt-BR.html": "<p>oi",
		"page.txt":        "bonjour",
	}}})
	for _, test := range []struct{ accept, language, wantBody, wantLanguage string }{
		{"text/html", "", "bonjour", "fr"},
		{"text/html", "eo", "bonjour", "fr"},
		{"text/html", "de-CH", "hallo", "de"},
		{"text/html", "fr, de;q=0.9", "bonjour", "fr"},
		{"text/html", "pt", "oi", "pt-BR"},
		{"text/plain", "de", "bonjour", "fr"},
		{"application/xml", "de", "hallo", "de"}, // the page has none, so it is the HTML
	} {
		a := l.ask(t, "GET", "/", "Accept: "+test.accept, "Accept-Language: "+test.language)
		if !strings.HasSuffix(a.Body, test.wantBody) || a.Header.Get("Content-Language") != test.wantLanguage {
			t.Errorf("%s in %q: %q in %q, want %q in %q", test.accept, test.language, a.Body, a.Header.Get("Content-Language"), test.wantBody, test.wantLanguage)
		}
	}
}

func TestCustomHTMLIsServedUnchanged(t *testing.T) {
	const body = "<h1>{{ .Title }} ${x} <?php ?> <%= 1 %></h1>\r\n\t<script>alert(1)</script>"
	l := serve(t, Config{Page: page.Page{Bodies: map[string]string{"page.html": body}}.WithDefaults(pages.Default())})
	a := l.ask(t, "GET", "/", "Accept-Language: de")
	if a.Body != body {
		t.Errorf("got %q", a.Body)
	}
	if csp := a.Header.Get("Content-Security-Policy"); csp != "" {
		t.Errorf("the custom HTML has the policy of the built-in page: %s", csp)
	}
}
