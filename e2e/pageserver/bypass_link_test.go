package pageserver

import (
	"cmp"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
)

// TestBypassLinkInChromium opens a bypass link as people do, with and without JavaScript.
func TestBypassLinkInChromium(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "the app at "+r.RequestURI+", cookies: "+cmp.Or(r.Header.Get("Cookie"), "none"))
	}))
	defer app.Close()
	door := startBypass(t, app, exec.Command)
	var r struct {
		Views []struct {
			Name, Lang, URL     string
			Refused, Violations []string
			Passes              int
			ScrollsSideways     bool
		}
		Script struct {
			URL, Text, Other, ScriptSees string
			Cookies                      []struct {
				Name, SameSite, Path string
				HTTPOnly, Secure     bool
			}
			Left struct {
				URL, Text string
				Cookies   int
			}
			Leaks []string
		}
		Again    string
		Noscript struct {
			Wrong struct {
				URL   string
				Alert bool
			}
			URL, Text string
		}
		Foreign struct {
			Status  bool
			Cookies int
		}
	}
	at := "http://" + door.door
	runScript(t, &r, "bypass-link.mjs", at, bypassToken)
	for _, l := range r.Views {
		if len(l.Violations) > 0 || l.Passes < 5 || len(l.Refused) > 0 || l.ScrollsSideways {
			t.Errorf("%+v", l)
		}
		if !strings.HasSuffix(l.Name, "-"+l.Lang) || l.URL != at+"/?maintenance-bypass" {
			t.Errorf("the token stays in the address, or the language is wrong: %+v", l)
		}
	}
	if len(r.Views) != 4 {
		t.Errorf("%d views, want 4", len(r.Views))
	}
	s := r.Script
	if s.URL != at+"/some//path?a=b" || s.Text != "the app at /some//path?a=b, cookies: none" || s.Other != "the app at /other, cookies: none" {
		t.Errorf("with a link: %+v", s)
	}
	if len(s.Cookies) != 1 || !s.Cookies[0].HTTPOnly || s.Cookies[0].SameSite != "Lax" || s.Cookies[0].Path != "/" || s.ScriptSees != "" {
		t.Errorf("cookies: %+v; scripts can read %q", s.Cookies, s.ScriptSees)
	}
	if strings.Contains(s.URL+r.Noscript.URL+strings.Join(s.Leaks, " "), bypassToken) {
		t.Errorf("the token leaks: %v", s.Leaks)
	}
	if strings.Contains(s.Left.Text, "the app") || s.Left.Cookies != 0 || s.Left.URL != at+"/other?#" {
		t.Errorf("after leaving: %+v", s.Left)
	}
	if r.Again != "the app at /x?, cookies: none" {
		t.Errorf("another link in the same tab: %q", r.Again)
	}
	if n := r.Noscript; !n.Wrong.Alert || n.URL != at+"/x?a=b#" || n.Text != "the app at /x?a=b, cookies: none" {
		t.Errorf("without JavaScript: %+v", n)
	}
	if !r.Foreign.Status || r.Foreign.Cookies != 0 {
		t.Errorf("from another origin: %+v", r.Foreign)
	}
}
