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
		{name: "title without a type is dropped", json: `{"title": "Oops", "message": "soon", "maintenance": true}`,
			want: map[string]any{"type": "about:blank", "title": "Service Unavailable", "detail": "soon", "maintenance": true}},
		{name: "a problem of its own", json: `{"type": "https://a.example/p", "title": "Oops", "detail": "d", "message": "m", "status": 200, "retryAfter": 1, "instance": "x"}`,
			want: map[string]any{"type": "https://a.example/p", "title": "Oops", "detail": "d", "message": "m"}},
		{name: "wrong kinds of members", json: `{"type": 1, "title": {}, "detail": [], "message": null}`,
			want: map[string]any{"type": "about:blank", "title": "Service Unavailable", "message": nil}},
		{name: "no object", json: `["maintenance"]`, want: map[string]any{"type": "about:blank", "title": "Service Unavailable"}},
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

func TestProblemSpeaksTheLanguage(t *testing.T) {
	a := serve(t, Config{Page: pages.Default()}).ask(t, "GET", "/", "Accept: application/problem+json", "Accept-Language: de")
	if a.Header.Get("Content-Language") != "de" || !strings.Contains(a.Body, "Wartungsarbeiten") {
		t.Errorf("%v %s", a.Header, a.Body)
	}
}

func TestCustomPageVariants(t *testing.T) {
	l := serve(t, Config{Page: page.Page{Bodies: map[string]string{
		"page.html":       `<!doctype html><html class="x" lang="fr"><p>bonjour`,
		"page.de.html":    "<p>hallo",
		"page.pt-BR.html": "<p>oi",
		"page.txt":        "bonjour",
	}}})
	for _, test := range []struct{ accept, language, wantBody, wantLanguage string }{
		{"text/html", "", "bonjour", "fr"},
		{"text/html", "eo", "bonjour", "fr"},
		{"text/html", "de-CH", "hallo", "de"},
		{"text/html", "fr, de;q=0.9", "bonjour", "fr"},
		{"text/html", "pt", "oi", "pt-BR"},
		{"text/plain", "de", "bonjour", "fr"},
		{"application/xml", "de", "hallo", "de"}, // there is none: the HTML
	} {
		a := l.ask(t, "GET", "/", "Accept: "+test.accept, "Accept-Language: "+test.language)
		if !strings.HasSuffix(a.Body, test.wantBody) || a.Header.Get("Content-Language") != test.wantLanguage {
			t.Errorf("%s in %q: %q in %q, want %q in %q", test.accept, test.language, a.Body, a.Header.Get("Content-Language"), test.wantBody, test.wantLanguage)
		}
	}
}

func TestCustomHTMLIsServedAsGiven(t *testing.T) {
	const body = "<h1>{{ .Title }} ${x} <?php ?> <%= 1 %></h1>\r\n\t<script>alert(1)</script>"
	l := serve(t, Config{Page: page.Page{Bodies: map[string]string{"page.html": body}}.WithDefaults(pages.Default())})
	a := l.ask(t, "GET", "/", "Accept-Language: de")
	if a.Body != body {
		t.Errorf("got %q", a.Body)
	}
	if csp := a.Header.Get("Content-Security-Policy"); csp != "" {
		t.Errorf("the built-in page's policy is on somebody else's HTML: %s", csp)
	}
}

