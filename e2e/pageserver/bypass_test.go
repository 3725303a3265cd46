package pageserver

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	bypassToken = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	// bypassLimit is the memory limit of a page Pod with a bypass, in bytes.
	bypassLimit = 256 << 20
	// maxProxied is how many requests maintenance-page proxies at once.
	maxProxied = 1000
)

// bypassServer is a running maintenance-page with a bypass to one app.
type bypassServer struct {
	*server
	door string // the address of the bypass
}

// startBypass starts maintenance-page with a bypass to app. command makes the command from name
// and arguments. Since the port of a bypass is fixed, each server gets its own loopback address.
func startBypass(t *testing.T, app *httptest.Server, command func(name string, args ...string) *exec.Cmd) bypassServer {
	t.Helper()
	host, port, err := net.SplitHostPort(app.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	settings := fmt.Sprintf(`{"version":1,"bypassSecret":"team","openPaths":["/open"],"doors":[{"name":"d1","scheme":"http","host":%q,"port":%s}]}`, host, port)
	dir, secret := filepath.Join(t.TempDir(), "page"), t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(built.pageDir)); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{filepath.Join(dir, "access.json"): settings, filepath.Join(secret, "maintenance-bypass-token"): "ci " + bypassToken} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	own := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(254), rand.IntN(256), 1+rand.IntN(254))
	return bypassServer{
		launch(t, command(built.binary, "--page-dir="+dir, "--page-set=maintenance-"+contentHash(t, dir)[:16], "--listen="+own+":0", "--metrics-listen=", "--drain=0s", "--bypass-dir="+secret)),
		own + ":8101",
	}
}

// contentHash returns the hash that is in the name of a page set with the folder's files.
func contentHash(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	data := map[string]string{}
	for _, entry := range entries {
		body, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		data[entry.Name()] = string(body)
	}
	sum := sha256.New()
	for _, key := range slices.Sorted(maps.Keys(data)) {
		for _, s := range []string{key, data[key]} {
			sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
			sum.Write([]byte(s))
		}
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// TestMemoryOfProxiedRequests keeps as many proxied requests open as are allowed at once. They
// stay within the Pod's memory limit, and the next visitor gets the page.
func TestMemoryOfProxiedRequests(t *testing.T) {
	large := make([]byte, 1<<20)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_, _ = io.Copy(io.Discard, r.Body)
			return
		}
		for {
			if _, err := w.Write(large); err != nil {
				return
			}
		}
	}))
	defer app.CloseClientConnections()
	for _, load := range []struct {
		name string
		on   func(net.Conn) error
	}{
		{"answers that are read slowly", func(c net.Conn) error {
			return errors.Join(write(c, "GET /open HTTP/1.1\r\nHost: a\r\n\r\n"), readSome(c))
		}},
		{"uploads that stop", func(c net.Conn) error {
			return write(c, "POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 2000000\r\nX: "+strings.Repeat("x", 4000)+"\r\n\r\n"+strings.Repeat("x", 100_000))
		}},
		{"answers that are read slowly, in TLS", func(c net.Conn) error {
			secure := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) // the certificate is self-signed
			return errors.Join(write(secure, "GET /open HTTP/1.1\r\nHost: a\r\n\r\n"), readSome(secure))
		}},
	} {
		t.Run(load.name, func(t *testing.T) {
			b := newMemoryCgroup(t, bypassLimit)
			s := startBypass(t, app, b.command)
			at := &server{address: s.door, process: s.process}
			held := at.openMany(maxProxied+200, load.on)
			defer func() {
				for _, c := range held {
					_ = c.Close()
				}
			}()
			begin := time.Now()
			at.requireAnswer(t)
			used := b.peakMemory(t)
			t.Logf("%d connections; a visitor was answered after %v; peak memory %d KiB, RSS %d KiB", len(held), time.Since(begin).Round(time.Millisecond), used>>10, s.rss(t))
			if used >= bypassLimit {
				t.Errorf("peak memory is %d bytes, the limit is %d", used, bypassLimit)
			}
		})
	}
}

// TestLargeUploadThroughBypass uploads 5 GiB, which must not be buffered in memory.
func TestLargeUploadThroughBypass(t *testing.T) {
	const size = 5 << 30
	got := make(chan int64, 1)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		got <- n
		if err == nil {
			_, _ = io.WriteString(w, "thanks")
		}
	}))
	defer app.Close()
	b := newMemoryCgroup(t, bypassLimit)
	s := startBypass(t, app, b.command)
	c, err := net.Dial("tcp", s.door)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := write(c, fmt.Sprintf("PUT /backup HTTP/1.1\r\nHost: a\r\nMaintenance-Bypass: %s\r\nContent-Length: %d\r\n\r\n", bypassToken, int64(size))); err != nil {
		t.Fatal(err)
	}
	begin, part := time.Now(), make([]byte, 1<<20)
	for range size / len(part) {
		if _, err := c.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if n := <-got; n != size || response.StatusCode != 200 {
		t.Errorf("%d of %d bytes arrived, and the answer is %s", n, int64(size), response.Status)
	}
	t.Logf("uploaded in %v, peak memory %d KiB", time.Since(begin).Round(time.Millisecond), b.peakMemory(t)>>10)
	if used := b.peakMemory(t); used > 64<<20 {
		t.Errorf("peak memory is %d bytes, want at most 64 MiB", used)
	}
}

// TestExtendedConnectIsRefused checks that WebSockets in HTTP/2 streams (RFC 8441) are neither
// offered nor accepted.
func TestExtendedConnectIsRefused(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the request reached the app") }))
	defer app.Close()
	s := startBypass(t, app, exec.Command)
	c, err := net.Dial("tcp", s.door)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":path", "/open"}, {":authority", "a"}} {
		err = errors.Join(err, encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	framer := http2.NewFramer(c, c)
	err = errors.Join(err, c.SetDeadline(time.Now().Add(30*time.Second)), write(c, http2.ClientPreface), framer.WriteSettings(),
		framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true}))
	if err != nil {
		t.Fatal(err)
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if on, is := f.Value(http2.SettingEnableConnectProtocol); is && on != 0 {
				t.Error("the server offers extended CONNECT")
			}
			if window, is := f.Value(http2.SettingInitialWindowSize); !f.IsAck() && is && window > 64<<10 {
				t.Errorf("the initial window is %d bytes, want at most 64 KiB", window)
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return
		case *http2.HeadersFrame:
			t.Fatal("the server answers extended CONNECT")
		}
	}
}
