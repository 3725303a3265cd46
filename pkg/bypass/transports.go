package bypass

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"

	"maintenance-controller.io/pkg/access"
)

// Bounds of connections to an app. The idle timeout is shorter than that of apps (2 s with
// gunicorn, 5 s with Node.js): otherwise a request could be sent on a connection that the
// app is closing.
const (
	dialTimeout           = 5 * time.Second
	handshakeTimeout      = 10 * time.Second
	idleTimeout           = 1500 * time.Millisecond
	expectContinueTimeout = time.Second
	maxIdleConns          = 256
	maxResponseHeader     = 256 << 10 // bytes
	http2Window           = 64 << 10  // bytes, of a stream and of a connection
)

// transports hold the connections to one app, by protocol. Each is created on first use.
type transports struct {
	door                     access.Door
	http, h2c, https, https2 func() *http.Transport
}

func newTransports(d access.Door) transports {
	address := net.JoinHostPort(d.Host, strconv.Itoa(d.Port))
	once := func(set func(*http.Protocols)) func() *http.Transport {
		return sync.OnceValue(func() *http.Transport { return newTransport(address, set) })
	}
	return transports{
		door:  d,
		http:  once(func(p *http.Protocols) { p.SetHTTP1(true) }),
		h2c:   once(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }),
		https: once(func(p *http.Protocols) { p.SetHTTP1(true) }),
		https2: once(func(p *http.Protocols) {
			p.SetHTTP1(true)
			p.SetHTTP2(true)
		}),
	}
}

// newTransport creates a transport that connects to the address, whatever the host in a
// request's URL is.
func newTransport(address string, set func(*http.Protocols)) *http.Transport {
	var protocols http.Protocols
	set(&protocols)
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		},
		// As ingress controllers do by default: the name in the certificate is seldom the
		// one under which Pods are reached.
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
		TLSHandshakeTimeout:    handshakeTimeout,
		DisableCompression:     true,
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    maxIdleConns,
		IdleConnTimeout:        idleTimeout,
		ExpectContinueTimeout:  expectContinueTimeout,
		MaxResponseHeaderBytes: maxResponseHeader,
		Protocols:              &protocols,
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerConnection: http2Window, MaxReceiveBufferPerStream: http2Window, MaxReadFrameSize: 16 << 10},
	}
}

// address is the URL scheme and host with which a request is sent to the app.
type address struct{ scheme, host string }

// scheme is the protocol for a request: the door's, or with access.Auto the request's own.
func (t transports) scheme(r *http.Request) access.Scheme {
	switch {
	case t.door.Scheme != access.Auto:
		return t.door.Scheme
	case r.TLS != nil:
		return access.HTTPS
	case r.ProtoMajor == 2:
		return access.H2C
	}
	return access.HTTP
}

// forRequest returns the transport for a request.
func (t transports) forRequest(r *http.Request) http.RoundTripper {
	switch t.scheme(r) {
	case access.H2C:
		return t.h2c()
	case access.HTTPS:
		if r.ProtoMajor == 2 {
			return t.https2()
		}
		return t.https()
	case access.HTTP, access.Auto:
	}
	return t.http()
}

// address returns where to send a request. With TLS the host is the name that the client
// asked for, if it is valid in SNI. Idle connections are kept by this host.
func (t transports) address(r *http.Request) address {
	port := ":" + strconv.Itoa(t.door.Port)
	if t.scheme(r) != access.HTTPS {
		return address{"http", t.door.Host + port}
	}
	if name := access.Hostname(r.Host); len(name) <= maxName && serverName.MatchString(name) {
		return address{"https", name + port}
	}
	return address{"https", t.door.Host + port}
}

const maxName = 253 // bytes of a DNS name

// serverName matches what is valid in SNI. Underscores occur in practice.
var serverName = regexp.MustCompile(`^[a-z0-9_]([-a-z0-9_.]*[a-z0-9_])?$`)
