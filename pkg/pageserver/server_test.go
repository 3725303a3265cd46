package pageserver

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/google/go-cmp/cmp"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/httpserve"
	"maintenance-controller.io/pkg/page"
)

const testSet = "maintenance-0123456789abcdef"

// served is the page behind httpserve, as it runs.
type served struct {
	server  *Server
	address string
}

func serve(t *testing.T, c Config) served {
	t.Helper()
	c.PageSet = testSet
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return served{s, start(t, httpserve.Config{Handler: s})}
}

func start(t *testing.T, c httpserve.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- httpserve.New(c).Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

type answer struct {
	Status int
	Header http.Header
	Body   string
}

// send writes raw to a new connection and reads one answer.
func send(t *testing.T, address, raw string) answer {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(raw, " ")
	response, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("no answer to %q: %v", raw, err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.Header.Get("Date") == "" {
		t.Errorf("the answer to %q has no Date", raw)
	}
	response.Header.Del("Date")
	return answer{response.StatusCode, response.Header, string(body)}
}

func (s served) ask(t *testing.T, method, target string, fields ...string) answer {
	t.Helper()
	raw := method + " " + target + " HTTP/1.1\r\nHost: app.example\r\n"
	for _, f := range fields {
		raw += f + "\r\n"
	}
	return send(t, s.address, raw+"\r\n")
}

func TestEveryMethodAndPathGetsThePage(t *testing.T) {
	l := serve(t, Config{Page: pages.Default()})
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "FOO"} {
		for _, target := range []string{"/", "/a/b?c=d", "/index.php", "//x", "/%41?", "/.well-known/maintenance-page/ready/", "/.well-known/maintenance-page"} {
			a := l.ask(t, method, target)
			if a.Status != 503 || a.Header.Get("Content-Type") != "text/html; charset=utf-8" {
				t.Errorf("%s %s: %d %s", method, target, a.Status, a.Header.Get("Content-Type"))
			}
			if hasBody := a.Body != ""; hasBody == (method == "HEAD") {
				t.Errorf("%s %s: a body of %d bytes", method, target, len(a.Body))
			}
		}
	}
	for _, raw := range []string{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "GET http://other/x HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"} {
		if a := send(t, l.address, raw); a.Status != 503 {
			t.Errorf("%q: %d", raw, a.Status)
		}
	}
}

func TestHeadHasTheHeaderOfGet(t *testing.T) {
	l := serve(t, Config{Page: pages.Default()})
	for _, accept := range []string{"text/html", "application/json", "text/plain", "application/xml"} {
		get, head := l.ask(t, "GET", "/", "Accept: "+accept), l.ask(t, "HEAD", "/", "Accept: "+accept)
		get.Header.Del("Retry-After") // random
		head.Header.Del("Retry-After")
		if diff := cmp.Diff(get.Header, head.Header); diff != "" {
			t.Errorf("%s (-get +head):\n%s", accept, diff)
		}
	}
}

func TestPageHeader(t *testing.T) {
	l := serve(t, Config{Page: pages.Default()})
	got := l.ask(t, "GET", "/", "Accept-Language: de", "Accept: text/html").Header
	for name, want := range map[string]string{
		"Content-Type":                "text/html; charset=utf-8",
		"Content-Language":            "de",
		"Content-Security-Policy":     pages.Default().ContentSecurityPolicy,
		"Cache-Control":               "no-store",
		"Vary":                        "Accept, Accept-Language, Accept-Encoding, Origin",
		"X-Content-Type-Options":      "nosniff",
		page.MarkerHeader:             testSet,
		"Access-Control-Allow-Origin": "*",
		"Connection":                  "",
		"Content-Encoding":            "",
	} {
		if got.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Get(name), want)
		}
	}
	if got := l.ask(t, "GET", "/", "Accept: application/json").Header.Get("Content-Security-Policy"); got != "" {
		t.Errorf("the JSON has the policy of the HTML: %q", got)
	}
}

