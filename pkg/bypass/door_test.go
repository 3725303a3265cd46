package bypass

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/page"
)

func TestWhoIsLetThrough(t *testing.T) {
	w := newWorld(t, access.Settings{BypassSecret: secret, OpenPaths: []string{"/open"}}, newApp(t, echo), access.HTTP)
	cookie := w.cookie(t, anna)
	for _, test := range []struct {
		name, target string
		header       []string
		by           string
	}{
		{"the public", "/", nil, ""},
		{"a token", "/", []string{access.Header, job}, "header"},
		{"a wrong token", "/", []string{access.Header, "x"}, ""},
		{"a cookie", "/", []string{"Cookie", "a=b; " + cookie + "; c=d"}, "cookie"},
		{"a cookie under its other name", "/", []string{"Cookie", strings.TrimPrefix(cookie, "__Host-")}, "cookie"},
		{"a cookie for another Secret", "/", []string{"Cookie", strings.Replace(cookie, access.CookieName(secret), access.CookieName("other"), 1)}, ""},
		{"an open path", "/open/x", nil, "path"},
		{"a path beside it", "/opened", nil, ""},
		{"a path out of it", "/open/%2e%2e/x", nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := w.get(t, test.target, test.header...)
			if test.by == "" {
				assert.True(t, got.fromPage(), "%d %v", got.status, got.header)
				assert.Empty(t, got.by())
				return
			}
			assert.True(t, got.fromApp())
			assert.Equal(t, test.by, got.by())
			saw := got.seen(t)
			assert.NotContains(t, saw.Header, access.Header)
			assert.NotContains(t, fmt.Sprint(saw), "maintenance-bypass-", "the app sees no cookie of ours")
			for _, token := range []string{anna, job} {
				assert.NotContains(t, fmt.Sprint(saw), token)
			}
		})
	}
	assert.True(t, do(t, w.ask(t, http.MethodPost, "/", "Cookie", cookie)).fromApp())
	other := w.ask(t, http.MethodGet, "/", "Cookie", cookie)
	other.Host = "other.example"
	assert.True(t, do(t, other).fromPage(), "a cookie of another host")
	w.later(DefaultLifetime)
	assert.True(t, w.get(t, "/", "Cookie", cookie).fromPage(), "it has ended")
	for _, hidden := range []string{anna, job, cookie} {
		assert.NotContains(t, w.log.String(), hidden)
	}
	assert.Contains(t, w.log.String(), "Holder:anna")
}

// TestNobodyElseSees: what a token or a cookie let through is kept by no cache,
// whatever the app says; what is open to all stays as the app says.
func TestNobodyElseSees(t *testing.T) {
	app := newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "public, s-maxage=600")
		w.Header().Set("CDN-Cache-Control", "max-age=600")
		w.Header().Set("Surrogate-Control", "max-age=600")
		w.Header().Set("X-Accel-Expires", "600")
		w.Header().Set(access.Header, "path")
	})
	w := newWorld(t, everything(), app, access.HTTP)
	for _, header := range [][]string{{access.Header, anna}, {"Cookie", w.cookie(t, anna)}} {
		got := w.get(t, "/open", header...)
		assert.Equal(t, []string{"public, s-maxage=600", "private, no-store"}, got.header["Cache-Control"])
		for _, name := range []string{"CDN-Cache-Control", "Surrogate-Control", "X-Accel-Expires"} {
			assert.Empty(t, got.header.Get(name), name)
		}
		assert.Len(t, got.header[access.Header], 1, "an app cannot say what let through")
		assert.NotEqual(t, "path", got.by())
	}
	for target, by := range map[string]string{"/open": "path", "/": "method"} {
		got := w.get(t, target)
		assert.Equal(t, []string{"public, s-maxage=600"}, got.header["Cache-Control"])
		assert.Equal(t, "max-age=600", got.header.Get("CDN-Cache-Control"))
		assert.Equal(t, by, got.by())
	}
}

func TestTheReadyPathIsThePages(t *testing.T) {
	w := newWorld(t, everything(), newApp(t, echo), access.HTTP)
	got := w.get(t, page.ReadyPath, access.Header, anna)
	assert.Equal(t, 200, got.status)
	assert.False(t, got.fromApp())
}

