package bypass

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/access"
)

// socketApp does a WebSocket's handshake and then echoes what it gets.
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

// openSocket opens a WebSocket and exchanges a message, if the request is let through.
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

// ends waits until the other side closes.
func ends(t *testing.T, r io.Reader) {
	t.Helper()
	_, err := r.Read(make([]byte, 1))
	require.Error(t, err)
	assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "it is still open")
}

// TestOnlyWebSocketUpgrades: an upgrade to HTTP/2 would open the whole app to everybody who
// may read one of its paths.
func TestOnlyWebSocketUpgrades(t *testing.T) {
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

func TestWebSockets(t *testing.T) {
	w := newWorld(t, access.Settings{BypassSecret: secret, ReadOnly: true}, socketApp(t), access.HTTP)
	_, refused := openSocket(t, w.address, "/", "")
	assert.Equal(t, 503, refused.StatusCode)
	cookie := w.cookie(t, anna)
	_, response := openSocket(t, w.address, "/", cookie)
	assert.Equal(t, "cookie", response.Header.Get(access.Header))
	assert.Equal(t, "x", response.Header.Get("Sec-Websocket-Accept"))
}

func TestDrainClosesWebSockets(t *testing.T) {
	w := newWorld(t, everything(), socketApp(t), access.HTTP)
	c, _ := openSocket(t, w.address, "/open", "")
	w.bypass.Drain()
	ends(t, c)
	_, response := openSocket(t, w.address, "/open", "")
	assert.Equal(t, 503, response.StatusCode, "clients reconnect to another Pod")
	assert.True(t, w.get(t, "/open").fromApp(), "other requests continue")
}

// TestRevokedTokens: when a token is revoked, its holder's requests end at once, and nobody
// else's.
func TestRevokedTokens(t *testing.T) {
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
		w.bypass.SetTokens("anna " + job + "x\njob " + job) // anna's token has changed
	}
	ends(t, mine)
	_, err = io.ReadAll(response.Body)
	assert.Error(t, err, "it is cut off, and does not look complete")
	for _, c := range []net.Conn{others, publics} {
		_, err := io.WriteString(c, "still")
		require.NoError(t, err)
		_, err = io.ReadFull(c, make([]byte, 5))
		assert.NoError(t, err)
	}
	assert.True(t, do(t, w.ask(t, http.MethodPost, "/", "Cookie", annas)).fromPage(), "a revoked token")
	assert.True(t, do(t, w.ask(t, http.MethodPost, "/", access.Header, anna)).fromPage())
	w.bypass.NoTokens()
	ends(t, others)
	assert.True(t, do(t, w.ask(t, http.MethodPost, "/", access.Header, job)).fromPage(), "a missing Secret lets nobody through")
	assert.True(t, w.bypass.Summary().Secret.Missing)
}
