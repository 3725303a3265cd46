package bypass

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/access"
)

// TestProtocolToTheApp: a door speaks the protocol of its scheme, or with access.Auto that of
// the request.
func TestProtocolToTheApp(t *testing.T) {
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

// TestInvalidServerNames: if the client's host is not valid in SNI, the door's host is used.
func TestInvalidServerNames(t *testing.T) {
	d := newTransports(access.Door{Scheme: access.HTTPS, Host: "app.shop.svc", Port: 443})
	for host, want := range map[string]string{
		"Shop.Example:8443": "shop.example:443", "my_app.example": "my_app.example:443", "shop.example.": "shop.example:443",
		"": "app.shop.svc:443", "[::1]:80": "app.shop.svc:443", "a/b": "app.shop.svc:443", "é": "app.shop.svc:443", strings.Repeat("a", 254): "app.shop.svc:443",
	} {
		assert.Equal(t, address{"https", want}, d.address(&http.Request{Host: host}), host)
	}
}
