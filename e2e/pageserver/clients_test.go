package pageserver

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// curl runs curl and returns the HTTP version, status and content type of the answer.
func curl(t *testing.T, args ...string) string {
	t.Helper()
	args = append([]string{"--silent", "--show-error", "--insecure", "--max-time", "30", "--output", os.DevNull,
		"--write-out", "%{http_version} %{http_code} %{content_type}"}, args...)
	out, err := exec.Command(need(t, "curl"), args...).CombinedOutput()
	if err != nil {
		t.Errorf("curl %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

func TestPageWithCurl(t *testing.T) {
	s := start(t)
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, make([]byte, 32<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	plain, secure := "http://"+s.address+"/a?b", "https://"+s.address+"/a?b"
	const html = " 503 text/html; charset=utf-8"
	for _, test := range []struct {
		name string
		args []string
		want string
	}{
		{"HTTP/1.1", []string{plain}, "1.1" + html},
		{"HTTP/1.0", []string{"--http1.0", plain}, "1" + html},
		{"h2c with prior knowledge", []string{"--http2-prior-knowledge", plain}, "2" + html},
		{"h2c by upgrade stays HTTP/1.1", []string{"--http2", plain}, "1.1" + html},
		{"TLS, HTTP/2", []string{secure}, "2" + html},
		{"TLS, HTTP/1.1", []string{"--http1.1", secure}, "1.1" + html},
		{"TLS 1.2", []string{"--tls-max", "1.2", secure}, "2" + html},
		{"JSON over h2c", []string{"--http2-prior-knowledge", "-H", "Accept: application/json", plain}, "2 503 application/json"},
		{"HEAD", []string{"--head", plain}, "1.1" + html},
		{"compressed", []string{"--compressed", plain}, "1.1" + html},
		{"form", []string{"--data", "a=b", plain}, "1.1" + html},
		{"large upload with Expect: 100-continue", []string{"--upload-file", large, plain}, "1.1" + html},
		{"large upload without Expect", []string{"-H", "Expect:", "--upload-file", large, plain}, "1.1" + html},
		{"large upload in chunks", []string{"-H", "Expect:", "-H", "Transfer-Encoding: chunked", "--upload-file", large, plain}, "1.1" + html},
		{"large upload over h2c", []string{"--http2-prior-knowledge", "--upload-file", large, plain}, "2" + html},
		{"large upload over TLS", []string{"--upload-file", large, secure}, "2" + html},
		{"large upload over TLS, HTTP/1.1", []string{"--http1.1", "-H", "Expect:", "--upload-file", large, secure}, "1.1" + html},
		{"two on one connection", []string{plain, "--next", "--silent", "--write-out", " %{num_connects}", plain, "--output", os.DevNull}, "1.1" + html + " 0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := curl(t, test.args...); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}

// TestClientThatWritesFirstGetsThePage is a client that writes its whole request before it
// reads, as Python's http.client does.
func TestClientThatWritesFirstGetsThePage(t *testing.T) {
	s := start(t)
	for name, wrap := range map[string]func(net.Conn) net.Conn{
		"plain": func(c net.Conn) net.Conn { return c },
		"TLS":   func(c net.Conn) net.Conn { return tls.Client(c, &tls.Config{InsecureSkipVerify: true}) }, // the certificate is self-signed
	} {
		t.Run(name, func(t *testing.T) {
			c := wrap(s.dial(t))
			const size = 50_000_000
			head := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", size)
			if _, err := io.WriteString(c, head+strings.Repeat("x", size)); err != nil {
				t.Fatal(err)
			}
			response, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil || response.StatusCode != 503 || !response.Close {
				t.Errorf("%v, %v", response, err)
			}
		})
	}
}

func TestGRPC(t *testing.T) {
	s := start(t)
	for name, transport := range map[string]credentials.TransportCredentials{
		"cleartext": insecure.NewCredentials(),
		"TLS":       credentials.NewTLS(&tls.Config{InsecureSkipVerify: true}), // the certificate is self-signed
	} {
		t.Run(name, func(t *testing.T) {
			c, err := grpc.NewClient("passthrough:///"+s.address, grpc.WithTransportCredentials(transport))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = c.Close() }()
			ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
			defer stop()
			health := grpc_health_v1.NewHealthClient(c)
			for range 3 {
				_, err = health.Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: strings.Repeat("x", 100<<10)})
				if status.Code(err) != codes.Unavailable || status.Convert(err).Message() != "the service is under maintenance" {
					t.Errorf("unary: %v", err)
				}
			}
			stream, err := health.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
				t.Errorf("stream: %v", err)
			}
		})
	}
}

func TestWebSocketGetsThePage(t *testing.T) {
	s := start(t)
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	insecureClient := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // the certificate is self-signed
	for _, scheme := range []string{"ws", "wss"} {
		c, response, err := websocket.Dial(ctx, scheme+"://"+s.address+"/socket", &websocket.DialOptions{HTTPClient: insecureClient})
		if err == nil {
			_ = c.CloseNow()
			t.Fatalf("%s: the upgrade succeeded, want a 503", scheme)
		}
		if response == nil || response.StatusCode != 503 || response.Header.Get("Retry-After") == "" {
			t.Errorf("%s: %v, %v", scheme, response, err)
		}
	}
}

func TestGoClientOverEveryProtocol(t *testing.T) {
	s := start(t)
	for name, set := range map[string]func(*http.Protocols){
		"http":  func(p *http.Protocols) { p.SetHTTP1(true) },
		"h2c":   func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
		"https": func(p *http.Protocols) { p.SetHTTP2(true) },
	} {
		var protocols http.Protocols
		set(&protocols)
		scheme := strings.Replace(name, "h2c", "http", 1)
		c := &http.Client{Transport: &http.Transport{Protocols: &protocols, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // the certificate is self-signed
		for i := range 50 {
			response, err := c.Post(fmt.Sprintf("%s://%s/%d", scheme, s.address, i), "text/plain", strings.NewReader(strings.Repeat("x", i*1000)))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			_ = response.Body.Close()
			if response.StatusCode != 503 {
				t.Errorf("%s: %s", name, response.Status)
			}
		}
		c.CloseIdleConnections()
	}
}
