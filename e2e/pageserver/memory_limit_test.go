package pageserver

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// memoryCgroup is a cgroup (version 1 or 2) with a memory limit.
type memoryCgroup struct{ dir, peak string }

// defaultLimit is the chart's memory limit of a page Pod, in bytes.
const defaultLimit = 96 << 20

func newMemoryCgroup(t *testing.T, size int) memoryCgroup {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("this test makes a cgroup, which needs root; CI is set: run as root")
		}
		t.Skip("this test makes a cgroup, which needs root")
	}
	b, limit, root := memoryCgroup{peak: "memory.max_usage_in_bytes"}, "memory.limit_in_bytes", "/sys/fs/cgroup/memory"
	if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
		b.peak, limit, root = "memory.peak", "memory.max", "/sys/fs/cgroup"
		_ = os.WriteFile(filepath.Join(root, "cgroup.subtree_control"), []byte("+memory"), 0o644) // if it fails, setting the limit fails, too
	}
	var err error
	if b.dir, err = os.MkdirTemp(root, "maintenance-page-"); err != nil { //nolint:usetesting // a cgroup is not a temporary folder
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for deadline := time.Now().Add(5 * time.Second); os.Remove(b.dir) != nil; time.Sleep(20 * time.Millisecond) { // the kernel releases it a moment later
			if time.Now().After(deadline) {
				t.Errorf("%s is still in use", b.dir)
				return
			}
		}
	})
	if err := os.WriteFile(filepath.Join(b.dir, limit), []byte(strconv.Itoa(size)), 0o644); err != nil {
		t.Fatal(err)
	}
	return b
}

// command returns a command that runs in the cgroup.
func (b memoryCgroup) command(name string, args ...string) *exec.Cmd {
	script := `echo $$ >"$0"/cgroup.procs && exec "$@"`
	return exec.Command("/bin/sh", append([]string{"-c", script, b.dir, name}, args...)...)
}

// peakMemory returns the highest memory use so far in bytes, or 0 if the kernel does not tell it.
func (b memoryCgroup) peakMemory(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, b.peak))
	if errors.Is(err, os.ErrNotExist) { // cgroup version 2 before Linux 5.19
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPodMemoryLimitUnderAttack holds many kinds of connections open. The server must stay
// within the Pod's memory limit and keep answering.
func TestPodMemoryLimitUnderAttack(t *testing.T) {
	b := newMemoryCgroup(t, defaultLimit)
	s := startAs(t, b.command)
	for _, attack := range []struct {
		name        string
		connections int
		on          func(net.Conn) error // called for each connection
	}{
		{"idle connections", 5000, func(c net.Conn) error {
			return errors.Join(write(c, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), readSome(c))
		}},
		{"unfinished heads of long lines", 800, unfinishedHead("X: " + strings.Repeat("y", 1000) + "\r\n")},
		{"unfinished heads of short lines", 800, unfinishedHead("ab:\r\n")},
		{"uploads that stop", 1000, func(c net.Conn) error {
			return write(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n"+strings.Repeat("x", 50000))
		}},
		{"answers that are not read", 500, func(c net.Conn) error {
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetReadBuffer(4 << 10) // so that the server has to wait
			}
			return write(c, strings.Repeat("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200))
		}},
		{"TLS", 1500, func(c net.Conn) error {
			secure := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // the certificate is self-signed
			return errors.Join(write(secure, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), readSome(secure))
		}},
		{"unfinished heads of short lines in TLS", 800, func(c net.Conn) error {
			var head strings.Builder
			head.WriteString("GET / HTTP/1.1\r\nHost: a\r\n")
			for i := range 18_000 {
				head.WriteString(strconv.FormatInt(int64(36*36+i), 36) + ":\r\n")
			}
			return write(tls.Client(c, &tls.Config{InsecureSkipVerify: true}), head.String()) // the certificate is self-signed
		}},
		{"streams that may not be answered", 60, stalledStreams},
		{"unfinished header blocks of fields that take one byte", 1500, unfinishedBlock(nil)},
		{"unfinished header blocks behind a stream", 1500, unfinishedBlock(stalledUpload)},
		{"unfinished header blocks behind an answer", 1500, unfinishedBlock(func(framer *http2.Framer) error {
			return writeRequest(framer, "HEAD", true)
		})},
		{"unfinished header blocks behind an answer in one TLS record", 1500, func(c net.Conn) error {
			cut := &splitWriter{Conn: c}
			secure := tls.Client(cut, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}, DynamicRecordSizingDisabled: true}) // the certificate is self-signed
			if err := secure.Handshake(); err != nil {
				return err
			}
			cut.on = true
			return unfinishedBlock(func(framer *http2.Framer) error { return writeRequest(framer, "HEAD", true) })(secure)
		}},
	} {
		t.Run(attack.name, func(t *testing.T) {
			held := s.openMany(attack.connections, attack.on)
			defer func() {
				for _, c := range held {
					_ = c.Close()
				}
			}()
			begin := time.Now()
			s.requireAnswer(t)
			t.Logf("%d connections; a visitor was answered after %v; peak memory so far %d KiB", len(held), time.Since(begin).Round(time.Millisecond), b.peakMemory(t)>>10)
		})
	}
	if used := b.peakMemory(t); used >= defaultLimit {
		t.Errorf("peak memory is %d bytes, the limit is %d", used, defaultLimit)
	}
}

func TestMemoryOfBusyConnections(t *testing.T) {
	s := start(t)
	conns := dialMany(t, s, 1000)
	for range 20 {
		for _, c := range conns {
			requirePage(t, c)
		}
	}
	kib := s.rss(t)
	t.Logf("%d KiB with 1,000 connections in use", kib)
	if kib > 48<<10 { // half of the Pod's limit
		t.Errorf("%d KiB, want at most 48 MiB", kib)
	}
}

// TestSlowLoris keeps 2,000 requests with unfinished heads open. Other visitors must still get
// the page.
func TestSlowLoris(t *testing.T) {
	s := start(t)
	for _, c := range dialMany(t, s, 2000) {
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: a\r\nX-a: b")); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	requirePage(t, s.dial(t))
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

func write(w io.Writer, s string) error {
	_, err := io.WriteString(w, s)
	return err
}

func readSome(r io.Reader) error {
	_, err := r.Read(make([]byte, 4096))
	return err
}

func unfinishedHead(line string) func(net.Conn) error {
	head := "GET / HTTP/1.1\r\nHost: a\r\n" + strings.Repeat(line, 120_000/len(line))
	return func(c net.Conn) error { return write(c, head) }
}

// stalledStreams requests the page in a hundred streams whose windows leave no room for an
// answer.
func stalledStreams(c net.Conn) error {
	var requests bytes.Buffer
	framer := http2.NewFramer(&requests, nil)
	requests.WriteString(http2.ClientPreface)
	err := framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for id := uint32(1); id < 200 && err == nil; id += 2 {
		block.Reset()
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a"}, {"cookie", fmt.Sprint(id, strings.Repeat("x", 2000))}} {
			err = errors.Join(err, encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
		}
		err = errors.Join(err, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}))
	}
	return errors.Join(err, write(c, requests.String()), readSome(c))
}

// openMany opens n connections in parallel and calls do for each. The server may close some of
// them: it protects itself that way.
func (s *server) openMany(n int, do func(net.Conn) error) []io.Closer {
	held, slots := make(chan io.Closer, n), make(chan struct{}, 32)
	for range n {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			c, err := net.DialTimeout("tcp", s.address, 10*time.Second)
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(2 * time.Second))
			_ = do(c)
			held <- c
		}()
	}
	for range cap(slots) {
		slots <- struct{}{}
	}
	close(held)
	var all []io.Closer
	for c := range held {
		all = append(all, c)
	}
	return all
}

