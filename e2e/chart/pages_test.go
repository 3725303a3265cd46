package chart

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/pkg/app"
	"maintenance-controller.io/pkg/page"
)

// testPage is a page in the chart's values: its fields by name, and its files by key.
type testPage struct {
	name   string
	fields map[string]string
	files  map[string]string
}

const spring = "PGgxPlNwcmluZzwvaDE+" // <h1>Spring</h1>

// goodPages returns pages that the chart and the controller accept.
func goodPages() []testPage {
	return []testPage{
		{"everything", map[string]string{"html": "<p>", "json": "{}", "xml": "<a/>", "text": "a", "contentSecurityPolicy": "default-src 'none'\n"}, map[string]string{"page.de.html": "<p>", "page.pt-BR.txt": "b"}},
		{"base64", map[string]string{"htmlBase64": spring}, nil},
		{"base64-folded", map[string]string{"htmlBase64": "PGgx PlNwcm luZz wvaDE+\n"}, nil},
		{"base64-literal", map[string]string{"htmlBase64": "PGgxPlNw\ncmluZzwv\n\taDE+\n\n"}, nil},
		{"json-list", map[string]string{"json": "[1, \"],[\"]"}, nil},
		{"json-text", map[string]string{"json": `"down"`}, nil},
		{"json-null", map[string]string{"json": " null\n"}, nil},
		{"json-error", map[string]string{"json": `{"Error": "down"}`}, nil},
		{"json-escaped", map[string]string{"json": `{"a": "\\ufffd \\u0000 \ufffd"}`}, nil},
		{"marks", map[string]string{"html": "\ufeff<p>", "json": "\ufeff{}", "xml": "\ufeff<a/>", "text": "\ufeffa", "contentSecurityPolicy": "\ufeffdefault-src 'none'"}, nil},
		{"replacement-character", map[string]string{"html": "\ufffd \\ufffd \\\\ufffd \\u0000"}, nil},
		{"xml-after-a-line", map[string]string{"xml": "\n<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a>ä</a>\n"}, nil},
		{"xml-ascii", map[string]string{"xml": `<?xml version='1.0' encoding='ISO-8859-1' standalone="yes"?><a/>`}, nil},
		{"xml-namespaces", map[string]string{"xml": `<p:a xmlns:p="u" xmlns="v"><b p:c="1" c="2" xml:lang="en"/><b xmlns:p="w"><p:c/></b></p:a>`}, nil},
		{"xml-all", map[string]string{"xml": "<!-- a --><?b c?><!DOCTYPE a SYSTEM \"a\"><a b=\"&lt;>'\"><![CDATA[<]]>&#xE4;&#228; ]] > </a ><!-- end -->\n"}, nil},
	}
}

