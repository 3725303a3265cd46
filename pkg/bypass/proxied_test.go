package bypass

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/access"
)

// raw sends bytes unchanged and reads one response.
func raw(t *testing.T, address, request string, secure bool) answer {
	t.Helper()
	var c net.Conn
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	require.NoError(t, err)
	defer func() { _ = c.Close() }()
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	if secure {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: "shop.example"})
	}
	_, err = io.WriteString(c, request)
	require.NoError(t, err)
	method, _, _ := strings.Cut(request, " ")
	reader := bufio.NewReader(c)
	response, err := http.ReadResponse(reader, &http.Request{Method: method})
	var early []string
	for ; err == nil && response.StatusCode < 200; response, err = http.ReadResponse(reader, &http.Request{Method: method}) {
		early = append(early, fmt.Sprint(response.StatusCode, response.Header))
	}
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	header := response.Header.Clone()
	for name, values := range response.Trailer {
		header["Trailer:"+name] = values
	}
	header["Transfer-Encoding"], header["Early"] = response.TransferEncoding, early
	return answer{response.StatusCode, header, string(body)}
}

// TestRequestsAreUnchanged compares what the app and the client see through a door with what
// they see without one, byte by byte.
func TestRequestsAreUnchanged(t *testing.T) {
	common := "X-Forwarded-For: 203.0.113.7, 10.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\nX-Forwarded-Port: 443\r\nForwarded: for=203.0.113.7;proto=https\r\n" +
		"X-Real-Ip: 203.0.113.7\r\nCookie: a=b; c=\"d\"\r\nAuthorization: Basic eDp5\r\nX-Empty:\r\nX-Twice: 1\r\nX-Twice: 2\r\nX-Utf8: \xc3\xa9\r\nVia: 1.1 front\r\nDate: Thu, 26 Nov 2026 10:00:00 GMT\r\nAccept-Encoding: gzip, br\r\n"
	head := func(line string) string { return line + " HTTP/1.1\r\nHost: Shop.Example:8443\r\n" + common }
	for name, request := range map[string]string{
		"a page":                  head("GET /a?b=c&d") + "\r\n",
		"HEAD":                    head("HEAD /") + "\r\n",
		"no user agent, no query": head("GET /?") + "\r\n",
		"a user agent":            head("GET /") + "User-Agent: curl\r\n\r\n",
		"odd paths":               head("GET //a//b/../c/./%2F%2f%5C;x=y/%41é\"<>|^`{}#z") + "\r\n",
		"more odd paths":          head("GET /a//b/../c/./%2F%2f%5C;x=y/%41é\"<>|^`{}\\#z?a;b&%zz=%&c=é\"") + "\r\n",
		"a range":                 head("GET /x") + "Range: bytes=1-2\r\nIf-None-Match: \"a\"\r\n\r\n",
		"content":                 head("POST /a") + "Content-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello",
		"no content":              head("POST /a") + "Content-Length: 0\r\n\r\n",
		"content in chunks":       head("PUT /a") + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
		"trailers":                head("POST /a") + "Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n",
		"an unusual method":       head("PROPFIND /a") + "Depth: 1\r\n\r\n",
		"DELETE with content":     head("DELETE /a") + "Content-Length: 2\r\n\r\n{}",
		"GET with content":        head("GET /a") + "Content-Length: 2\r\n\r\n{}",
		"OPTIONS *":               head("OPTIONS *") + "\r\n",
		"TE":                      head("GET /a") + "TE: trailers\r\n\r\n",
	} {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, secure %v", name, secure), func(t *testing.T) {
				app := httptest.NewUnstartedServer(http.HandlerFunc(echo))
				app.Config.DisableGeneralOptionsHandler = true
				scheme := access.HTTP
				if secure {
					scheme = access.HTTPS
					app.StartTLS()
				} else {
					app.Start()
				}
				defer app.Close()
				w := newWorld(t, everything(), app, scheme)
				direct := raw(t, app.Listener.Addr().String(), request, secure)
				token := strings.Replace(request, "X-Real-Ip", access.Header+": "+anna+"\r\nX-Real-Ip", 1)
				through := raw(t, w.address, token, secure)

				assert.Equal(t, "header", through.by())
				through.header.Del(access.Header)
				assert.Equal(t, []string{"private, no-store"}, through.header["Cache-Control"])
				through.header.Del("Cache-Control")
				for _, a := range []answer{direct, through} {
					a.header.Del("Date")
					a.header.Del("Content-Length") // the echo includes ViaHeader
					a.header.Del("Connection")
				}
				assert.Equal(t, direct.status, through.status)
				assert.Equal(t, direct.header, through.header)
				if strings.HasPrefix(request, "HEAD") {
					return
				}
				want, got := direct.seen(t), through.seen(t)
				assert.Equal(t, []string{set + "/d1"}, got.Header[ViaHeader])
				got.Header.Del(ViaHeader)
				if strings.HasPrefix(want.URI, "//") {
					want.URI = strings.NewReplacer("é", "%C3%A9", `"`, "%22", "<", "%3C", ">", "%3E", "|", "%7C", "^", "%5E", "`", "%60", "{", "%7B", "}", "%7D", "#", "%23").Replace(want.URI)
				}
				assert.Equal(t, want, got)
			})
		}
	}
}

// TestResponsesAreUnchanged: the client gets the app's response as it is.
func TestResponsesAreUnchanged(t *testing.T) {
	app := newApp(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Set-Cookie"] = []string{"a=b; Path=/", "c=d"}
		h.Set("Cache-Control", "public, max-age=60")
		h.Set("Vary", "Accept")
		h.Set("Etag", `"x"`)
		h.Set("Server", "app/1")
		h.Set("X-Custom", "é")
		switch strings.TrimPrefix(r.URL.Path, "/open") {
		case "/bare":
			h["Content-Type"] = nil
			_, _ = io.WriteString(w, "<html>")
		case "/gone":
			w.WriteHeader(http.StatusNotModified)
		case "/early":
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
		case "/trailer":
			h.Set("Trailer", "X-Sum")
			_, _ = io.WriteString(w, "body")
			h.Set("X-Sum", "4")
			h.Set(http.TrailerPrefix+"X-Late", "5")
		case "/redirect":
			http.Redirect(w, r, "//other.example/", http.StatusFound)
		default:
			h.Set("Content-Type", "application/x-own")
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
		}
	})
	w := newWorld(t, everything(), app, access.HTTP)
	for _, path := range []string{"/bare", "/gone", "/early", "/trailer", "/redirect", "/large"} {
		request := "GET /open" + path + " HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n"
		direct := raw(t, app.Listener.Addr().String(), request, false)
		through := raw(t, w.address, request, false)
		assert.Equal(t, "path", through.by(), path)
		through.header.Del(access.Header)
		for _, a := range []answer{direct, through} {
			a.header.Del("Date")
			slices.Sort(a.header["Trailer"])
		}
		assert.Equal(t, direct, through, path)
	}
}
