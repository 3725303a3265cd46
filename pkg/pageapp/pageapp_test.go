package pageapp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/page"
)

const anySet = "maintenance-0123456789abcdef"

func TestParse(t *testing.T) {
	env := map[string]string{"MAINTENANCE_PAGE_SET": anySet, "MAINTENANCE_PAGE_DRAIN": "3s", "MAINTENANCE_PAGE_METRICS_LISTEN": ":1", "MAINTENANCE_PAGE_ACCESS_LOG": "true", "MAINTENANCE_PAGE_DIR": "/elsewhere"}
	got, err := parse([]string{"--metrics-listen=", "--listen=:2"}, func(name string) (string, bool) { v, ok := env[name]; return v, ok }, io.Discard)
	want := options{pageDir: "/elsewhere", pageSet: anySet, listen: ":2", drain: 3 * time.Second, bypassDir: "/bypass", cookieLifetime: 12 * time.Hour, accessLog: true, logFormat: "json", logLevel: "info"}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(options{})); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestParseRefuses(t *testing.T) {
	set := "--page-set=" + anySet
	for _, test := range []struct {
		name string
		args []string
		env  string
		says string
	}{
		{"no set", nil, "", "MAINTENANCE_PAGE_SET"},
		{"an invalid name of a page set", []string{"--page-set=my-page"}, "", "16 hex digits"},
		{"an argument", []string{set, "serve"}, "", `"serve"`},
		{"an unknown flag", []string{set, "--port=1"}, "", "--port"},
		{"no folder", []string{set, "--page-dir="}, "", "--page-dir"},
		{"no address", []string{set, "--listen="}, "", "--listen"},
		{"a cookie lifetime that is too long", []string{set, "--bypass-cookie-lifetime=8761h"}, "", "--bypass-cookie-lifetime"},
		{"a negative drain", []string{set, "--drain=-1s"}, "", "--drain"},
		{"an environment variable that is not a duration", []string{set}, "soon", "MAINTENANCE_PAGE_DRAIN"},
	} {
		t.Run(test.name, func(t *testing.T) {
			getenv := func(name string) (string, bool) {
				return test.env, name == "MAINTENANCE_PAGE_DRAIN" && test.env != ""
			}
			if _, err := parse(test.args, getenv, io.Discard); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
		})
	}
}

func TestHelpExplainsEveryFlag(t *testing.T) {
	var help strings.Builder
	if _, err := parse([]string{"--help"}, func(string) (string, bool) { return "", false }, &help); !errors.Is(err, pflag.ErrHelp) {
		t.Fatal(err)
	}
	for _, flag := range []string{"--page-dir", "--page-set", "--listen", "--metrics-listen", "--drain", "--bypass-dir", "--bypass-cookie-lifetime", "--access-log", "--log-format", "--log-level", "--version", "MAINTENANCE_PAGE_DIR"} {
		if !strings.Contains(help.String(), flag) {
			t.Errorf("no %s in\n%s", flag, help.String())
		}
	}
}