// TestEveryAnswerHasTheCommonHeader: no cache may keep an answer, and each names its page set.
func TestEveryAnswerHasTheCommonHeader(t *testing.T) {
	l := serve(t, Config{Page: pages.Until(evening)})
	answers := map[string]answer{
		"ready":     l.ask(t, "GET", page.ReadyPath),
		"preflight": l.ask(t, "OPTIONS", "/", "Origin: https://a", "Access-Control-Request-Method: PUT"),
		"gRPC":      l.ask(t, "POST", "/", "Content-Type: application/grpc", "Content-Length: 0"),
		"gRPC-Web":  l.ask(t, "POST", "/", "Content-Type: application/grpc-web", "Content-Length: 0"),
		"Connect":   l.ask(t, "POST", "/", "Content-Type: application/proto", "Content-Length: 0"),
	}
	for f := range formats {
		media, _, _ := strings.Cut(f.contentType(), ";")
		answers[f.String()] = l.ask(t, "GET", "/", "Accept: "+media, "Accept-Encoding: gzip")
	}
	l.server.Drain()
	answers["draining"] = l.ask(t, "GET", page.ReadyPath)
	for name, a := range answers {
		for _, f := range (headers{set: testSet, until: "2026-01-31T17:05:00Z"}).common() {
			if got := a.Header.Get(f.name); got != f.value {
				t.Errorf("%s: %s is %q, want %q", name, f.name, got, f.value)
			}
		}
	}
}