// badPages returns pages that the chart refuses and the controller reports as faulty.
func badPages() []testPage {
	xml := map[string]string{
		"two-roots": "<a/><b/>", "text-after": "<a/>b", "no-root": "<!-- a -->", "declared-twice": "<?xml version='1.0'?><?xml version='1.0'?><a/>", "declared-late": "<!-- a --><?xml version='1.0'?><a/>",
		"version": "<?xml version='1.1'?><a/>", "encoding": "<?xml version='1.0' encoding='ISO-8859-1'?><a>ä</a>", "utf-16": "<?xml version='1.0' encoding='UTF-16'?><a/>", "order": "<?xml encoding='UTF-8' version='1.0'?><a/>",
		"attribute-twice": "<a b='' b=''/>", "attribute-twice-by-prefix": "<a xmlns:p='u' xmlns:q='u' p:b='' q:b=''/>", "run-together": "<a b=''c=''/>", "prefix": "<p:a/>", "prefix-of-attribute": "<a p:b=''/>", "prefix-out-of-scope": "<a><b xmlns:p='u'/><p:c/></a>",
		"prefix-unbound": "<a xmlns:p=''/>", "xmlns": "<a xmlns:xmlns='u'/>", "xml": "<a xmlns:xml='u'/>", "not-closed": "<a><b></a>", "open": "<a>", "closed": "</a>", "overlap": "<a><b></a></b>", "entity": "<a>&nbsp;</a>", "own-entity": "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
		"reference": "<a>&#0;</a>", "cdata-end": "<a>]]></a>", "cdata-outside": "<![CDATA[]]><a/>", "comment": "<a><!-- -- --></a>", "control": "<a>\x01</a>", "late-type": "<a/><!DOCTYPE a>", "ampersand": "<a>&</a>", "three-names": "<a:b:c xmlns:a='u'/>",
	}
	bad := []testPage{
		{"html-blank", map[string]string{"html": " \n"}, nil}, {"html-mark", map[string]string{"html": "\ufeff"}, nil}, {"text-blank", map[string]string{"text": "\t"}, nil}, {"file-empty", nil, map[string]string{"page.de.html": ""}},
		{"html-latin-1", map[string]string{"html": "gr\xfcn"}, nil}, {"json-latin-1", map[string]string{"json": "\"gr\xfcn\""}, nil}, {"xml-latin-1", map[string]string{"xml": "<a>gr\xfcn</a>"}, nil},
		{"text-latin-1", map[string]string{"text": "gr\xfcn"}, nil}, {"policy-latin-1", map[string]string{"html": "a", "contentSecurityPolicy": "gr\xfcn"}, nil}, {"file-latin-1", nil, map[string]string{"page.de.txt": "gr\xfcn"}},
		{"utf-16", map[string]string{"html": "\xff\xfe<\x00p\x00>\x00"}, nil}, {"utf-16-big", map[string]string{"json": "\xfe\xff\x00{\x00}"}, nil}, {"utf-16-without-mark", map[string]string{"text": "h\x00i\x00"}, nil}, {"file-utf-16", nil, map[string]string{"page.de.xml": "\xff\xfe<\x00a\x00/\x00>\x00"}},
		{"base64-latin-1", map[string]string{"htmlBase64": base64.StdEncoding.EncodeToString([]byte("gr\xfcn"))}, nil}, {"base64-not", map[string]string{"htmlBase64": "<p>"}, nil}, {"base64-cut", map[string]string{"htmlBase64": "PGgxPlNwcm"}, nil},
		{"json-object", map[string]string{"json": "{\"a\": b}"}, nil}, {"json-no-object", map[string]string{"json": "back soon"}, nil}, {"json-two", map[string]string{"json": "1, 2"}, nil}, {"json-brackets", map[string]string{"json": "1],[2"}, nil},
		{"json-list", map[string]string{"json": "[1"}, nil}, {"json-number", map[string]string{"json": "1e999"}, nil}, {"json-in-a-language", nil, map[string]string{"page.de.json": "{'a': 1}"}},
		{"policy-lines", map[string]string{"html": "a", "contentSecurityPolicy": "default-src 'none';\nimg-src *"}, nil}, {"policy-blank", map[string]string{"html": "a", "contentSecurityPolicy": " "}, nil}, {"policy-long", map[string]string{"html": "a", "contentSecurityPolicy": strings.Repeat("a", 4097)}, nil},
		{"language-twice", nil, map[string]string{"page.de.html": "a", "page.DE.html": "b"}}, {"html-twice", map[string]string{"html": "a", "htmlBase64": spring}, nil}, {"text-twice", map[string]string{"text": "a"}, map[string]string{"page.txt": "b"}},
		{"nothing", nil, nil}, {"too-large", map[string]string{"text": strings.Repeat("a", page.MaxSize)}, nil},
	}
	for name, body := range xml {
		bad = append(bad, testPage{"xml-" + name, map[string]string{"xml": body}, nil})
	}
	return bad
}

// TestChartAndControllerAgreeOnPages gives the same pages to the chart and to check-pages, which
// uses the controller's checks.
func TestChartAndControllerAgreeOnPages(t *testing.T) {
	t.Parallel()
	out, err := runTool(t, binaries.Helm(), "", templateOf(t, goodPages())...)
	require.NoError(t, err, out)
	rendered := 0
	for _, cm := range ofKind(objects(t, out), "ConfigMap") {
		data, _, err := unstructured.NestedStringMap(cm.Object, "data")
		require.NoError(t, err)
		_, faults, err := page.Read(data)
		assert.NoError(t, err, cm.GetName())
		assert.Empty(t, faults, cm.GetName())
		rendered++
	}
	assert.Equal(t, len(goodPages()), rendered)
	for _, p := range goodPages() {
		code, out := checkPages(t, p)
		assert.Zero(t, code, "%s\n%s", p.name, out)
	}

	out, err = runTool(t, binaries.Helm(), "", templateOf(t, badPages())...)
	require.Error(t, err, "the chart accepts bad pages")
	for _, p := range badPages() {
		assert.Regexp(t, `(?m)^  maintenance\.customPages\.`+p.name+`[.: ].*\S`, out)
		code, out := checkPages(t, p)
		assert.Equal(t, 1, code, "%s\n%s", p.name, out)
	}
}

