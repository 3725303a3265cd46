package pageserver

import (
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestStartsQuickly(t *testing.T) {
	var took []time.Duration
	for range 9 {
		took = append(took, start(t).started)
	}
	slices.Sort(took)
	t.Logf("from exec to the first answer: %v", took)
	if took[0] > 50*time.Millisecond { // the least: what else runs on this machine is not its fault
		t.Errorf("%v, want under 50 ms", took[0])
	}
}

func TestMemoryOfBusyConnections(t *testing.T) {
	s := start(t)
	conns := dialMany(t, s, 1000)
	for range 20 {
		for _, c := range conns {
			exchange(t, c)
		}
	}
	kib := s.rss(t)
	t.Logf("%d KiB with 1,000 connections in use", kib)
	if kib > 48<<10 { // half of what the Pod may take
		t.Errorf("%d KiB, want at most 48 MiB", kib)
	}
}

// Two thousand heads that never end must not keep others from the page.
func TestSlowLoris(t *testing.T) {
	s := start(t)
	for _, c := range dialMany(t, s, 2000) {
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\nX-a: b")); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	exchange(t, s.dial(t))
	t.Logf("answered after %v, %d KiB", time.Since(begin), s.rss(t))
}

func dialMany(t *testing.T, s *server, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = s.dial(t)
	}
	return conns
}

func TestWrongPageSetIsRefused(t *testing.T) {
	out, err := exec.Command(built.binary, "--page-dir="+built.pageDir, "--page-set=maintenance-0123456789abcdef").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "not of --page-set") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestVersion(t *testing.T) {
	out, err := exec.Command(built.binary, "--version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "maintenance-page ") {
		t.Errorf("%v: %s", err, out)
	}
}