func TestReadOnly(t *testing.T) {
	w := newWorld(t, access.Settings{ReadOnly: true}, newApp(t, echo), access.HTTP)
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		got := do(t, w.ask(t, method, "/x"))
		assert.Equal(t, "method", got.by(), method)
		assert.True(t, got.fromApp(), method)
	}
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "get"} {
		got := do(t, w.ask(t, method, "/x"))
		assert.True(t, got.fromPage(), method)
	}
	for _, header := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_Method_Override", "Upgrade"} {
		got := w.get(t, "/x", header, "DELETE")
		assert.True(t, got.fromPage(), header)
	}
	assert.True(t, w.get(t, "/x?_method=DELETE").fromPage())
	assert.True(t, w.get(t, "/x?a=1", access.Header, anna).fromApp(), "no secret is named: the header means nothing")
}

func TestAnAppOutOfReach(t *testing.T) {
	app := newApp(t, echo)
	w := newWorld(t, everything(), app, access.HTTP)
	app.Close()
	for range 2 {
		got := do(t, w.ask(t, http.MethodPost, "/", access.Header, anna))
		assert.True(t, got.fromPage(), "%d", got.status)
		assert.Equal(t, access.Unreachable, got.by())
		assert.NotEmpty(t, got.header.Get("Retry-After"))
	}
	sum := w.bypass.Summary()
	assert.Equal(t, uint64(2), sum.Doors[0].Failed)
	assert.Contains(t, sum.Doors[0].Unreachable, "connection refused")
	assert.False(t, sum.Doors[0].Since.IsZero())
	assert.Empty(t, sum.Through)
	w.later(lapse)
	sum = w.bypass.Summary()
	assert.Empty(t, sum.Doors[0].Unreachable, "nobody has asked since")
	assert.Equal(t, uint64(2), sum.Doors[0].Failed)
}

// TestAnswersThatAreNone: what no client would understand is the page, not a 502.
func TestAnswersThatAreNone(t *testing.T) {
	for name, bytes := range map[string]string{
		"nothing":              "",
		"no HTTP":              "SSH-2.0-x\r\n\r\n",
		"another protocol":     "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"half a head":          "HTTP/1.1 200 OK\r\nContent-",
		"two lengths":          "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
		"a head without bound": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxAnswer) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			app := httptest.NewUnstartedServer(nil)
			defer app.Close()
			go func() {
				for {
					c, err := app.Listener.Accept()
					if err != nil {
						return
					}
					_, _ = c.Read(make([]byte, 4096))
					_, _ = io.WriteString(c, bytes)
					_ = c.Close()
				}
			}()
			w := newWorld(t, everything(), app, access.HTTP)
			got := w.get(t, "/open")
			assert.True(t, got.fromPage(), "%d", got.status)
			assert.Equal(t, access.Unreachable, got.by())
			state := w.bypass.Summary().Doors[0]
			assert.Equal(t, uint64(1), state.Failed)
			assert.Empty(t, state.Unreachable, "it took the connection")
		})
	}
}

func TestALoopEnds(t *testing.T) {
	var door string
	app := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		again, err := http.NewRequestWithContext(r.Context(), http.MethodGet, "http://"+door+"/open", nil)
		if err != nil {
			panic(err)
		}
		again.Header = r.Header.Clone()
		response, err := http.DefaultTransport.RoundTrip(again)
		if err != nil {
			panic(err)
		}
		defer func() { _ = response.Body.Close() }()
		w.WriteHeader(response.StatusCode)
	})
	w := newWorld(t, everything(), app, access.HTTP)
	door = w.address
	assert.Equal(t, http.StatusLoopDetected, w.get(t, "/open").status)

	direct := newWorld(t, everything(), newApp(t, echo), access.HTTP)
	got := direct.get(t, "/open", ViaHeader, "maintenance-fedcba9876543210/d1", ViaHeader, set+"/d2")
	assert.True(t, got.fromApp(), "other sets and doors are on the way to many an app")
	assert.Equal(t, []string{"maintenance-fedcba9876543210/d1", set + "/d2", set + "/d1"}, got.seen(t).Header[ViaHeader])
}