func TestPageStatus(t *testing.T) {
	for _, status := range []int{400, 404, 429, 500, 503, 599} {
		p := pages.Default()
		p.Status = status
		l := serve(t, Config{Page: p})
		if a := l.ask(t, "GET", "/"); a.Status != status {
			t.Errorf("%d, want %d", a.Status, status)
		}
		a := l.ask(t, "GET", "/", "Accept: application/problem+json")
		if !strings.Contains(a.Body, `"status":`+strconv.Itoa(status)) {
			t.Errorf("problem of %d: %s", status, a.Body)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, p := range map[string]page.Page{
		"a 200":   {Status: 200, Bodies: map[string]string{"page.html": "x"}},
		"a 302":   {Status: 302, Bodies: map[string]string{"page.html": "x"}},
		"no body": {},
	} {
		if _, err := New(Config{Page: p, PageSet: testSet}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestRetryAfterIsJittered(t *testing.T) {
	p := pages.Default()
	p.RetryAfter = 400e9
	s, err := New(Config{Page: p})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range 2000 {
		var reply reply
		s.answer(&query{method: "GET", path: "/"}, &reply)
		value := reply.dynamic[0].values[0]
		if n, err := strconv.Atoi(value); err != nil || n < 400 || n > 500 {
			t.Fatalf("Retry-After: %s, want 400 to 500", value)
		}
		seen[value] = true
	}
	if len(seen) < 30 {
		t.Errorf("only %d different values", len(seen))
	}
}

func TestEncodings(t *testing.T) {
	l := serve(t, Config{Page: pages.Default()})
	plain := l.ask(t, "GET", "/").Body
	decode := map[string]func(io.Reader) (io.Reader, error){
		"gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		"br":   func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
	}
	for coding, reader := range decode {
		a := l.ask(t, "GET", "/", "Accept-Encoding: "+coding)
		if a.Header.Get("Content-Encoding") != coding || len(a.Body) > len(plain)*6/10 {
			t.Errorf("%s: Content-Encoding %q, %d of %d bytes", coding, a.Header.Get("Content-Encoding"), len(a.Body), len(plain))
		}
		r, err := reader(strings.NewReader(a.Body))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != plain {
			t.Errorf("%s does not decompress to the page: %v", coding, err)
		}
	}
	if a := l.ask(t, "GET", "/", "Accept-Encoding: gzip, br", "Accept: text/plain"); a.Header.Get("Content-Encoding") != "" {
		t.Errorf("a text of %d bytes is compressed", len(a.Body))
	}
}

func TestReadiness(t *testing.T) {
	l := serve(t, Config{Page: pages.Default()})
	for _, method := range []string{"GET", "HEAD"} {
		if a := l.ask(t, method, page.ReadyPath+"?probe"); a.Status != 200 {
			t.Errorf("%s: %d, want 200", method, a.Status)
		}
	}
	if a := l.ask(t, "POST", page.ReadyPath); a.Status != 503 {
		t.Errorf("POST: %d, want the page", a.Status)
	}
	l.server.Drain()
	if a := l.ask(t, "GET", page.ReadyPath); a.Status != 503 || a.Body != "draining\n" {
		t.Errorf("draining: %d %q", a.Status, a.Body)
	}
	if a := l.ask(t, "GET", "/"); a.Status != 503 || a.Body == "draining\n" {
		t.Errorf("the page while draining: %d %q", a.Status, a.Body)
	}
}

func TestLargePage(t *testing.T) {
	body := strings.Repeat("<p>maintenance</p>", 50000)
	l := serve(t, Config{Page: page.Page{Bodies: map[string]string{"page.html": body}}})
	if a := l.ask(t, "GET", "/"); a.Body != body {
		t.Errorf("%d bytes, want %d", len(a.Body), len(body))
	}
	if a := l.ask(t, "GET", "/", "Accept-Encoding: gzip"); len(a.Body) > len(body)/50 {
		t.Errorf("%d bytes after gzip", len(a.Body))
	}
}

func TestRequestIsNotReflectedUnescaped(t *testing.T) {
	l := serve(t, Config{Page: pages.Default()})
	const evil = `<script>alert(1)</script>`
	for _, accept := range []string{"text/html", "application/json", "application/problem+json", "application/xml", "text/plain"} {
		a := l.ask(t, "GET", "/"+evil+`"?`+evil, "Accept: "+accept, "User-Agent: "+evil, "Cookie: "+evil,
			"Origin: http://"+evil, "X-Forwarded-Host: "+evil, "Referer: "+evil)
		header := ""
		for name, values := range a.Header {
			header += name + strings.Join(values, "")
		}
		if strings.Contains(a.Body+header, evil) {
			t.Errorf("%s: the answer contains %s", accept, evil)
		}
		if accept == "application/problem+json" && !json.Valid([]byte(a.Body)) {
			t.Errorf("not JSON: %s", a.Body)
		}
	}
}

func TestLog(t *testing.T) {
	logged := make(chan Access, 10)
	l := serve(t, Config{Page: pages.Default(), Log: func(a Access) { logged <- a }})
	l.ask(t, "GET", page.ReadyPath)
	l.ask(t, "GET", "/path?secret=1", "Accept: text/plain", "User-Agent: me", "Accept-Language: fr")
	got := <-logged
	if _, _, err := net.SplitHostPort(got.Remote); err != nil {
		t.Errorf("remote %q: %v", got.Remote, err)
	}
	got.Remote, got.Bytes = "", 0
	want := Access{Protocol: "HTTP/1.1", Method: "GET", Host: "app.example", Path: "/path", UserAgent: "me", Format: "text", Language: "fr", Status: 503}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMetrics(t *testing.T) {
	l := serve(t, Config{Page: pages.Default()})
	l.ask(t, "GET", "/")
	l.ask(t, "BREW", "/", "Accept: application/json")
	l.ask(t, "GET", page.ReadyPath)
	l.server.Drain()
	l.ask(t, "GET", page.ReadyPath)
	var out strings.Builder
	if _, err := l.server.Metrics().WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`maintenance_page_requests_total{method="GET",format="html",status="503"} 1`,
		`maintenance_page_requests_total{method="other",format="json",status="503"} 1`,
		`maintenance_page_requests_total{method="GET",format="ready",status="200"} 1`,
		`maintenance_page_requests_total{method="GET",format="ready",status="503"} 1`,
	} {
		if !strings.Contains(out.String(), line+"\n") {
			t.Errorf("no %s in\n%s", line, out.String())
		}
	}
	if n := l.server.Metrics().Requests("html"); n != 1 {
		t.Errorf("%d requests of html, want 1", n)
	}
}
