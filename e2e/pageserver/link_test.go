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

// TestLinksInChromium goes through a link as people do, with and without JavaScript.
func TestLinksInChromium(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "the app at "+r.RequestURI+", cookies: "+cmp.Or(r.Header.Get("Cookie"), "none"))
	}))
	defer app.Close()
	door := startDoor(t, app, exec.Command)
	var r struct {
		Looks []struct {
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
	browse(t, &r, "link.mjs", at, doorToken)
	for _, l := range r.Looks {
		if len(l.Violations) > 0 || l.Passes < 5 || len(l.Refused) > 0 || l.ScrollsSideways {
			t.Errorf("%+v", l)
		}
		if !strings.HasSuffix(l.Name, "-"+l.Lang) || l.URL != at+"/?maintenance-bypass" {
			t.Errorf("the token stays in the address, or the language is another: %+v", l)
		}
	}
	if len(r.Looks) != 4 {
		t.Errorf("%d looks", len(r.Looks))
	}
	s := r.Script
	if s.URL != at+"/some//path?a=b" || s.Text != "the app at /some//path?a=b, cookies: none" || s.Other != "the app at /other, cookies: none" {
		t.Errorf("with a link: %+v", s)
	}
	if len(s.Cookies) != 1 || !s.Cookies[0].HTTPOnly || s.Cookies[0].SameSite != "Lax" || s.Cookies[0].Path != "/" || s.ScriptSees != "" {
		t.Errorf("cookies: %+v, of which scripts see %q", s.Cookies, s.ScriptSees)
	}
	if strings.Contains(s.URL+r.Noscript.URL+strings.Join(s.Leaks, " "), doorToken) {
		t.Errorf("the token is in %v", s.Leaks)
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