// TestOnlyWebSocketsAreSwitchedTo: HTTP/2 by upgrade would open the whole app to
// whoever may read one path of it.
func TestOnlyWebSocketsAreSwitchedTo(t *testing.T) {
	app := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		if up := r.Header.Get("Upgrade"); up != "" {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", up)
			w.WriteHeader(http.StatusSwitchingProtocols)
			return
		}
		echo(w, r)
	})
	w := newWorld(t, everything(), app, access.HTTP)
	for _, upgrade := range []string{"h2c", "TLS/1.0", "websocket, h2c", "h2c\r\nUpgrade: websocket", "foo", "f\xf6\xf6"} {
		got := raw(t, w.address, "GET /open HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nUpgrade: "+upgrade+"\r\n\r\n", false)
		assert.Equal(t, 200, got.status, upgrade)
		saw := got.seen(t)
		for _, name := range []string{"Upgrade", "Connection", "Http2-Settings"} {
			assert.NotContains(t, saw.Header, name, upgrade)
		}
	}
	got := raw(t, w.address, "POST /open HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n", false)
	assert.Equal(t, 200, got.status, "a WebSocket begins with GET")
	got = raw(t, w.address, "CONNECT app:80 HTTP/1.1\r\nHost: app:80\r\nMaintenance-Bypass: "+anna+"\r\n\r\n", false)
	assert.True(t, got.fromPage())
}

// socketApp speaks a WebSocket's handshake and then sends back what it gets.
func socketApp(t *testing.T) *httptest.Server {
	t.Helper()
	return newApp(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || r.Header.Get("Sec-Websocket-Key") == "" {
			echo(w, r)
			return
		}
		c, b, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n")
		_, _ = io.Copy(c, b)
	})
}

const socketHead = "GET %s HTTP/1.1\r\nHost: shop.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\nCookie: %s\r\n\r\n"

// openSocket switches to a WebSocket and says something.
func openSocket(t *testing.T, address, path, cookie string) (net.Conn, *http.Response) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = fmt.Fprintf(c, socketHead, path, cookie)
	require.NoError(t, err)
	reader := bufio.NewReader(c)
	response, err := http.ReadResponse(reader, nil)
	require.NoError(t, err)
	if response.StatusCode != http.StatusSwitchingProtocols {
		return c, response
	}
	_, err = io.WriteString(c, "hello")
	require.NoError(t, err)
	heard := make([]byte, 5)
	_, err = io.ReadFull(reader, heard)
	require.NoError(t, err)
	require.Equal(t, "hello", string(heard))
	return c, response
}

// ends waits until the other end closes.
func ends(t *testing.T, r io.Reader) {
	t.Helper()
	_, err := r.Read(make([]byte, 1))
	require.Error(t, err)
	assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it stays open")
}

func TestWebSockets(t *testing.T) {
	w := newWorld(t, access.Settings{BypassSecret: secret, ReadOnly: true}, socketApp(t), access.HTTP)
	_, refused := openSocket(t, w.address, "/", "")
	assert.Equal(t, 503, refused.StatusCode)
	cookie := w.cookie(t, anna)
	_, response := openSocket(t, w.address, "/", cookie)
	assert.Equal(t, "cookie", response.Header.Get(access.Header))
	assert.Equal(t, "x", response.Header.Get("Sec-Websocket-Accept"))
}

func TestWebSocketsCloseAtTheDrain(t *testing.T) {
	w := newWorld(t, everything(), socketApp(t), access.HTTP)
	c, _ := openSocket(t, w.address, "/open", "")
	w.bypass.Drain()
	ends(t, c)
	_, response := openSocket(t, w.address, "/open", "")
	assert.Equal(t, 503, response.StatusCode, "another Pod has it from here")
	assert.True(t, w.get(t, "/open").fromApp(), "all else goes on")
}

// TestRevoking: whoever is in by a token that is taken away is out at once, and nobody
// else is.
func TestRevoking(t *testing.T) {
	began := make(chan struct{}, 2)
	stream := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		began <- struct{}{}
		<-r.Context().Done()
	}
	sockets := socketApp(t)
	w := newWorld(t, everything(), sockets, access.HTTP)
	annas, jobs := w.cookie(t, anna), w.cookie(t, job)
	mine, _ := openSocket(t, w.address, "/", annas)
	others, _ := openSocket(t, w.address, "/", jobs)
	publics, _ := openSocket(t, w.address, "/open", "")

	events := newWorld(t, everything(), newApp(t, stream), access.HTTP)
	response, err := http.DefaultTransport.RoundTrip(events.ask(t, http.MethodGet, "/", access.Header, anna))
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	<-began

	for _, w := range []*world{w, events} {
		w.bypass.SetTokens("anna " + job + "x\njob " + job) // anna's is another
	}
	ends(t, mine)
	_, err = io.ReadAll(response.Body)
	assert.Error(t, err, "cut off, and not ended as if it were whole")
	for _, c := range []net.Conn{others, publics} {
		_, err := io.WriteString(c, "still")
		require.NoError(t, err)
		_, err = io.ReadFull(c, make([]byte, 5))
		assert.NoError(t, err)
	}
	assert.True(t, do(t, w.ask(t, http.MethodPost, "/", "Cookie", annas)).fromPage(), "an ended token")
	assert.True(t, do(t, w.ask(t, http.MethodPost, "/", access.Header, anna)).fromPage())
	w.bypass.NoTokens()
	ends(t, others)
	assert.True(t, do(t, w.ask(t, http.MethodPost, "/", access.Header, job)).fromPage(), "a missing Secret lets nobody in")
	assert.True(t, w.bypass.Summary().Secret.Missing)
}

