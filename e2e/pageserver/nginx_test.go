package pageserver

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// freePort is an address on which nothing listens now. It is outside the range from which the kernel
// takes ports for other programs (ip_local_port_range in ip(7)), so it stays free.
func freePort(t *testing.T) string {
	t.Helper()
	const low, high, attempts = 20000, 32000, 100
	for range attempts {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(low+rand.IntN(high-low))))
		if err != nil {
			continue
		}
		defer func() { _ = l.Close() }()
		return l.Addr().String()
	}
	t.Fatalf("%d ports between %d and %d are taken", attempts, low, high)
	return ""
}

// startProxy starts nginx in front of the page, with a pool of reused connections, as an
// ingress controller does.
func startProxy(t *testing.T, backend, more string) string {
	t.Helper()
	nginx, err := exec.LookPath("/usr/sbin/nginx")
	if err != nil {
		nginx = need(t, "nginx")
	}
	dir, err := os.MkdirTemp("", "proxy") //nolint:usetesting // nginx's workers cannot enter the parent folder of t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil { // nginx's workers run as another user
		t.Fatal(err)
	}
	address := freePort(t)
	var temp strings.Builder
	for _, name := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temp, "%s_temp_path %s/%s;\n", name, dir, name)
	}
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log %[1]s/log; events { worker_connections 1000; }
http { access_log off; client_max_body_size 0; %[2]s
upstream page { server %[3]s; keepalive 8; }
server { listen %[4]s; location / { proxy_pass http://page; proxy_http_version 1.1; proxy_set_header Connection ""; %[5]s } } }`,
		dir, temp.String(), backend, address, more)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(nginx, "-c", conf, "-e", filepath.Join(dir, "log"))
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); ; {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = conn.Close()
			return address
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// TestUploadsThroughNginx checks that the proxy passes the page on, however much the client sends:
// it would answer 502 if the server closed a connection too early.
func TestUploadsThroughNginx(t *testing.T) {
	s := start(t)
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, make([]byte, 64<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, more := range map[string]string{"buffering": "", "streaming": "proxy_request_buffering off;"} {
		t.Run(name, func(t *testing.T) {
			address := startProxy(t, s.address, more)
			for i := range 20 {
				args := []string{"http://" + address + "/upload"}
				switch i % 4 {
				case 0:
					args = append(args, "--upload-file", large)
				case 1:
					args = append(args, "--upload-file", large, "-H", "Expect:", "-H", "Transfer-Encoding: chunked")
				case 2:
					args = append(args, "--data", "small=1")
				}
				if got, want := curl(t, args...), "1.1 503 text/html; charset=utf-8"; got != want {
					t.Errorf("%v: %q, want %q", args[1:], got, want)
				}
			}
		})
	}
}

// TestUploadsDoNotAffectOtherVisitors checks that visitors get their answers while others upload,
// although the proxy sends both over the same connections.
func TestUploadsDoNotAffectOtherVisitors(t *testing.T) {
	address := startProxy(t, start(t).address, "proxy_request_buffering off;")
	content := strings.Repeat("x", 300_000)
	ask := func(upload bool) error {
		request, err := http.NewRequest(http.MethodGet, "http://"+address+"/", nil)
		if upload {
			request, err = http.NewRequest(http.MethodPost, "http://"+address+"/", io.MultiReader(strings.NewReader(content))) // without a length, so that it is sent in chunks
		}
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != 503 || response.Header.Get("Maintenance-Page-Set") != built.pageSet {
			return errors.New(response.Status)
		}
		return nil
	}
	failed := make(chan error, 8*100)
	var visitors sync.WaitGroup
	for i := range 8 {
		visitors.Go(func() {
			for range 100 {
				if err := ask(i%2 == 0); err != nil {
					failed <- err
				}
			}
		})
	}
	visitors.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
}
