package pageserver

import (
	"encoding/json"
	"strings"
	"testing"

	"maintenance-controller.io/pages"
)

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
		{"JSON of another protocol", "POST", "/api", "application/json", "", false},
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