// mount writes data into a folder as the kubelet mounts a ConfigMap.
func mount(t *testing.T, data map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	version := filepath.Join(dir, "..2026_01_01_00_00_00.123")
	if err := os.Mkdir(version, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Base(version), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	for key, value := range data {
		if err := os.WriteFile(filepath.Join(version, key), []byte(value), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join("..data", key), filepath.Join(dir, key)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoad(t *testing.T) {
	want := pages.Default()
	for _, test := range []struct{ set, hash string }{{page.SetName(want.Hash()), ""}, {anySet, want.Hash()}} {
		got, err := load(mount(t, want.Data()), test.set, test.hash)
		if diff := cmp.Diff(content{page: want}, got, cmp.AllowUnexported(content{})); err != nil || diff != "" {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	}
	if _, err := load(mount(t, want.Data()), page.SetName(want.Hash()), page.Page{}.Hash()); err == nil || !strings.Contains(err.Error(), "not --content-hash") {
		t.Errorf("another content: %v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	folder := mount(t, nil)
	if err := os.Mkdir(filepath.Join(folder, "page.html"), 0o755); err != nil {
		t.Fatal(err)
	}
	dangling := mount(t, nil)
	if err := os.Symlink("..data/page.html", filepath.Join(dangling, "page.html")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ name, dir, says string }{
		{"another page", mount(t, map[string]string{"page.html": "x"}), "not to --page-set " + anySet},
		{"a 200", mount(t, map[string]string{"page.html": "x", "status": "200"}), "400 to 599"},
		{"no folder", "/nonexistent", "read the page"},
		{"a folder in it", folder, "is not a file"},
		{"a dangling link", dangling, "read the page"},
		{"too much", mount(t, map[string]string{"page.html": strings.Repeat("x", page.MaxSize+access.MaxSize+1)}), "larger than"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := load(test.dir, anySet, ""); err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v, want one that says %q", err, test.says)
			}
		})
	}
}

// freePorts are addresses on which nothing listens now. They are outside the range from which the
// kernel takes ports for other programs (ip_local_port_range in ip(7)), so they stay free.
func freePorts(t *testing.T, n int) (addresses []string) {
	t.Helper()
	const low, high, attempts = 20000, 32000, 100
	for range attempts {
		if len(addresses) == n {
			return addresses
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(low+rand.IntN(high-low))))
		if err != nil {
			continue
		}
		defer func() { _ = l.Close() }()
		addresses = append(addresses, l.Addr().String())
	}
	t.Fatalf("%d ports between %d and %d are taken", attempts, low, high)
	return nil
}

func TestRunServesThePageAndItsMetrics(t *testing.T) {
	p := pages.Default()
	logs, w := io.Pipe()
	o := options{pageDir: mount(t, p.Data()), pageSet: page.SetName(p.Hash()), listen: "127.0.0.1:0", metricsListen: freePorts(t, 1)[0], logFormat: "json", logLevel: "info", accessLog: true}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx, o, w) }()
	lines := bufio.NewScanner(logs)
	lines.Scan()
	var serving struct{ Message, Address string }
	if err := json.Unmarshal(lines.Bytes(), &serving); err != nil || serving.Message != "serving" {
		t.Fatalf("%v: %s", err, lines.Text())
	}
	requests := make(chan string, 10)
	go func() {
		for lines.Scan() {
			requests <- lines.Text()
		}
	}()
	get := func(url string) (*http.Response, string) {
		response, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response, string(body)
	}
	if response, _ := get("http://" + serving.Address + "/x"); response.StatusCode != 503 || response.Header.Get(page.MarkerHeader) != o.pageSet {
		t.Errorf("%d %v", response.StatusCode, response.Header)
	}
	if line := <-requests; !strings.Contains(line, `"path":"/x"`) || !strings.Contains(line, `"status":503`) {
		t.Errorf("access log: %s", line)
	}
	_, metrics := get("http://" + o.metricsListen + "/metrics")
	for _, sample := range []string{`maintenance_page_requests_total{method="GET",format="html",status="503"} 1`, `maintenance_page_connections_total{protocol="http1"} 1`, "maintenance_page_panics_total 0", "maintenance_page_build_info{"} {
		if !strings.Contains(metrics, "\n"+sample) {
			t.Errorf("no %s in\n%s", sample, metrics)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	_ = w.Close()
}

func TestRunRefusesAnAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	p := pages.Default()
	o := options{pageDir: mount(t, p.Data()), pageSet: page.SetName(p.Hash()), listen: "127.0.0.1:0", logFormat: "json", logLevel: "info"}
	for flag, set := range map[string]func(*options){
		"--listen":         func(o *options) { o.listen = l.Addr().String() },
		"--metrics-listen": func(o *options) { o.metricsListen = l.Addr().String() },
	} {
		broken := o
		set(&broken)
		if err := run(context.Background(), broken, io.Discard); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}