// TestStreams: an answer arrives as the app sends it.
func TestStreams(t *testing.T) {
	events := make(chan string)
	app := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/open/events":
			w.Header().Set("Content-Type", "text/event-stream")
		case "/open/known":
			w.Header().Set("Content-Length", "6")
		}
		_ = http.NewResponseController(w).Flush()
		for range 2 {
			_, _ = io.WriteString(w, <-events)
			_ = http.NewResponseController(w).Flush()
		}
	})
	w := newWorld(t, everything(), app, access.HTTP)
	for _, path := range []string{"/open/events", "/open/chunks", "/open/known"} {
		response, err := http.DefaultTransport.RoundTrip(w.ask(t, http.MethodGet, path))
		require.NoError(t, err)
		for _, event := range []string{"one", "two"} {
			events <- event
			got := make([]byte, 3)
			_, err = io.ReadFull(response.Body, got)
			require.NoError(t, err, path)
			assert.Equal(t, event, string(got), path)
		}
		rest, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		assert.Empty(t, rest)
	}
}

// TestUploadsStream: content reaches the app as the client sends it.
func TestUploadsStream(t *testing.T) {
	parts := make(chan string, 2)
	app := newApp(t, func(_ http.ResponseWriter, r *http.Request) {
		b := make([]byte, 4)
		_, _ = io.ReadFull(r.Body, b)
		parts <- string(b)
		rest, _ := io.ReadAll(r.Body)
		parts <- string(rest)
	})
	w := newWorld(t, everything(), app, access.HTTP)
	r, sends := io.Pipe()
	upload := w.ask(t, http.MethodPost, "/open/x")
	upload.Body = r
	done := make(chan error, 1)
	go func() {
		response, err := http.DefaultTransport.RoundTrip(upload)
		if err == nil {
			_ = response.Body.Close()
		}
		done <- err
	}()
	_, _ = io.WriteString(sends, "abcd")
	assert.Equal(t, "abcd", <-parts, "before the client has sent it all")
	_, _ = io.WriteString(sends, "efg")
	_ = sends.Close()
	assert.Equal(t, "efg", <-parts)
	require.NoError(t, <-done)
}

// TestExpect: the app, and not the door, says whether content should come.
func TestExpect(t *testing.T) {
	app := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/open/no" {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		echo(w, r)
	})
	w := newWorld(t, everything(), app, access.HTTP)
	for path, want := range map[string]string{"/open/yes": "HTTP/1.1 100 Continue\r\n", "/open/no": "HTTP/1.1 413 Request Entity Too Large\r\n"} {
		c, err := net.Dial("tcp", w.address)
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = io.WriteString(c, "PUT "+path+" HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
		require.NoError(t, err)
		reader := bufio.NewReader(c)
		line, err := reader.ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, want, line)
		if path == "/open/no" {
			continue
		}
		_, _ = reader.ReadString('\n')
		_, err = io.WriteString(c, "abc")
		require.NoError(t, err)
		response, err := http.ReadResponse(reader, nil)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		saw := answer{body: string(body)}.seen(t)
		assert.Equal(t, "abc", saw.Body)
		assert.Equal(t, []string{"100-continue"}, saw.Header["Expect"])
	}
}

