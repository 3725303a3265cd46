// Package pageserver tests the program maintenance-page with real clients.
package pageserver

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// built is what TestMain builds once for all tests.
var built struct{ binary, pageDir, pageSet string }

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "pageserver")
		if err == nil {
			defer func() { _ = os.RemoveAll(dir) }()
			err = build(dir)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// build builds the program as for the image, without cgo, and exports the built-in page.
func build(dir string) error {
	built.binary, built.pageDir = filepath.Join(dir, "maintenance-page"), filepath.Join(dir, "page")
	if _, err := inRoot("go", "build", "-trimpath", "-ldflags=-s -w", "-o", built.binary, "./cmd/maintenance-page"); err != nil {
		return err
	}
	set, err := inRoot("go", "run", "./pages/export", built.pageDir)
	built.pageSet = strings.TrimSpace(set)
	return err
}

// inRoot runs a command at the top of the tree and returns its output.
func inRoot(name string, args ...string) (string, error) {
	c := exec.Command(name, args...)
	c.Dir = filepath.Join("..", "..")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	c.Stderr = os.Stderr
	out, err := c.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w", c, err)
	}
	return string(out), nil
}

// need returns the path of the first tool that is installed. Without any it skips the test, or
// fails it in CI.
func need(t *testing.T, tools ...string) string {
	t.Helper()
	for _, tool := range tools {
		if path, err := exec.LookPath(tool); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed", strings.Join(tools, " or "))
	}
	t.Skipf("%s is not installed", strings.Join(tools, " or "))
	return ""
}

// server is a running maintenance-page.
type server struct {
	address string
	started time.Duration // time from exec to the first answer
	process *exec.Cmd
}

func start(t *testing.T) *server {
	t.Helper()
	return startAs(t, exec.Command)
}

// startAs starts the server with the built-in page. command makes the command from name and arguments.
func startAs(t *testing.T, command func(name string, args ...string) *exec.Cmd) *server {
	t.Helper()
	return startPage(t, built.pageDir, built.pageSet, command)
}

// startPage is startAs with the page in a folder.
func startPage(t *testing.T, pageDir, pageSet string, command func(name string, args ...string) *exec.Cmd) *server {
	t.Helper()
	return launch(t, command(built.binary, "--page-dir="+pageDir, "--page-set="+pageSet, "--listen=127.0.0.1:0", "--metrics-listen=", "--drain=0s"))
}

// launch starts the command and waits for its first answer.
func launch(t *testing.T, c *exec.Cmd) *server {
	t.Helper()
	logs, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s := &server{process: c}
	ended := make(chan error, 1)
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			t.Errorf("maintenance-page: %v", err)
		}
	})
	lines := bufio.NewScanner(logs)
	lines.Scan()
	var serving struct{ Address string }
	err = json.Unmarshal(lines.Bytes(), &serving)
	go func() {
		_, _ = io.Copy(io.Discard, logs)
		ended <- c.Wait()
	}()
	if err != nil || serving.Address == "" {
		t.Fatalf("no address in %q: %v", lines.Text(), err)
	}
	s.address = serving.Address
	requirePage(t, s.dial(t))
	s.started = time.Since(begin)
	return s
}

func (s *server) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", s.address, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// requirePage sends a HEAD request and checks that the answer is a 503.
func requirePage(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n := 0
	for !strings.Contains(string(b[:n]), "\r\n\r\n") {
		more, err := c.Read(b[n:])
		if err != nil {
			t.Fatalf("after %q: %v", b[:n], err)
		}
		n += more
	}
	if !strings.HasPrefix(string(b[:n]), "HTTP/1.1 503 ") {
		t.Fatalf("%q", b[:n])
	}
}

// rss returns the resident memory in KiB.
func (s *server) rss(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.process.Process.Pid))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no /proc here")
	}
	_, rest, ok := strings.Cut(string(status), "VmRSS:")
	value := strings.Fields(rest)
	if err != nil || !ok || len(value) == 0 {
		t.Fatalf("%v: %s", err, status)
	}
	n, err := strconv.Atoi(value[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
