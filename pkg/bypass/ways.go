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

// Bounds of connections to an app. They are kept for less than apps keep theirs (2 s
// with gunicorn, 5 s with Node.js), or a request would be sent into one that closes.
const (
	dialTime   = 5 * time.Second
	shakeTime  = 10 * time.Second
	idleTime   = 1500 * time.Millisecond
	continueIn = time.Second
	maxIdle    = 256
	maxAnswer  = 256 << 10 // bytes of an answer's head
	window     = 64 << 10  // of HTTP/2, a stream and a connection
)

// ways are the connections to one app, by the protocol that is spoken in them.
type ways struct {
	door                        access.Door
	http, h2c, https, httpsOver func() *http.Transport
}

func newWays(d access.Door) ways {
	address := net.JoinHostPort(d.Host, strconv.Itoa(d.Port))
	once := func(set func(*http.Protocols)) func() *http.Transport {
		return sync.OnceValue(func() *http.Transport { return newTransport(address, set) })
	}
	return ways{
		door:  d,
		http:  once(func(p *http.Protocols) { p.SetHTTP1(true) }),
		h2c:   once(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }),
		https: once(func(p *http.Protocols) { p.SetHTTP1(true) }),
		httpsOver: once(func(p *http.Protocols) {
			p.SetHTTP1(true)
			p.SetHTTP2(true)
		}),
	}
}

// newTransport connects to the address, whatever name a request has for it.
func newTransport(address string, set func(*http.Protocols)) *http.Transport {
	var protocols http.Protocols
	set(&protocols)
	dialer := &net.Dialer{Timeout: dialTime, KeepAlive: 15 * time.Second}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		},
		// As ingress controllers do unless they are told otherwise: the name in the
		// certificate is seldom the one that Pods are reached by.
		TLSClientConfig:        &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
		TLSHandshakeTimeout:    shakeTime,
		DisableCompression:     true,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdle,
		IdleConnTimeout:        idleTime,
		ExpectContinueTimeout:  continueIn,
		MaxResponseHeaderBytes: maxAnswer,
		Protocols:              &protocols,
		HTTP2:                  &http.HTTP2Config{MaxReceiveBufferPerConnection: window, MaxReceiveBufferPerStream: window, MaxReadFrameSize: 16 << 10},
	}
}

// way is how one request reaches the app.
type way struct{ scheme, host string }

// spoken is the scheme in which a request goes on: the door's, or as it came.
func (w ways) spoken(r *http.Request) access.Scheme {
	switch {
	case w.door.Scheme != access.Auto:
		return w.door.Scheme
	case r.TLS != nil:
		return access.HTTPS
	case r.ProtoMajor == 2:
		return access.H2C
	}
	return access.HTTP
}

func (w ways) of(r *http.Request) http.RoundTripper {
	switch w.spoken(r) {
	case access.H2C:
		return w.h2c()
	case access.HTTPS:
		if r.ProtoMajor == 2 {
			return w.httpsOver()
		}
		return w.https()
	case access.HTTP, access.Auto:
	}
	return w.http()
}

// to gives the host that connections are kept by, which TLS asks for (SNI).
func (w ways) to(r *http.Request) way {
	port := ":" + strconv.Itoa(w.door.Port)
	if w.spoken(r) != access.HTTPS {
		return way{"http", w.door.Host + port}
	}
	if name := access.Hostname(r.Host); len(name) <= maxName && serverName.MatchString(name) {
		return way{"https", name + port}
	}
	return way{"https", w.door.Host + port}
}

const maxName = 253

// serverName is what may stand in SNI, underscores included.
var serverName = regexp.MustCompile(`^[a-z0-9_]([-a-z0-9_.]*[a-z0-9_])?$`)
