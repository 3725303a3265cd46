package pageserver

import (
	"strings"
	"testing"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/page"
)

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
		{"not a preflight: no origin", []string{"Access-Control-Request-Method: GET"}, nil, 503},
		{"not a preflight: no method", []string{"Origin: https://a"}, map[string]string{"Access-Control-Allow-Origin": "https://a"}, 503},
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
