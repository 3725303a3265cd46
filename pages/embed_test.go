package pages

import (
	"encoding/json"
	"encoding/xml"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maintenance-controller.io/pkg/page"
)

func TestDefaultIsValid(t *testing.T) {
	got, faults, err := page.Read(Default().Data())
	if err != nil || len(faults) > 0 {
		t.Fatal(err, faults)
	}
	if diff := cmp.Diff(Default(), got); diff != "" {
		t.Errorf("Read(Default().Data()) differs (-want +got):\n%s", diff)
	}
}

func TestDefaultIsDeterministic(t *testing.T) {
	first, second := Default().Hash(), Default().Hash()
	if first != second {
		t.Error("the hash of the built-in page differs between two calls")
	}
}

// TestDefaultIsSmall: every page set's ConfigMap has a copy of the page.
func TestDefaultIsSmall(t *testing.T) {
	size := 0
	for key, value := range Default().Data() {
		size += len(key) + len(value)
	}
	t.Logf("%d bytes in %d languages", size, len(translations()))
	if limit := 100 << 10; size > limit {
		t.Errorf("the built-in page has %d bytes, more than %d", size, limit)
	}
}

func TestDefaultHasEveryFormatInEveryLanguage(t *testing.T) {
	if n := len(translations()); n < 10 {
		t.Errorf("%d languages, want at least 10", n)
	}
	bodies := Default().Bodies
	for _, tr := range translations() {
		for _, format := range []string{page.HTML, page.JSON, page.XML, page.Text} {
			body := bodies["page."+tr.tag+"."+format]
			if !strings.Contains(body, tr.title) || !strings.Contains(body, tr.message) {
				t.Errorf("page.%s.%s lacks its title or message", tr.tag, format)
			}
			if strings.Contains(body, "{{") {
				t.Errorf("page.%s.%s has a placeholder left", tr.tag, format)
			}
		}
	}
}

func TestTranslationsAreDistinctAndSorted(t *testing.T) {
	seen := map[string]string{}
	var tags []string
	for _, tr := range translations()[1:] {
		tags = append(tags, tr.tag)
	}
	if !slices.IsSorted(tags) {
		t.Errorf("languages after English are not sorted: %v", tags)
	}
	for _, tr := range translations() {
		if other, ok := seen[tr.title]; ok {
			t.Errorf("%s has the same title as %s", tr.tag, other)
		}
		seen[tr.title] = tr.tag
	}
}

func TestDefaultHTML(t *testing.T) {
	external := regexp.MustCompile(`(?i)(src|href)\s*=|url\((?:["']?)[^#]|@import|https?://`)
	inlineStyle := regexp.MustCompile(`(?i)\sstyle\s*=|\son[a-z]+\s*=`)
	for _, key := range slices.Sorted(maps.Keys(Default().Bodies)) {
		lang, format, _ := page.SplitKey(key)
		if format != page.HTML {
			continue
		}
		body := Default().Bodies[key]
		if m := external.FindString(body); m != "" {
			t.Errorf("%s refers to another resource: %q", key, m)
		}
		if m := inlineStyle.FindString(body); m != "" {
			t.Errorf("%s has an attribute that its policy forbids: %q", key, m)
		}
		if !strings.Contains(body, `<html lang="`+lang+`"`) {
			t.Errorf("%s does not declare its language", key)
		}
	}
	if !strings.Contains(Default().Bodies["page.ar.html"], `dir="rtl"`) {
		t.Error("Arabic is not right to left")
	}
}

func TestPolicyNamesTheInlineBlocks(t *testing.T) {
	body := Default().Bodies["page.en.html"]
	for _, element := range []string{"style", "script"} {
		_, rest, _ := strings.Cut(body, "<"+element+">")
		block, _, ok := strings.Cut(rest, "</"+element+">")
		if !ok || !strings.Contains(Default().ContentSecurityPolicy, element+"-src '"+sourceHash(block)+"'") {
			t.Errorf("the policy does not allow the page's own %s", element)
		}
	}
}

func TestDefaultMachineFormatsAreWellFormed(t *testing.T) {
	for key, body := range Default().Bodies {
		switch _, format, _ := page.SplitKey(key); format {
		case page.JSON:
			var v struct {
				Maintenance    bool
				Title, Message string
			}
			if err := json.Unmarshal([]byte(body), &v); err != nil || !v.Maintenance || v.Title == "" || v.Message == "" {
				t.Errorf("%s: %v, %+v", key, err, v)
			}
		case page.XML:
			var v struct {
				XMLName xml.Name `xml:"maintenance"`
				Title   string   `xml:"title"`
				Message string   `xml:"message"`
			}
			if err := xml.Unmarshal([]byte(body), &v); err != nil || v.Title == "" || v.Message == "" {
				t.Errorf("%s: %v, %+v", key, err, v)
			}
		}
	}
}
