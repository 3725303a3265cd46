package bypass

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/access"
)

// TestSmuggling: the content of a request is never read as another request, neither by the
// door nor by the app, whichever of length and chunks a proxy in front believed.
func TestSmuggling(t *testing.T) {
	paths := make(chan string, 20)
	app := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		paths <- r.URL.Path
		_, _ = fmt.Fprintf(w, "%d", len(body))
	})
	w := newWorld(t, everything(), app, access.HTTP)
	const hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + access.Header + ": " + anna + "\r\n\r\n"
	chunked := "0\r\n\r\n" + hidden
	for name, request := range map[string]string{
		"length and chunks":      "POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: " + fmt.Sprint(len(chunked)) + "\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked,
		"chunks, and more after": "POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked,
		"chunks after a 100":     "POST /open HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked,
		"two lengths":            "POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 9\r\n\r\n" + hidden,
		"another coding":         "POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n" + chunked,
		"two codings":            "POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" + chunked,
		"a length with a sign":   "POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n" + hidden,
		"a folded line":          "POST /open HTTP/1.1\r\nHost: a\r\nX: y\r\n Content-Length: 0\r\n\r\n" + hidden,
	} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", w.address)
			require.NoError(t, err)
			defer func() { _ = c.Close() }()
			require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
			_, err = io.WriteString(c, request)
			require.NoError(t, err)
			everything, _ := io.ReadAll(c)
			assert.NotEmpty(t, everything)
			if strings.Contains(name, "chunks") {
				assert.Equal(t, 1, strings.Count(string(everything), "Connection: close\r\n"), "%s", everything)
			}
			for len(paths) > 0 {
				path := <-paths
				if name == "a folded line" && path == "/hidden" {
					continue // it really is a request: the one before has no content
				}
				assert.Equal(t, "/open", path, "%s", everything)
			}
		})
	}
}

// TestConnectionHeaderRemovesNothing: a client cannot remove the headers in which the
// proxies in front describe it.
func TestConnectionHeaderRemovesNothing(t *testing.T) {
	w := newWorld(t, everything(), newApp(t, echo), access.HTTP)
	got := raw(t, w.address, "GET /open HTTP/1.1\r\nHost: a\r\nConnection: close, X-Forwarded-For, X-Forwarded-Port, X-Real-Ip, Forwarded, "+ViaHeader+"\r\n"+
		"X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Port: 443\r\nX-Real-Ip: 203.0.113.7\r\nForwarded: for=203.0.113.7\r\n\r\n", false)
	saw := got.seen(t)
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Port", "X-Real-Ip", "Forwarded", ViaHeader} {
		assert.Len(t, saw.Header[name], 1, name)
	}
}

// TestPathTricks: in no form of its target does a request without a token get out of the
// open paths.
func TestPathTricks(t *testing.T) {
	w := newWorld(t, access.Settings{OpenPaths: []string{"/open"}}, newApp(t, echo), access.HTTP)
	for _, target := range []string{
		"/open/../secret", "/open/..%2fsecret", "/open%2f..%2fsecret", "/open/%2e%2e/secret", "/open/..;/secret", "/open;/../secret", `/open\..\secret`,
		"/open//../secret", "//open", "/open%00/../secret", "/open/%252e%252e/secret", "/./open", "/Open", "/opened", "/%6fpen/%2E./x",
		"http://shop.example/open/../secret", "http://open/secret", "http://shop.example//open", "*",
	} {
		method := map[bool]string{true: "OPTIONS", false: "POST"}[target == "*"]
		got := raw(t, w.address, method+" "+target+" HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n", false)
		assert.True(t, got.fromPage(), "%s: %d", target, got.status)
	}
	got := raw(t, w.address, "POST http://shop.example/%6fpen/x?y HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n", false)
	saw := got.seen(t)
	assert.Equal(t, []string{"/%6fpen/x?y", "shop.example"}, []string{saw.URI, saw.Host})
	for _, name := range []string{"X-Original-URL", "X-Rewrite-URL", "X_Original_URL"} {
		assert.True(t, w.get(t, "/open", name, "/secret").fromPage(), name)
	}
}

