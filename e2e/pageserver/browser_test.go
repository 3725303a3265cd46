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

// fetched is what a script of another origin sees of an answer.
type fetched struct {
	Status, Body                 int
	RetryAfter, Set, Type, Error string
}

// report is the output of page.mjs.
type report struct {
	Views []struct {
		Name, Lang, Dir, Title, Background string
		Status, Requests, Passes           int
		Refused, Violations                []string
		ScrollsSideways                    bool
		MessageBelowTheFold                bool
		Margin                             float64 // to the left or right of the headline, the smaller one, in pixels
		Host, Looked, WordBreak            string
	}
	CORS   struct{ Simple, Preflighted, Credentials fetched }
	Reload struct {
		Before, After, URL string
		WhileDown          struct {
			Title  string
			Checks int
			Again  int // checks made by the button
		}
	}
	Noscript string
	Ends     []struct {
		Name, Text              string
		Refused, Violations     []string
		Hidden, ScrollsSideways bool
	}
}

// ends is the end of maintenance that endingPage shows.
const ends = "2026-11-29T18:30:00Z"

// endingPage serves the built-in page for a maintenance with a known end.
func endingPage(t *testing.T) *server {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "page")
	set, err := inRoot("go", "run", "./pages/export", dir, ends)
	if err != nil {
		t.Fatal(err)
	}
	return startPage(t, dir, strings.TrimSpace(set), exec.Command)
}

// appBehind proxies to the maintenance page until it gets a request for /switch, and then
// answers as an app.
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

// inspect runs page.mjs on the built-in page.
func inspect(t *testing.T) report {
	t.Helper()
	s := start(t)
	var r report
	runScript(t, &r, "page.mjs", "http://"+s.address, appBehind(t, s.address), "http://"+endingPage(t).address)
	return r
}

// runScript runs a script in the folder browser, with the path of Chromium, args and a folder
// for screenshots, and decodes its JSON output into report.
func runScript(t *testing.T, report any, script string, args ...string) {
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
	screenshots := os.Getenv("MAINTENANCE_SCREENSHOTS") // set it to a folder to keep them
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

func TestPageInChromium(t *testing.T) {
	r := inspect(t)
	t.Run("the page is accessible and complies with its policy", func(t *testing.T) {
		for _, l := range r.Views {
			if len(l.Violations) > 0 || l.Passes < 5 {
				t.Errorf("%s: %d rules of axe-core pass; violations: %v", l.Name, l.Passes, l.Violations)
			}
			if len(l.Refused) > 0 || l.Status != 503 || l.ScrollsSideways || l.Requests != 1 {
				t.Errorf("%s: %+v", l.Name, l)
			}
			// A phone in landscape shows the message without scrolling, and the headline
			// keeps a distance from the edges.
			if small := strings.HasPrefix(l.Name, "small"); !small && (l.MessageBelowTheFold || l.Margin < 24) {
				t.Errorf("%s: message below the fold: %t; margin of the headline: %v px", l.Name, l.MessageBelowTheFold, l.Margin)
			}
			if l.Host != "127.0.0.1" || !strings.ContainsAny(l.Looked, "0123456789٠١٢٣٤٥٦٧٨٩") {
				t.Errorf("%s: shows host %q and last check %q", l.Name, l.Host, l.Looked)
			}
			if phrases := l.WordBreak == "auto-phrase"; phrases != (l.Lang == "ja") {
				t.Errorf("%s: word-break: %s", l.Name, l.WordBreak)
			}
			if _, language, _ := strings.Cut(l.Name, "-"); !strings.HasSuffix(language, "-"+l.Lang) {
				t.Errorf("%s: the language is %q", l.Name, l.Lang)
			}
			if rtl := l.Dir == "rtl"; rtl != (l.Lang == "ar") {
				t.Errorf("%s: the text direction is %s", l.Name, l.Dir)
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
			t.Errorf("requested JSON, got %s", r.CORS.Preflighted.Type)
		}
	})
	t.Run("the page reloads automatically when the app is back", func(t *testing.T) {
		if d := r.Reload.WhileDown; d.Title != r.Reload.Before || d.Checks < 2 || d.Checks > 8 || d.Again != 1 {
			t.Errorf("during a minute of maintenance: %+v", d)
		}
		if r.Reload.After != "the app" || !strings.HasSuffix(r.Reload.URL, "/somewhere?a=b") {
			t.Errorf("after maintenance: %+v", r.Reload)
		}
	})
	t.Run("the page says when maintenance ends, in the visitor's language and time zone", func(t *testing.T) {
		want := map[string]string{
			"phone-en-New_York": "November 29, 2026 at 1:30 PM", "desktop-de-Berlin": "29. November 2026 um 19:30", "phone-ar-Dubai": "29 نوفمبر 2026 في 10:30 م",
			"today-de-Berlin": "19:30", "past-de-Berlin": "19:30", "noscript-de-Berlin": "29.11.2026, 18:30 UTC",
		}
		if len(r.Ends) != len(want) {
			t.Errorf("%d views, want %d", len(r.Ends), len(want))
		}
		for _, l := range r.Ends {
			// The kind of space between hour and AM depends on Chromium's version of ICU.
			if got := strings.Join(strings.Fields(l.Text), " "); got != want[l.Name] {
				t.Errorf("%s: shows %q, want %q", l.Name, got, want[l.Name])
			}
			if len(l.Refused) > 0 || len(l.Violations) > 0 || l.ScrollsSideways || l.Hidden != strings.HasPrefix(l.Name, "past") {
				t.Errorf("%s: %+v", l.Name, l)
			}
		}
	})
	t.Run("without JavaScript the page refreshes by a meta element", func(t *testing.T) {
		if r.Noscript != "60" {
			t.Errorf("the interval is %q, want 60", r.Noscript)
		}
	})
}