func TestPreflight(t *testing.T) {
	l := serve(t, Config{Page: pages.Default()})
	for _, test := range []struct {
		name   string
		fields []string
		want   map[string]string // of an OPTIONS
		status int
	}{
		{"simple", []string{"Origin: https://app.example", "Access-Control-Request-Method: PUT"}, map[string]string{
			"Access-Control-Allow-Origin": "https://app.example", "Access-Control-Allow-Credentials": "true",
			"Access-Control-Allow-Methods": "PUT", "Access-Control-Allow-Headers": "", "Access-Control-Max-Age": "0", "Content-Length": "", "Retry-After": ""}, 204},
		{"with fields", []string{"Origin: https://[::1]:8443", "Access-Control-Request-Method: DELETE", "Access-Control-Request-Headers: authorization, x-csrf"}, map[string]string{
			"Access-Control-Allow-Origin": "https://[::1]:8443", "Access-Control-Allow-Headers": "authorization, x-csrf"}, 204},
		{"sandboxed", []string{"Origin: null", "Access-Control-Request-Method: GET"}, map[string]string{
			"Access-Control-Allow-Origin": "null", "Access-Control-Allow-Credentials": "true"}, 204},
		{"private network", []string{"Origin: https://a", "Access-Control-Request-Method: GET", "Access-Control-Request-Private-Network: true"}, map[string]string{
			"Access-Control-Allow-Private-Network": "true"}, 204},
		{"strange origin", []string{"Origin: <script>", "Access-Control-Request-Method: GET"}, map[string]string{
			"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": ""}, 204},
		{"strange method and fields", []string{"Origin: https://a", "Access-Control-Request-Method: <b>", "Access-Control-Request-Headers: <b>"}, map[string]string{
			"Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS", "Access-Control-Allow-Headers": ""}, 204},
		{"no preflight: no origin", []string{"Access-Control-Request-Method: GET"}, nil, 503},
		{"no preflight: no method", []string{"Origin: https://a"}, map[string]string{"Access-Control-Allow-Origin": "https://a"}, 503},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := l.ask(t, "OPTIONS", "/api", test.fields...)
			if a.Status != test.status {
				t.Errorf("%d, want %d", a.Status, test.status)
			}
			for name, want := range test.want {
				if got := a.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestCORSOnThePage(t *testing.T) {
	l := serve(t, Config{Page: pages.Default()})
	a := l.ask(t, "POST", "/api", "Origin: https://app.example", "Content-Length: 0")
	if a.Header.Get("Access-Control-Allow-Origin") != "https://app.example" || a.Header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("%v", a.Header)
	}
	exposed := a.Header.Get("Access-Control-Expose-Headers")
	for _, name := range []string{"Retry-After", page.MarkerHeader} {
		if !strings.Contains(exposed, name) {
			t.Errorf("%s is not exposed: %s", name, exposed)
		}
	}
}

func TestGRPC(t *testing.T) {
	l := serve(t, Config{Page: pages.Default()})
	for contentType, want := range map[string]string{
		"application/grpc":          "application/grpc",
		"application/grpc+proto":    "application/grpc",
		"Application/gRPC; x=y":     "application/grpc",
		"application/grpc-web":      "application/grpc-web+proto",
		"application/grpc-web-text": "application/grpc-web+proto",
		"application/grpcio":        "text/html; charset=utf-8",
		"application/json":          "text/html; charset=utf-8",
	} {
		a := l.ask(t, "POST", "/pkg.Service/Method", "Content-Type: "+contentType, "TE: trailers", "Content-Length: 0")
		if got := a.Header.Get("Content-Type"); got != want {
			t.Errorf("%s: answered in %s, want %s", contentType, got, want)
		}
		if isGRPC := strings.HasPrefix(want, "application/grpc"); isGRPC && (a.Status != 200 || a.Header.Get("Grpc-Status") != "14" || a.Body != "") {
			t.Errorf("%s: %d, grpc-status %q, body %q", contentType, a.Status, a.Header.Get("Grpc-Status"), a.Body)
		}
	}
}

func TestConnect(t *testing.T) {
	l := serve(t, Config{Page: pages.Default()})
	for _, test := range []struct {
		name, method, target, contentType, version string
		connect                                    bool
	}{
		{"unary, proto", "POST", "/pkg.Service/Method", "application/proto", "1", true},
		{"unary, proto without a version", "POST", "/pkg.Service/Method", "application/proto", "", true},
		{"unary, JSON", "POST", "/pkg.Service/Method", "application/json; charset=utf-8", "1", true},
		{"unary, GET", "GET", "/pkg.Service/Method?connect=v1&encoding=json&message=%7B%7D", "", "", true},
		{"a stream", "POST", "/pkg.Service/Method", "application/connect+proto", "1", true},
		{"JSON of somebody else", "POST", "/api", "application/json", "", false},
		{"a GET with a version", "GET", "/", "", "1", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			fields := []string{"Content-Length: 0", "Origin: https://app.example"}
			if test.contentType != "" {
				fields = append(fields, "Content-Type: "+test.contentType)
			}
			if test.version != "" {
				fields = append(fields, "Connect-Protocol-Version: "+test.version)
			}
			a := l.ask(t, test.method, test.target, fields...)
			var failed struct{ Code, Message string }
			if json.Unmarshal([]byte(a.Body), &failed) == nil != test.connect {
				t.Fatalf("answered with %s", a.Body)
			}
			if test.connect && (failed.Code != "unavailable" || failed.Message == "" || a.Status != 503 || a.Header.Get("Content-Type") != "application/json" ||
				a.Header.Get("Retry-After") == "" || a.Header.Get("Access-Control-Allow-Origin") != "https://app.example") {
				t.Errorf("%d %v %s", a.Status, a.Header, a.Body)
			}
		})
	}
}

func TestIsOrigin(t *testing.T) {
	for origin, want := range map[string]bool{
		"null": true, "https://a.example": true, "http://localhost:3000": true, "https://[::1]:8443": true, "chrome-extension://abcdef": true,
		"": false, "*": false, "https://": false, "://a": false, "a.example": false, "https://a/b": false, "https://a b": false, `https://"`: false,
		"https://a\r\nX: y": false, "https://" + strings.Repeat("a", 600): false,
	} {
		if got := isOrigin(origin); got != want {
			t.Errorf("isOrigin(%q) = %t", origin, got)
		}
	}
}