// requireAnswer retries for up to 10 s until a new visitor gets the page.
func (s *server) requireAnswer(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.DialTimeout("tcp", s.address, time.Second)
		if err == nil {
			b := make([]byte, 12)
			_ = c.SetDeadline(time.Now().Add(5 * time.Second))
			err = write(c, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
			if err == nil {
				_, err = io.ReadFull(c, b)
			}
			_ = c.Close()
			if err == nil && string(b) == "HTTP/1.1 503" {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server does not answer any more: %v", err)
		}
	}
}

// splitWriter sends large writes in two segments, so that one read does not get a whole TLS record.
type splitWriter struct {
	net.Conn
	on bool
}

func (c *splitWriter) Write(b []byte) (int, error) {
	const last = 100
	if !c.on || len(b) < 2*last {
		return c.Conn.Write(b)
	}
	n, err := c.Conn.Write(b[:len(b)-last])
	if err != nil {
		return n, err
	}
	time.Sleep(30 * time.Millisecond) // longer than the server takes to read the first segment
	m, err := c.Conn.Write(b[len(b)-last:])
	return n + m, err
}

func writeRequest(framer *http2.Framer, method string, ends bool) error {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", method}, {":scheme", "http"}, {":path", "/"}, {":authority", "a"}} {
		if err := encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			return err
		}
	}
	return framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: ends})
}

// stalledUpload sends a request with content, whose answer has no window.
func stalledUpload(framer *http2.Framer) error {
	err := writeRequest(framer, "POST", false)
	for range 4 {
		err = errors.Join(err, framer.WriteData(1, false, make([]byte, 15<<10)))
	}
	return err
}

// unfinishedBlock calls first, if given, and then sends a header block without an end. Each of
// its bytes is a field of HPACK's static table, which net/http turns into 40 bytes or more.
func unfinishedBlock(first func(*http2.Framer) error) func(net.Conn) error {
	return func(c net.Conn) error {
		var requests bytes.Buffer
		framer := http2.NewFramer(&requests, nil)
		requests.WriteString(http2.ClientPreface)
		err := framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
		if first != nil {
			err = errors.Join(err, first(framer))
		}
		const date = 0x80 | 33 // RFC 7541, appendix A
		err = errors.Join(err, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: bytes.Repeat([]byte{date}, 3600)}))
		return errors.Join(err, write(c, requests.String()), readSome(c))
	}
}
