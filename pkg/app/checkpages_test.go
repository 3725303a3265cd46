package app

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckPages(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	write("good/page.html", "<p>")
	write("good/status", "500\n")
	write("good/folder/ignored", "kubectl does not read subfolders")
	write("broken/page.html", "<p>")
	write("broken/page.json", "{")
	write("typo/page.htm", "<p>")
	write("spring.html", "<p>")
	write("latin.html", "gr\xfcn")
	write("page.de.xml", "<a/><b/>")
	write("pages.yaml", `
apiVersion: v1
kind: ConfigMap
metadata: {name: a, labels: {maintenance/custom-page: default}}
data: {page.txt: soon, status: "500"}
---
apiVersion: v1
kind: List
items:
- {kind: ConfigMap, metadata: {name: b, labels: {maintenance/custom-page: spring}}, data: {page.html: a}, binaryData: {page.json: Z3L8bg==}}
- {kind: ConfigMap, metadata: {name: other}, data: {page.htm: a}}
- {kind: Secret, metadata: {name: c, labels: {maintenance/custom-page: spring}}, data: {page.htm: Yg==}}
`)
	write("values.yaml", "maintenance: {retryAfter: 60, customPages: {default: {html: a}, none: {}, spring: {htmlBase64: Yg, text: ' '}}}")
	write("empty.yaml", "replicas: 3\n")
	for _, test := range []struct {
		path string
		code int
		says []string
	}{
		{"good", exitOK, []string{"ok ", "status 500, page.html"}},
		{"broken", exitError, []string{"broken ", "get json from the default page, and the other formats from this one", `key "page.json" is not valid JSON`}},
		{"typo", exitError, []string{"refused ", `key "page.htm" is unknown`}},
		{"spring.html", exitOK, []string{"status 503, page.html"}},
		{"latin.html", exitError, []string{`key "page.html" is not valid UTF-8`}},
		{"page.de.xml", exitError, []string{`key "page.de.xml" is not well-formed XML: line 1: <b> is a second root element`}},
		{"pages.yaml", exitError, []string{`ok       page "default" in ConfigMap a of `, `broken   page "spring" in ConfigMap b of `, `key "page.json" is not valid UTF-8`, "1 of 2 pages"}},
		{"values.yaml", exitError, []string{"ok       maintenance.defaultPage in ", "move it there", "the page is empty", "htmlBase64 is not base64", "3 of 4 pages"}},
		{"empty.yaml", exitError, []string{"has no page: neither a ConfigMap labelled maintenance/custom-page=NAME nor values"}},
		{"nowhere", exitError, []string{"no such file"}},
	} {
		t.Run(test.path, func(t *testing.T) {
			var out bytes.Buffer
			p := Process{Args: []string{"check-pages", filepath.Join(dir, test.path)}, Env: noEnv, Stdout: &out, Stderr: &out}
			assert.Equal(t, test.code, Main(t.Context(), p), out.String())
			for _, text := range test.says {
				assert.Contains(t, out.String(), text)
			}
		})
	}
	var out bytes.Buffer
	p := Process{Args: []string{"check-pages", "-"}, Env: noEnv, Stdin: strings.NewReader("maintenance: {customPages: {a: {html: b}}}"), Stdout: &out, Stderr: &out}
	assert.Equal(t, exitOK, Main(t.Context(), p), out.String())
	assert.Contains(t, out.String(), "maintenance.customPages.a in standard input: status 503, page.html")
	assert.Equal(t, exitUsage, Main(t.Context(), Process{Args: []string{"check-pages"}, Env: noEnv, Stdout: &out, Stderr: &out}))
	assert.Equal(t, exitOK, Main(t.Context(), Process{Args: []string{"check-pages", "--help"}, Env: noEnv, Stdout: &out, Stderr: &out}))
}
