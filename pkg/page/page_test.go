package page

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	got, faults, err := Read(map[string]string{
		"status": " 503\n", "retry-after": "60\n", "content-security-policy": "default-src 'none'\n",
		"page.html": "<p>hi", "page.pt-BR.html": "<p>oi", "page.json": "{}", "page.xml": "<a/>", "page.txt": "hi",
	})
	want := Page{Status: 503, RetryAfter: time.Minute, ContentSecurityPolicy: "default-src 'none'", Bodies: map[string]string{
		"page.html": "<p>hi", "page.pt-BR.html": "<p>oi", "page.json": "{}", "page.xml": "<a/>", "page.txt": "hi"}}
	if diff := cmp.Diff(want, got); err != nil || len(faults) > 0 || diff != "" {
		t.Errorf("%v, %v (-want +got):\n%s", err, faults, diff)
	}
}

// TestReadServesTheOtherFormats: a format with a fault is left out, and the fault names it.
func TestReadServesTheOtherFormats(t *testing.T) {
	good := map[string]string{"status": "500", "page.html": "<p>hi", "page.de.html": "<p>hallo", "page.json": "{}", "page.xml": "<a/>", "page.txt": "hi"}
	for _, test := range []struct {
		name   string
		broken map[string]string
		format string
		says   string
	}{
		{"JSON", map[string]string{"page.json": "{'a': 1}"}, JSON, `key "page.json" is not valid JSON: line 1: invalid character`},
		{"JSON in one language", map[string]string{"page.de.json": "{"}, JSON, `key "page.de.json" is not valid JSON`},
		{"XML", map[string]string{"page.xml": "<a><b></a>"}, XML, `key "page.xml" is not well-formed XML: line 1`},
		{"Latin-1 in one language", map[string]string{"page.de.html": "gr\xfcn"}, HTML, `key "page.de.html" is not valid UTF-8`},
		{"blank text", map[string]string{"page.txt": " \n\ufeff"}, Text, `key "page.txt" is empty`},
		{"one language twice", map[string]string{"page.DE.html": "x"}, HTML, `keys "page.DE.html" and "page.de.html" are the same language`},
		{"a policy on two lines, without which the HTML may not work", map[string]string{CSPKey: "default-src 'none'\nimg-src *"}, HTML, "one line"},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := maps.Clone(good)
			maps.Copy(data, test.broken)
			got, faults, err := Read(data)
			if err != nil || len(faults) != 1 || faults[0].Format != test.format || !strings.Contains(faults[0].Error(), test.says) {
				t.Fatalf("%v, %v, want a fault of %s that says %q", err, faults, test.format, test.says)
			}
			want := Page{Status: 500, Bodies: map[string]string{}}
			for key, body := range good {
				if _, format, ok := SplitKey(key); ok && format != test.format {
					want.Bodies[key] = body
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadDropsByteOrderMarks(t *testing.T) {
	const mark = "\ufeff"
	got, faults, err := Read(map[string]string{
		"status": mark + "500", "retry-after": mark + "60", CSPKey: mark + "default-src 'none'", "page.html": mark + "<p>hi", "page.json": mark + "{}",
		"page.de.json": mark + mark + " [1]", "page.xml": mark + "\r\n <?xml version='1.0'?><a/>", "page.txt": mark + "hi" + mark,
	})
	want := Page{Status: 500, RetryAfter: time.Minute, ContentSecurityPolicy: "default-src 'none'", Bodies: map[string]string{
		"page.html": "<p>hi", "page.json": "{}", "page.de.json": " [1]", "page.xml": "<?xml version='1.0'?><a/>", "page.txt": "hi" + mark}}
	if diff := cmp.Diff(want, got); err != nil || len(faults) > 0 || diff != "" {
		t.Errorf("%v, %v (-want +got):\n%s", err, faults, diff)
	}
}

// TestParseDoesNotCheckBodies: a page server serves what another version accepted.
func TestParseDoesNotCheckBodies(t *testing.T) {
	data := map[string]string{"page.html": "\ufeff", "page.json": "{", "page.xml": "", "status": "503"}
	p, err := Parse(data)
	if diff := cmp.Diff(data, p.Data()); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, test := range []struct {
		name, key, value string
		says             string // what the error tells the person
	}{
		{"a 200", "status", "200", "400 to 599"},
		{"a redirect", "status", "302", "400 to 599"},
		{"a 600", "status", "600", "400 to 599"},
		{"a word for a status", "status", "down", "400 to 599"},
		{"no time", "retry-after", "0", "1 to 604800"},
		{"a date", "retry-after", "Fri, 31 Dec 1999 23:59:59 GMT", "whole seconds"},
		{"a time over a week", "retry-after", "604801", "1 to 604800"},
		{"a time that overflows", "retry-after", "9223372036854775807", "1 to 604800"},
		{"a policy on two lines", "content-security-policy", "default-src 'none'\r\nSet-Cookie: a=b", "one line"},
		{"an empty policy", "content-security-policy", " ", "leave the key out"},
		{"a policy that is too long for proxies", "content-security-policy", strings.Repeat("a", 5000), "4096"},
		{"a mistyped key", "page.htm", "x", "page.html"},
		{"an underscore for a hyphen", "page.pt_BR.html", "x", "page.de.html"},
		{"another file", "style.css", "x", "unknown"},
		{"Latin-1", "page.html", "gr\xfcn", "UTF-8"},
		{"nothing", "page.html", " \n", "is empty"},
		{"broken JSON", "page.json", "{'a': 1}", "not valid JSON"},
		{"broken XML", "page.xml", "<a><b></a>", "well-formed"},
		{"XML without an element", "page.xml", "<!-- soon -->", "no XML element"},
		{"XML in another charset", "page.xml", `<?xml version="1.0" encoding="ISO-8859-1"?><a>ä</a>`, "declares the encoding ISO-8859-1"},
		{"UTF-16 without its mark", "page.txt", "h\x00i\x00", "UTF-16"},
		{"UTF-16 with its mark", "page.txt", "\xff\xfeh\x00i\x00", "UTF-8"},
		{"a number out of range", "page.json", "1e999", "not valid JSON"},
		{"too much", "page.html", strings.Repeat("x", MaxSize), "bytes"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, _, err := Read(map[string]string{test.key: test.value})
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
			if err != nil && len(err.Error()) > 400 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
	if _, _, err := Read(map[string]string{"page.html": " ", "page.json": "{"}); err == nil || !strings.Contains(err.Error(), "is empty") || !strings.Contains(err.Error(), "not valid JSON") {
		t.Errorf("nothing is left: %v", err)
	}
}

func TestWithDefaults(t *testing.T) {
	d := Page{Status: 503, RetryAfter: time.Minute, ContentSecurityPolicy: "default-src 'none'", Bodies: map[string]string{
		"page.en.html": "d", "page.de.html": "d", "page.en.json": `"d"`, "page.txt": "d"}}
	for _, test := range []struct {
		name    string
		p, want Page
	}{
		{"nothing given", Page{}, d},
		{"its own HTML gets no language and no policy from the default", Page{Bodies: map[string]string{"page.html": "p"}},
			Page{Status: 503, RetryAfter: time.Minute, Bodies: map[string]string{"page.html": "p", "page.en.json": `"d"`, "page.txt": "d"}}},
		{"one language is the whole format", Page{Bodies: map[string]string{"page.fr.html": "p"}},
			Page{Status: 503, RetryAfter: time.Minute, Bodies: map[string]string{"page.fr.html": "p", "page.en.json": `"d"`, "page.txt": "d"}}},
		{"a policy without HTML is not for the default's HTML", Page{ContentSecurityPolicy: "x"}, d},
		{"only a status", Page{Status: 500}, Page{Status: 500, RetryAfter: time.Minute, ContentSecurityPolicy: d.ContentSecurityPolicy, Bodies: d.Bodies}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.p.WithDefaults(d)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if got := (Page{}).WithDefaults(Page{}); got.Status != DefaultStatus || got.RetryAfter != DefaultRetryAfter {
		t.Errorf("no default at all: %+v", got)
	}
}

func TestHashTellsPagesApart(t *testing.T) {
	pages := map[string]map[string]string{
		"a":            {"page.html": "ab", "page.txt": "c"},
		"bytes moved":  {"page.html": "a", "page.txt": "bc"},
		"another key":  {"page.de.html": "ab", "page.txt": "c"},
		"more":         {"page.html": "ab", "page.txt": "c", "status": "503"},
		"a policy":     {"page.html": "ab", "page.txt": "c", "content-security-policy": "x"},
		"less":         {"page.html": "ab"},
		"nothing":      {},
		"swapped":      {"page.html": "c", "page.txt": "ab"},
		"key in value": {"page.html": "abpage.txtc"},
	}
	seen := map[string]string{}
	for name, data := range pages {
		hash := HashData(data)
		if other, ok := seen[hash]; ok {
			t.Errorf("%q and %q have the same hash", name, other)
		}
		seen[hash] = name
		if !IsSetName(SetName(hash)) {
			t.Errorf("%q is not the name of a page set", SetName(hash))
		}
	}
}

// TestHashIsStable: another value would rename every page set in every cluster when the
// controller is updated.
func TestHashIsStable(t *testing.T) {
	p := Page{Status: 503, RetryAfter: time.Minute, Bodies: map[string]string{"page.html": "<p>hi"}}
	if got, want := SetName(p.Hash()), "maintenance-caa7f5c4234beec6"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestAccessIsContent: Access is part of the hash, and Read refuses a page that has it.
func TestAccessIsContent(t *testing.T) {
	open := Page{Status: 503, RetryAfter: time.Minute, Bodies: map[string]string{"page.html": "<p>hi"}}
	kept := open
	kept.Access = `{"readOnly":true}`
	if open.Hash() == kept.Hash() {
		t.Error("who is let through is not part of the hash")
	}
	got, err := Parse(kept.Data())
	if diff := cmp.Diff(kept, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, _, err := Read(kept.Data()); err == nil || !strings.Contains(err.Error(), AccessKey) {
		t.Errorf("a person's page lets people through: %v", err)
	}
}

func TestIsSetName(t *testing.T) {
	for name, want := range map[string]bool{
		"maintenance-0123456789abcdef": true, "maintenance-0123456789abcde": false, "maintenance-0123456789abcdef0": false,
		"maintenance-0123456789ABCDEF": false, "maintenance-": false, "app": false, "x-maintenance-0123456789abcdef": false, "maintenance-0123456789abcdef\n": false,
	} {
		if IsSetName(name) != want {
			t.Errorf("IsSetName(%q) = %t", name, !want)
		}
	}
}

func TestSplitKey(t *testing.T) {
	for key, want := range map[string][3]string{
		"page.html": {"", "html", "ok"}, "page.de.json": {"de", "json", "ok"}, "page.zh-Hant-TW.txt": {"zh-Hant-TW", "txt", "ok"}, "page.xml": {"", "xml", "ok"},
		"page.": {}, "page.de": {}, "page..html": {}, "page.html.de": {}, "page.d.html": {}, "page.de-.html": {}, "xpage.html": {}, "page.html\n": {},
	} {
		language, format, ok := SplitKey(key)
		if language != want[0] || format != want[1] || ok != (want[2] == "ok") {
			t.Errorf("SplitKey(%q) = %q, %q, %t", key, language, format, ok)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("page.html", "<p>hi", "status", "503")
	f.Add("page.de.json", "{}", "retry-after", "5")
	f.Add("page.xml", "<a/>", "content-security-policy", "default-src 'none'")
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 string) {
		data := map[string]string{key1: value1, key2: value2}
		p, _, err := Read(data)
		if err != nil {
			return
		}
		again, err := Parse(p.Data())
		if diff := cmp.Diff(p, again); err != nil || diff != "" {
			t.Errorf("Parse(p.Data()) is not p: %v\n%s", err, diff)
		}
		again, faults, err := Read(p.Data())
		if diff := cmp.Diff(p, again); err != nil || len(faults) > 0 || diff != "" {
			t.Errorf("Read(p.Data()) is not p: %v, %v\n%s", err, faults, diff)
		}
		if p.Hash() != again.Hash() {
			t.Error("the hash changed on the way through Data")
		}
		full := p.WithDefaults(Page{Bodies: map[string]string{"page.html": "d", "page.de.html": "d"}})
		if !full.HasFormat(HTML) || full.Status < 400 || full.RetryAfter <= 0 {
			t.Errorf("incomplete after WithDefaults: %+v", full)
		}
		if !maps.Equal(full.WithDefaults(Page{}).Bodies, full.Bodies) {
			t.Error("WithDefaults is not idempotent")
		}
	})
}
