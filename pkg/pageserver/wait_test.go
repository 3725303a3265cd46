package pageserver

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/page"
)

var evening = time.Date(2026, 1, 31, 17, 5, 0, 0, time.UTC)

func TestRetryAfterFollowsTheEnd(t *testing.T) {
	quick := pages.Until(evening)
	quick.RetryAfter = 10 * time.Second
	for name, tc := range map[string]struct {
		page        page.Page
		left        time.Duration
		least, most int
	}{
		"hours":                     {pages.Until(evening), 6 * time.Hour, 6 * 3600, 6*3600 + 60},
		"a second earlier":          {pages.Until(evening), 6*time.Hour - time.Second, 6*3600 - 1, 6*3600 + 59},
		"a part of a second counts": {pages.Until(evening), time.Minute - time.Millisecond, 60, 75},
		"two minutes":               {pages.Until(evening), 2 * time.Minute, 120, 150},
		"at the end":                {pages.Until(evening), time.Second, 30, 37},
		"after the end":             {pages.Until(evening), -time.Hour, 30, 37},
		"after the end, quick page": {quick, -time.Hour, 10, 12},
		"weeks":                     {pages.Until(evening), 90 * 24 * time.Hour, 7 * 86400, 7*86400 + 60},
		"never":                     {pages.Until(time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)), 0, 7 * 86400, 7*86400 + 60},
		"no end":                    {pages.Default(), time.Hour, 300, 375},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := New(Config{Page: tc.page, Now: func() time.Time { return evening.Add(-tc.left) }})
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for range 500 {
				var reply reply
				s.answer(&query{method: "GET", path: "/"}, &reply)
				value := reply.dynamic[0].values[0]
				if n, err := strconv.Atoi(value); err != nil || n < tc.least || n > tc.most {
					t.Fatalf("Retry-After: %s, want %d to %d", value, tc.least, tc.most)
				}
				seen[value] = true
			}
			if len(seen) < 3 {
				t.Errorf("all clients return at the same time: %v", seen)
			}
		})
	}
}

// TestUntilIsInEveryAnswer: in every format, the answer says when maintenance ends. If a
// custom page does not say it, the header does.
func TestUntilIsInEveryAnswer(t *testing.T) {
	const want = "2026-01-31T17:05:00Z"
	own := page.Page{Until: evening, Bodies: map[string]string{"page.html": "<p>own", "page.json": `{"message":"own","until":"soon"}`}}
	builtIn, custom := serve(t, Config{Page: pages.Until(evening)}), serve(t, Config{Page: own})
	for accept, said := range map[string]string{
		"text/html":                `<time id="until" dir="auto" datetime="` + want + `">31.01.2026, 17:05 UTC</time>`,
		"application/json":         `"until": "` + want + `"`,
		"application/problem+json": `"until":"` + want + `"`,
		"application/xml":          "<until>" + want + "</until>",
		"text/plain":               "Voraussichtlich wieder da: 31.01.2026, 17:05 UTC",
	} {
		a := builtIn.ask(t, "GET", "/", "Accept: "+accept, "Accept-Language: de", "Origin: https://app.example")
		if !strings.Contains(a.Body, said) {
			t.Errorf("%s lacks %s: %s", accept, said, a.Body)
		}
		if exposed := a.Header.Get("Access-Control-Expose-Headers"); !strings.Contains(exposed, page.UntilHeader) {
			t.Errorf("%s: scripts of other origins cannot read it: %s", accept, exposed)
		}
		for name, l := range map[string]served{"built-in": builtIn, "custom": custom} {
			if got := l.ask(t, "HEAD", "/", "Accept: "+accept).Header.Get(page.UntilHeader); got != want {
				t.Errorf("%s of the %s page: %s is %q", accept, name, page.UntilHeader, got)
			}
		}
	}
	if a := custom.ask(t, "GET", "/"); a.Body != "<p>own" {
		t.Errorf("a person's body is not served unchanged: %q", a.Body)
	}
	var problem struct{ Until string }
	if err := json.Unmarshal([]byte(custom.ask(t, "GET", "/", "Accept: application/problem+json").Body), &problem); err != nil || problem.Until != want {
		t.Errorf("%v: %+v", err, problem)
	}
	if a := serve(t, Config{Page: pages.Default()}).ask(t, "GET", "/"); a.Header.Get(page.UntilHeader) != "" || strings.Contains(a.Header.Get("Access-Control-Expose-Headers"), page.UntilHeader) {
		t.Errorf("a page without an end announces one: %v", a.Header)
	}
}
