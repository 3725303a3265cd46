package pages

import (
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"maintenance-controller.io/pkg/page"
)

var evening = time.Date(2026, 1, 31, 17, 5, 0, 0, time.UTC)

// TestDefaultIsStable: a new version of the controller must not move targets in maintenance
// without an end to another page set.
func TestDefaultIsStable(t *testing.T) {
	const want = "251e57be75f99073"
	for name, p := range map[string]page.Page{"Default": Default(), "Until": Until(time.Time{})} {
		if got := p.Hash(); !strings.HasPrefix(got, want) {
			t.Errorf("%s has hash %s, want %s…", name, got, want)
		}
	}
}

func TestEndingsMatchTranslations(t *testing.T) {
	if len(endings()) != len(translations()) {
		t.Fatal(len(endings()), len(translations()))
	}
	for i, e := range endings() {
		if tag := translations()[i].tag; e.tag != tag {
			t.Errorf("ending %d is in %s, but the translation in %s", i, e.tag, tag)
		}
		if strings.Count(e.back, "%") != 1 || e.title == "" || e.message == "" {
			t.Errorf("%s: %+v", e.tag, e)
		}
		if got, err := time.Parse(e.layout, evening.Format(e.layout)); err != nil || !got.Equal(evening) {
			t.Errorf("%s: %q does not have the complete time: %v", e.tag, evening.Format(e.layout), err)
		}
	}
}

func TestUntilIsInEveryFormat(t *testing.T) {
	p := Until(evening.Add(-time.Second))
	got, err := page.Parse(p.Data())
	if diff := cmp.Diff(p, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, e := range endings() {
		shown := evening.Format(e.layout)
		body := func(format string) string { return p.Bodies["page."+e.tag+"."+format] }
		element := `<time id="until" dir="auto" datetime="2026-01-31T17:05:00Z">` + shown + `</time>`
		if html := body(page.HTML); !strings.Contains(html, element) || !strings.Contains(html, e.title) || strings.Contains(html, "{{") {
			t.Errorf("page.%s.html does not say when: %s", e.tag, html)
		}
		if text := body(page.Text); !strings.Contains(text, shown) || !strings.Contains(text, e.message) {
			t.Errorf("page.%s.txt: %s", e.tag, text)
		}
		var v struct {
			Message string    `json:"message" xml:"message"`
			Until   time.Time `json:"until" xml:"until"`
		}
		if err := json.Unmarshal([]byte(body(page.JSON)), &v); err != nil || !v.Until.Equal(evening) || !strings.Contains(v.Message, shown) {
			t.Errorf("page.%s.json: %v, %+v", e.tag, err, v)
		}
		v.Until = time.Time{}
		if err := xml.Unmarshal([]byte(body(page.XML)), &v); err != nil || !v.Until.Equal(evening) || !strings.Contains(v.Message, shown) {
			t.Errorf("page.%s.xml: %v, %+v", e.tag, err, v)
		}
	}
}

func TestUntilPolicyNamesTheInlineBlocks(t *testing.T) {
	p := Until(evening)
	for key, body := range p.Bodies {
		if !strings.HasSuffix(key, ".html") {
			continue
		}
		for _, element := range []string{"style", "script"} {
			_, rest, _ := strings.Cut(body, "<"+element+">")
			block, _, ok := strings.Cut(rest, "</"+element+">")
			if !ok || !strings.Contains(p.ContentSecurityPolicy, element+"-src '"+sourceHash(block)+"'") {
				t.Errorf("the policy does not allow the %s of %s", element, key)
			}
		}
	}
}

func TestUntilRoundsUpToAMinute(t *testing.T) {
	base := Until(evening).Hash()
	for until, same := range map[time.Time]bool{
		evening.Add(-59 * time.Second):                                    true,
		evening.Add(-time.Nanosecond):                                     true,
		evening.In(time.FixedZone("", 5*3600)):                            true,
		evening.Add(time.Nanosecond):                                      false,
		evening.Add(-time.Minute):                                         false,
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC):                  false,
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600)): false,
	} {
		p := Until(until)
		if got := p.Hash() == base; got != same {
			t.Errorf("%s: the same page: %v", until, got)
		}
		if _, err := page.Parse(p.Data()); err != nil {
			t.Errorf("%s: %v", until, err)
		}
	}
}