// TestStalledClients: clients that stall lose their place.
func TestStalledClients(t *testing.T) {
	const stall = 200 * time.Millisecond
	large := make([]byte, 1<<20)
	began := make(chan struct{}, 10)
	app := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		switch r.URL.Path {
		case "/open/flood":
			for {
				if _, err := w.Write(large); err != nil {
					return
				}
			}
		default:
			_, _ = io.Copy(io.Discard, r.Body)
		}
	})
	w := newWorld(t, everything(), app, access.HTTP)
	w.bypass.StallTimeout = stall
	for _, request := range []string{
		"GET /open/flood HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /open/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx",
	} {
		c, err := net.Dial("tcp", w.address)
		require.NoError(t, err)
		defer func() { _ = c.Close() }()
		_, err = io.WriteString(c, request)
		require.NoError(t, err)
		<-began
		require.Eventually(t, func() bool { return w.bypass.places.taken.Load() == 0 }, 20*time.Second, time.Millisecond)
	}
	assert.Empty(t, w.bypass.Summary().Doors[0].Unreachable, "it is not the app's fault")
}

// TestPausesOfTheApp: clients that wait for the app, for more of a response or for its end, keep
// their place.
func TestPausesOfTheApp(t *testing.T) {
	t.Parallel()
	const stall = 2 * time.Second // a busy machine does not take as long for a write
	app := newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		for _, pause := range []time.Duration{stall * 5 / 4, 0, stall * 5 / 4} {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(pause)
		}
	})
	w := newWorld(t, everything(), app, access.HTTP)
	w.bypass.StallTimeout = stall
	for name, protocol := range map[string]func(*http.Protocols){
		"HTTP/1": func(p *http.Protocols) { p.SetHTTP1(true) }, "HTTP/2": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var protocols http.Protocols
			protocol(&protocols)
			response, err := (&http.Transport{Protocols: &protocols, DisableKeepAlives: true}).RoundTrip(w.ask(t, http.MethodGet, "/open/events"))
			require.NoError(t, err)
			body, err := io.ReadAll(response.Body)
			require.NoError(t, err)
			assert.Equal(t, "xxx", string(body))
			_ = response.Body.Close()
		})
	}
}

// TestTruncatedResponses: half a response is not passed on as a complete one.
func TestTruncatedResponses(t *testing.T) {
	app := newApp(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	w := newWorld(t, everything(), app, access.HTTP)
	c, err := net.Dial("tcp", w.address)
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	_, err = io.WriteString(c, "GET /open HTTP/1.1\r\nHost: a\r\n\r\n")
	require.NoError(t, err)
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	require.NoError(t, err)
	_, err = io.ReadAll(response.Body)
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

// TestTokensAreNotLeaked: responses, metrics, logs and the summary do not have a token,
// wherever the request had it.
func TestTokensAreNotLeaked(t *testing.T) {
	w := newWorld(t, onlyTokens(), newApp(t, echo), access.HTTP)
	var all strings.Builder
	for _, a := range []answer{
		w.get(t, "/", access.Header, anna), w.get(t, "/", access.Header, anna+"x"),
		w.exchange(t, "/?maintenance-bypass", anna, true, "Sec-Fetch-Site", "same-origin"),
		w.exchange(t, "/?maintenance-bypass", anna+"x", false, "Sec-Fetch-Site", "same-origin"),
	} {
		fmt.Fprintln(&all, a.header, a.body)
	}
	rec := httptest.NewRecorder()
	w.bypass.WriteMetrics(rec.Body)
	fmt.Fprintln(&all, rec.Body, w.log.String(), w.bypass.Summary())
	assert.NotContains(t, all.String(), anna)
}
