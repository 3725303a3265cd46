// Package pages has the built-in maintenance page: one template for each format and one
// table of translations, from which it builds all variants.
package pages

import (
	"crypto/sha256"
	_ "embed" // the templates
	"encoding/base64"
	"encoding/json"
	"html"
	"strings"

	"maintenance-controller.io/pkg/page"
)

var (
	//go:embed default/page.html
	htmlTemplate string
	//go:embed default/style.css
	style string
	//go:embed default/script.js
	script string
	//go:embed default/until.css
	untilStyle string
	//go:embed default/until.js
	untilScript string
	//go:embed default/page.xml
	xmlTemplate string
)

// Default returns the built-in page in all its languages. It needs no file and cannot fail;
// tests check that page.Read accepts it.
func Default() page.Page {
	var all []words
	for _, t := range translations() {
		all = append(all, words{translation: t})
	}
	return built(strings.TrimSpace(style), strings.TrimSpace(script), all)
}

// words are the texts of a page in one language.
type words struct {
	translation
	end end // when maintenance ends; zero if the page does not say
}

func built(css, js string, all []words) page.Page {
	p := page.Page{
		Status:                page.DefaultStatus,
		RetryAfter:            page.DefaultRetryAfter,
		ContentSecurityPolicy: policy(css, js),
		Bodies:                map[string]string{},
	}
	for _, t := range all {
		message := strings.TrimSpace(t.message + " " + t.end.line())
		fill := strings.NewReplacer(
			"{{tag}}", t.tag,
			"{{dir}}", t.dir(),
			"{{title}}", html.EscapeString(t.title),
			"{{message}}", html.EscapeString(t.message),
			"{{until}}", t.end.html(),
			"{{whole}}", html.EscapeString(message),
			"{{end}}", t.end.xml(),
			"{{note}}", html.EscapeString(t.note),
			"{{again}}", html.EscapeString(t.again),
			"{{looked}}", html.EscapeString(t.looked),
			"{{style}}", css,
			"{{script}}", js,
		)
		prefix := "page." + t.tag + "."
		p.Bodies[prefix+page.HTML] = fill.Replace(htmlTemplate)
		p.Bodies[prefix+page.XML] = fill.Replace(xmlTemplate)
		p.Bodies[prefix+page.JSON] = jsonBody(t, message)
		p.Bodies[prefix+page.Text] = t.title + "\n\n" + message + "\n"
	}
	return p
}

// policy allows only the page's own style and script, by hash, and requests to its own
// address. It has no frame-ancestors on purpose: an app that is embedded elsewhere must be
// able to show its maintenance page there, and the page has nothing to click on except the
// button that tries again.
func policy(css, js string) string {
	return "default-src 'none'; style-src '" + sourceHash(css) + "'; script-src '" + sourceHash(js) +
		"'; connect-src 'self'; base-uri 'none'; form-action 'none'"
}

// sourceHash is a CSP hash-source (https://www.w3.org/TR/CSP3/#match-element-to-source-list).
func sourceHash(block string) string {
	sum := sha256.Sum256([]byte(block))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// jsonBody contains neither the status nor the time to wait: it would be wrong for a page
// that overrides only these. Both are in the response's header, and in problem+json.
func jsonBody(t words, message string) string {
	body, err := json.MarshalIndent(struct {
		Maintenance bool   `json:"maintenance"`
		Title       string `json:"title"`
		Message     string `json:"message"`
		Until       string `json:"until,omitempty"`
	}{true, t.title, message, t.end.machine()}, "", "  ")
	if err != nil { // a struct of strings always marshals
		return `{"maintenance": true}`
	}
	return string(body) + "\n"
}
