package bypass

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/httpserve"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageserver"
)

const (
	set    = "maintenance-0123456789abcdef"
	secret = "team"
	anna   = "bfN7QkU0yG7T2hJxZ4sLwA"
	job    = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	tokens = "anna " + anna + "\njob " + job + "\n"
)

// world is an app and a page set with one door to it.
type world struct {
	bypass  *Server
	app     *httptest.Server
	address string // of the door
	log     lockedBuffer
	logged  []Entry
	mu      sync.Mutex
	now     time.Time
	stop    func()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// everything lets through by token, lets everybody read, and opens /open.
func everything() access.Settings {
	return access.Settings{BypassSecret: secret, OpenPaths: []string{"/open"}, ReadOnly: true}
}

func newWorld(tb testing.TB, settings access.Settings, app *httptest.Server, scheme access.Scheme) *world {
	tb.Helper()
	w := &world{app: app, now: time.Now()}
	host, port, err := net.SplitHostPort(app.Listener.Addr().String())
	require.NoError(tb, err)
	number, err := strconv.Atoi(port)
	require.NoError(tb, err)
	settings.Doors = []access.Door{{Name: "d1", Scheme: scheme, Host: host, Port: number}}
	require.NoError(tb, settings.Validate())
	pages, err := pageserver.New(pageserver.Config{Page: pages.Default(), PageSet: set})
	require.NoError(tb, err)
	w.bypass = New(Config{Settings: settings, PageSet: set, Page: pages, Now: w.clock, Log: func(e Entry) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.logged = append(w.logged, e)
		fmt.Fprintf(&w.log, "%+v\n", e)
	}})
	w.bypass.SetTokens(tokens)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	w.address = l.Addr().String()
	server := httpserve.New(httpserve.Config{Handler: w.bypass.Doors()[0]})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, l) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(tb, <-done)
	})
	tb.Cleanup(w.stop)
	return w
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) later(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// seen is what an app saw of a request.
type seen struct {
	Method, URI, Host, Proto string
	Header, Trailer          http.Header
	Length                   int64
	Encoding                 []string
	Body                     string
	TLS                      string // the server name in SNI, if there was TLS
}

// echo answers with what it saw.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	s := seen{r.Method, r.RequestURI, r.Host, r.Proto, r.Header, r.Trailer, r.ContentLength, r.TransferEncoding, string(body), ""}
	if r.TLS != nil {
		s.TLS = "TLS for " + r.TLS.ServerName
	}
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	w.Header().Set("X-Echo", "yes")
	w.Header()["X-Twice"] = []string{"a", "b"}
	_, _ = w.Write(raw)
}

func newApp(tb testing.TB, h http.HandlerFunc) *httptest.Server {
	tb.Helper()
	app := httptest.NewServer(h)
	tb.Cleanup(app.Close)
	return app
}

// answer is a complete response.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) by() string { return a.header.Get(access.Header) }

// fromApp says whether the app sent it.
func (a answer) fromApp() bool { return a.header.Get("X-Echo") != "" }

func (a answer) fromPage() bool { return a.status == 503 && a.header.Get(page.MarkerHeader) == set }

func (a answer) seen(t *testing.T) (s seen) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(a.body), &s), "%d %s", a.status, a.body)
	return s
}

// do sends a request on a connection of its own.
func do(t *testing.T, r *http.Request) answer {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	response, err := transport.RoundTrip(r)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return answer{response.StatusCode, response.Header, string(body)}
}

// ask makes a request to the door, with pairs of header names and values.
func (w *world) ask(t *testing.T, method, target string, pairs ...string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+w.address+target, nil)
	require.NoError(t, err)
	r.Host = "shop.example"
	for i := 0; i < len(pairs); i += 2 {
		r.Header.Add(pairs[i], pairs[i+1])
	}
	return r
}

func (w *world) get(t *testing.T, target string, pairs ...string) answer {
	t.Helper()
	return do(t, w.ask(t, http.MethodGet, target, pairs...))
}

// cookie uses a link and returns the cookie that it set.
func (w *world) cookie(t *testing.T, token string) string {
	t.Helper()
	got := do(t, w.ask(t, http.MethodPost, "/?"+LinkKey, access.Header, token, "Origin", "https://shop.example", "Sec-Fetch-Site", "same-origin"))
	require.Equal(t, http.StatusNoContent, got.status, got.body)
	parsed, err := http.ParseSetCookie(got.header.Get("Set-Cookie"))
	require.NoError(t, err)
	return parsed.Name + "=" + parsed.Value
}