// TestSchemaRefusesUnknownPageKeys checks that the values schema refuses file names without a valid
// format or language.
func TestSchemaRefusesUnknownPageKeys(t *testing.T) {
	t.Parallel()
	for key, good := range map[string]bool{
		"page.de.html": true, "page.zh-Hant-TW.json": true, "page.xml": true, "page.d.html": false, "page.de-.html": false, "page.pt_BR.html": false, "page.htm": false, "page.de.de.html": false, "status": false,
	} {
		p := testPage{"keys", nil, map[string]string{key: "<a/>"}}
		if strings.HasSuffix(key, ".json") {
			p.files[key] = "{}"
		}
		out, err := runTool(t, binaries.Helm(), "", templateOf(t, []testPage{p})...)
		assert.Equal(t, good, err == nil, "%s\n%s", key, out)
		code, out := checkPages(t, p)
		assert.Equal(t, good, code == 0, "%s\n%s", key, out)
	}
}

// templateOf returns Helm's arguments to render the chart with these pages: in a values file, or
// by --set-file for what YAML cannot contain.
func templateOf(t *testing.T, pages []testPage) []string {
	t.Helper()
	dir := t.TempDir()
	args := []string{"template", "x", "deploy/chart", "--no-hooks", "--values", filepath.Join(dir, "values.yaml")}
	custom := map[string]any{}
	for _, p := range pages {
		values := map[string]any{}
		for field, text := range p.fields {
			if utf8.ValidString(text) {
				values[field] = text
			} else {
				args = append(args, "--set-file", fmt.Sprintf("maintenance.customPages.%s.%s=%s", p.name, field, write(t, dir, p.name+field, text)))
			}
		}
		files := map[string]string{}
		for key, text := range p.files {
			if utf8.ValidString(text) {
				files[key] = text
			} else {
				args = append(args, "--set-file", fmt.Sprintf("maintenance.customPages.%s.files.%s=%s", p.name, strings.ReplaceAll(key, ".", `\.`), write(t, dir, p.name+key, text)))
			}
		}
		if len(files) > 0 {
			values["files"] = files
		}
		custom[p.name] = values
	}
	text, err := yaml.Marshal(map[string]any{"maintenance": map[string]any{"customPages": custom}})
	require.NoError(t, err)
	write(t, dir, "values.yaml", string(text))
	return args
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// checkPages runs check-pages on a page: in a values file, or in a folder if YAML cannot contain it.
func checkPages(t *testing.T, p testPage) (code int, out string) {
	t.Helper()
	dir := t.TempDir()
	path := dir
	isText := true
	for text := range maps.Values(p.fields) {
		isText = isText && utf8.ValidString(text)
	}
	for text := range maps.Values(p.files) {
		isText = isText && utf8.ValidString(text)
	}
	if isText {
		text, err := yaml.Marshal(map[string]any{"maintenance": map[string]any{"customPages": map[string]any{p.name: asValues(p)}}})
		require.NoError(t, err)
		path = write(t, dir, "values.yaml", string(text))
	} else {
		keys := map[string]string{"html": "page.html", "json": "page.json", "xml": "page.xml", "text": "page.txt", "contentSecurityPolicy": page.CSPKey}
		for field, text := range p.fields {
			write(t, dir, keys[field], text)
		}
		for key, text := range p.files {
			write(t, dir, key, text)
		}
	}
	var said bytes.Buffer
	code = app.Main(t.Context(), app.Process{Args: []string{"check-pages", path}, Env: os.LookupEnv, Stdin: strings.NewReader(""), Stdout: &said, Stderr: &said})
	return code, said.String()
}

func asValues(p testPage) map[string]any {
	values := map[string]any{}
	for field, text := range p.fields {
		values[field] = text
	}
	if len(p.files) > 0 {
		values["files"] = p.files
	}
	return values
}