// TestAsManyAsCanBe: beyond it everybody gets the page, those with a token a little later.
func TestAsManyAsCanBe(t *testing.T) {
	hold := make(chan struct{})
	var inside sync.WaitGroup
	app := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		inside.Done()
		<-hold
		echo(w, r)
	})
	w := newWorld(t, everything(), app, access.HTTP)
	var all sync.WaitGroup
	door := w.bypass.Doors()[0]
	serve := func(path string, n int, header ...string) {
		inside.Add(n)
		for range n {
			r := w.ask(t, http.MethodGet, path, header...)
			r.RequestURI = path
			all.Go(func() {
				rec := httptest.NewRecorder()
				door.ServeHTTP(rec, r)
				assert.Equal(t, "yes", rec.Header().Get("X-Echo"))
			})
		}
		inside.Wait()
	}
	serve("/read", maxReading)
	assert.Equal(t, access.Busy, w.get(t, "/read").by(), "whoever reads leaves places to open paths")
	serve("/open", MaxProxied-maxReading)
	got := w.get(t, "/open")
	assert.True(t, got.fromPage())
	assert.Equal(t, access.Busy, got.by())
	serve("/open", reserved, access.Header, anna)
	got = w.get(t, "/open", access.Header, anna)
	assert.True(t, got.fromPage())
	inside.Add(2)
	close(hold)
	all.Wait()
	assert.True(t, w.get(t, "/open").fromApp(), "places are given back")
	assert.True(t, w.get(t, "/read").fromApp(), "those for reading too")
	assert.Equal(t, uint64(3), w.bypass.Summary().Page[access.Busy])
}

// TestSpeaksAsTheDoorSays, and where it says nothing as it was spoken to.
func TestSpeaksAsTheDoorSays(t *testing.T) {
	protocols := func(set func(*http.Protocols)) *http.Protocols {
		p := &http.Protocols{}
		set(p)
		return p
	}
	newServer := func(scheme access.Scheme) *httptest.Server {
		app := httptest.NewUnstartedServer(http.HandlerFunc(echo))
		app.EnableHTTP2 = true
		app.Config.Protocols = protocols(func(p *http.Protocols) {
			p.SetHTTP1(true)
			p.SetHTTP2(true)
			p.SetUnencryptedHTTP2(true)
		})
		if scheme == access.HTTPS {
			app.StartTLS()
		} else {
			app.Start()
		}
		t.Cleanup(app.Close)
		return app
	}
	type client struct {
		url string
		set func(*http.Protocols)
	}
	one := client{"http://", func(p *http.Protocols) { p.SetHTTP1(true) }}
	prior := client{"http://", func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }}
	secure := client{"https://", func(p *http.Protocols) { p.SetHTTP1(true) }}
	secure2 := client{"https://", func(p *http.Protocols) { p.SetHTTP2(true) }}
	for _, test := range []struct {
		door, app access.Scheme
		client    client
		want      string
	}{
		{access.HTTP, access.HTTP, secure2, "HTTP/1.1 "},
		{access.HTTPS, access.HTTPS, one, "HTTP/1.1 TLS for shop.example"},
		{access.HTTPS, access.HTTPS, prior, "HTTP/2.0 TLS for shop.example"},
		{access.H2C, access.HTTP, one, "HTTP/2.0 "},
		{access.Auto, access.HTTP, one, "HTTP/1.1 "},
		{access.Auto, access.HTTP, prior, "HTTP/2.0 "},
		{access.Auto, access.HTTPS, secure, "HTTP/1.1 TLS for shop.example"},
		{access.Auto, access.HTTPS, secure2, "HTTP/2.0 TLS for shop.example"},
	} {
		w := newWorld(t, everything(), newServer(test.app), test.door)
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, test.client.url+w.address+"/a%2Fb?c", strings.NewReader("content"))
		require.NoError(t, err)
		r.Host = "Shop.example:8443"
		r.Header.Set(access.Header, anna)
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, Protocols: protocols(test.client.set), DisableKeepAlives: true}
		response, err := transport.RoundTrip(r)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		_ = response.Body.Close()
		saw := answer{status: response.StatusCode, body: string(body)}.seen(t)
		assert.Equal(t, test.want, saw.Proto+" "+saw.TLS, "%+v", test)
		assert.Equal(t, []string{"/a%2Fb?c", "Shop.example:8443", "content"}, []string{saw.URI, saw.Host, saw.Body})
	}
}

// TestNamesThatTLSCannotAskFor are asked for by the door's own.
func TestNamesThatTLSCannotAskFor(t *testing.T) {
	d := newWays(access.Door{Scheme: access.HTTPS, Host: "app.shop.svc", Port: 443})
	for host, want := range map[string]string{
		"Shop.Example:8443": "shop.example:443", "my_app.example": "my_app.example:443", "shop.example.": "shop.example:443",
		"": "app.shop.svc:443", "[::1]:80": "app.shop.svc:443", "a/b": "app.shop.svc:443", "é": "app.shop.svc:443", strings.Repeat("a", 254): "app.shop.svc:443",
	} {
		assert.Equal(t, way{"https", want}, d.to(&http.Request{Host: host}), host)
	}
}
