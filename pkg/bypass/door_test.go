package bypass

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"

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
		{"a cookie under its plain name", "/", []string{"Cookie", strings.TrimPrefix(cookie, "__Host-")}, "cookie"},
		{"a cookie for another Secret", "/", []string{"Cookie", strings.Replace(cookie, access.CookieName(secret), access.CookieName("other"), 1)}, ""},
		{"an open path", "/open/x", nil, "path"},
		{"a path that begins alike", "/opened", nil, ""},
		{"a path that leads out of it", "/open/%2e%2e/x", nil, ""},
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
			assert.NotContains(t, fmt.Sprint(saw), "maintenance-bypass-", "the app does not see our cookies")
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
	assert.True(t, w.get(t, "/", "Cookie", cookie).fromPage(), "it has expired")
	for _, hidden := range []string{anna, job, cookie} {
		assert.NotContains(t, w.log.String(), hidden)
	}
	assert.Contains(t, w.log.String(), "Holder:anna")
}

// TestTokenResponsesAreNotCached: no cache may keep a response that a token or a cookie let
// through, whatever the app says. Responses that are open to everybody stay as the app says.
func TestTokenResponsesAreNotCached(t *testing.T) {
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
		assert.Len(t, got.header[access.Header], 1, "an app cannot claim what let the request through")
		assert.NotEqual(t, "path", got.by())
	}
	for target, by := range map[string]string{"/open": "path", "/": "method"} {
		got := w.get(t, target)
		assert.Equal(t, []string{"public, s-maxage=600"}, got.header["Cache-Control"])
		assert.Equal(t, "max-age=600", got.header.Get("CDN-Cache-Control"))
		assert.Equal(t, by, got.by())
	}
}

func TestReadyPathIsThePages(t *testing.T) {
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
	assert.True(t, w.get(t, "/x?a=1", access.Header, anna).fromApp(), "no Secret is named, so the header means nothing")
}

func TestUnreachableApp(t *testing.T) {
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
	w.later(failureLifetime)
	sum = w.bypass.Summary()
	assert.Empty(t, sum.Doors[0].Unreachable, "nobody has tried since")
	assert.Equal(t, uint64(2), sum.Doors[0].Failed)
}

// TestInvalidResponses: a response that no client would understand becomes the page, not a
// 502.
func TestInvalidResponses(t *testing.T) {
	for name, bytes := range map[string]string{
		"nothing":            "",
		"no HTTP":            "SSH-2.0-x\r\n\r\n",
		"another protocol":   "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"half a head":        "HTTP/1.1 200 OK\r\nContent-",
		"two lengths":        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
		"a head without end": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2*maxResponseHeader) + "\r\n\r\n",
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
			assert.Empty(t, state.Unreachable, "it accepted the connection")
		})
	}
}

func TestLoopIsDetected(t *testing.T) {
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
	assert.True(t, got.fromApp(), "a request may pass other page sets and doors")
	assert.Equal(t, []string{"maintenance-fedcba9876543210/d1", set + "/d2", set + "/d1"}, got.seen(t).Header[ViaHeader])
	refused := direct.get(t, "/open", ViaHeader, set+"/d1")
	assert.Equal(t, http.StatusLoopDetected, refused.status)
	assert.Equal(t, set, refused.header.Get(page.MarkerHeader), "the Pod itself answers")
	assert.Equal(t, "no-store", refused.header.Get("Cache-Control"))
}

// TestProxyLimits: beyond the limits requests get the page. Readers reach their limit first,
// and requests with a token last.
func TestProxyLimits(t *testing.T) {
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
	assert.Equal(t, access.Busy, w.get(t, "/read").by(), "readers leave places to open paths")
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
	assert.True(t, w.get(t, "/open").fromApp(), "places are released")
	assert.True(t, w.get(t, "/read").fromApp(), "those for readers too")
	assert.Equal(t, uint64(3), w.bypass.Summary().Page[access.Busy])
}
