package pageserver

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

type fetched struct {
	Status, Body                 int
	RetryAfter, Set, Type, Error string
}

type report struct {
	Looks []struct {
		Name, Lang, Dir, Title, Background string
		Status, Requests, Passes           int
		Refused, Violations                []string
		ScrollsSideways                    bool
		MessageBelowTheFold                bool
		Margin                             float64 // beside the headline, in pixels
		Host, Looked, WordBreak            string
	}
	CORS   struct{ Simple, Preflighted, Credentials fetched }
	Reload struct {
		Before, After, URL string
		WhileDown          struct {
			Title  string
			Checks int
			Again  int // by the button
		}
	}
	Noscript string
	Ends     []struct {
		Name, Text              string
		Refused, Violations     []string
		Hidden, ScrollsSideways bool
	}
}

// ends is when the maintenance of the second page is over.
const ends = "2026-11-29T18:30:00Z"

// endingPage serves the built-in page of a maintenance that ends by itself.
func endingPage(t *testing.T) *server {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "page")
	set, err := inRoot("go", "run", "./pages/export", dir, ends)
	if err != nil {
		t.Fatal(err)
	}
	return startPage(t, dir, strings.TrimSpace(set), exec.Command)
}

// appBehind answers with the maintenance page until /switch is asked for, then
// as an app.
func appBehind(t *testing.T, page string) string {
	t.Helper()
	var up atomic.Bool
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: page})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/switch":
			up.Store(true)
		case r.URL.Path == "/app" || up.Load():
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<!doctype html><title>the app</title>")
		default:
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(app.Close)
	return strings.Replace(app.URL, "127.0.0.1", "localhost", 1)
}

func look(t *testing.T) report {
	t.Helper()
	s := start(t)
	var r report
	browse(t, &r, "check.mjs", "http://"+s.address, appBehind(t, s.address), "http://"+endingPage(t).address)
	return r
}

// browse runs a script of the folder browser, with Chromium, the arguments and a folder
// for screenshots, and reads what it prints.
func browse(t *testing.T, report any, script string, args ...string) {
	t.Helper()
	chromium := need(t, "chromium", "chromium-browser", "google-chrome")
	need(t, "node")
	if _, err := os.Stat("browser/node_modules"); err != nil {
		install := exec.Command(need(t, "npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund")
		install.Dir = "browser"
		if out, err := install.CombinedOutput(); err != nil {
			t.Fatalf("npm ci: %v\n%s", err, out)
		}
	}
	screenshots := os.Getenv("MAINTENANCE_SCREENSHOTS") // a folder, to look at them
	if screenshots == "" {
		screenshots = t.TempDir()
	}
	screenshots, err := filepath.Abs(screenshots)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("node", append(append([]string{script, chromium}, args...), screenshots)...)
	c.Dir, c.Stderr = "browser", os.Stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	if err := json.Unmarshal(out, report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestChromium(t *testing.T) {
	r := look(t)
	t.Run("the page is accessible and keeps to its policy", func(t *testing.T) {
		for _, l := range r.Looks {
			if len(l.Violations) > 0 || l.Passes < 5 {
				t.Errorf("%s: axe-core passes %d rules and finds %v", l.Name, l.Passes, l.Violations)
			}
			if len(l.Refused) > 0 || l.Status != 503 || l.ScrollsSideways || l.Requests != 1 {
				t.Errorf("%s: %+v", l.Name, l)
			}
			// A phone held sideways shows the message without scrolling, and the
			// headline keeps clear of the edges.
			if small := strings.HasPrefix(l.Name, "small"); !small && (l.MessageBelowTheFold || l.Margin < 24) {
				t.Errorf("%s: below the fold: %t; %v px beside the headline", l.Name, l.MessageBelowTheFold, l.Margin)
			}
			if l.Host != "127.0.0.1" || !strings.ContainsAny(l.Looked, "0123456789٠١٢٣٤٥٦٧٨٩") {
				t.Errorf("%s: whose page: %q, looked last: %q", l.Name, l.Host, l.Looked)
			}
			if phrases := l.WordBreak == "auto-phrase"; phrases != (l.Lang == "ja") {
				t.Errorf("%s: word-break: %s", l.Name, l.WordBreak)
			}
			if _, language, _ := strings.Cut(l.Name, "-"); !strings.HasSuffix(language, "-"+l.Lang) {
				t.Errorf("%s is in %q", l.Name, l.Lang)
			}
			if rtl := l.Dir == "rtl"; rtl != (l.Lang == "ar") {
				t.Errorf("%s runs %s", l.Name, l.Dir)
			}
		}
	})
	t.Run("fetch from another origin sees the 503", func(t *testing.T) {
		for name, f := range map[string]fetched{"simple": r.CORS.Simple, "preflighted": r.CORS.Preflighted, "with credentials": r.CORS.Credentials} {
			if f.Status != 503 || f.RetryAfter == "" || f.Set != built.pageSet || f.Body == 0 {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if r.CORS.Preflighted.Type != "application/json" {
			t.Errorf("asked for JSON, got %s", r.CORS.Preflighted.Type)
		}
	})
	t.Run("the page comes back by itself", func(t *testing.T) {
		if d := r.Reload.WhileDown; d.Title != r.Reload.Before || d.Checks < 2 || d.Checks > 8 || d.Again != 1 {
			t.Errorf("in a minute of maintenance: %+v", d)
		}
		if r.Reload.After != "the app" || !strings.HasSuffix(r.Reload.URL, "/somewhere?a=b") {
			t.Errorf("after it: %+v", r.Reload)
		}
	})
	t.Run("the page says when maintenance ends, in the visitor's language and time zone", func(t *testing.T) {
		want := map[string]string{
			"phone-en-New_York": "November 29, 2026 at 1:30 PM", "desktop-de-Berlin": "29. November 2026 um 19:30", "phone-ar-Dubai": "29 نوفمبر 2026 في 10:30 م",
			"today-de-Berlin": "19:30", "past-de-Berlin": "19:30", "noscript-de-Berlin": "29.11.2026, 18:30 UTC",
		}
		if len(r.Ends) != len(want) {
			t.Errorf("%d looks, want %d", len(r.Ends), len(want))
		}
		for _, l := range r.Ends {
			// Which blank is between the hour and AM is a matter of the ICU that it was built with.
			if got := strings.Join(strings.Fields(l.Text), " "); got != want[l.Name] {
				t.Errorf("%s says %q, want %q", l.Name, got, want[l.Name])
			}
			if len(l.Refused) > 0 || len(l.Violations) > 0 || l.ScrollsSideways || l.Hidden != strings.HasPrefix(l.Name, "past") {
				t.Errorf("%s: %+v", l.Name, l)
			}
		}
	})
	t.Run("without JavaScript there is a meta refresh", func(t *testing.T) {
		if r.Noscript != "60" {
			t.Errorf("content %q", r.Noscript)
		}
	})
}
