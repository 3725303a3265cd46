package pageserver

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/page"
)

func TestProblem(t *testing.T) {
	for _, test := range []struct {
		name string
		json string // page.json; the page has none if empty
		want map[string]any
	}{
		{name: "no page.json", want: map[string]any{"type": "about:blank", "title": "Service Unavailable"}},
		{name: "message", json: `{"message": "soon"}`,
			want: map[string]any{"type": "about:blank", "title": "Service Unavailable", "detail": "soon"}},
		{name: "a title without a type is removed", json: `{"title": "Oops", "message": "soon", "maintenance": true}`,
			want: map[string]any{"type": "about:blank", "title": "Service Unavailable", "detail": "soon", "maintenance": true}},
		{name: "a problem of its own", json: `{"type": "https://a.example/p", "title": "Oops", "detail": "d", "message": "m", "status": 200, "retryAfter": 1, "instance": "x"}`,
			want: map[string]any{"type": "https://a.example/p", "title": "Oops", "detail": "d", "message": "m"}},
		{name: "wrong kinds of members", json: `{"type": 1, "title": {}, "detail": [], "message": null}`,
			want: map[string]any{"type": "about:blank", "title": "Service Unavailable", "message": nil}},
		{name: "not an object", json: `["maintenance"]`, want: map[string]any{"type": "about:blank", "title": "Service Unavailable"}},
		{name: "null", json: `null`, want: map[string]any{"type": "about:blank", "title": "Service Unavailable"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := page.Page{Bodies: map[string]string{"page.html": "<p>x</p>"}, RetryAfter: 100e9}
			if test.json != "" {
				p.Bodies["page.json"] = test.json
			}
			a := serve(t, Config{Page: p}).ask(t, "GET", "/orders/42?secret=1", "Accept: application/problem+json")
			var got map[string]any
			if err := json.Unmarshal([]byte(a.Body), &got); err != nil {
				t.Fatalf("%v: %s", err, a.Body)
			}
			if wait, ok := got["retryAfter"].(float64); !ok || a.Header.Get("Retry-After") != jsonNumber(wait) {
				t.Errorf("retryAfter %v, but Retry-After: %s", got["retryAfter"], a.Header.Get("Retry-After"))
			}
			delete(got, "retryAfter")
			test.want["status"], test.want["instance"] = 503.0, "/orders/42"
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func jsonNumber(f float64) string {
	b, _ := json.Marshal(f)
	return string(b)
}

func TestProblemLanguage(t *testing.T) {
	a := serve(t, Config{Page: pages.Default()}).ask(t, "GET", "/", "Accept: application/problem+json", "Accept-Language: de")
	if a.Header.Get("Content-Language") != "de" || !strings.Contains(a.Body, "Wartungsarbeiten") {
		t.Errorf("%v %s", a.Header, a.Body)
	}
}
