package bypass

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"maintenance-controller.io/pkg/access"
)

// proxied is a request that is being proxied to the app.
type proxied struct {
	door     *Door
	in       *http.Request
	decision access.Decision
	target   target
	closing  bool // the connection is not used again, see httpserve
	// connecting says that a connection to the app was requested and is not established
	// yet. A failure before that is the request's fault, and one after that may be.
	connecting atomic.Bool
	status     int         // of the app's response; 0 if there is none
	header     http.Header // of the response to the client
}

func (p *proxied) serve(ctx context.Context, w http.ResponseWriter) {
	s := p.door.server
	in := p.in.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { p.connecting.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { p.connecting.Store(false) },
	}))
	if _, ok := in.Header["Upgrade"]; ok && !isWebSocket(p.in) {
		in.Header = in.Header.Clone() // ReverseProxy refuses some protocols, and switches to others
		delete(in.Header, "Upgrade")
	}
	content := newStallReader(w, in, s.StallTimeout)
	in.Body = content
	out := newStallWriter(w, s.StallTimeout)
	p.header = w.Header()
	delete(p.header, "Connection") // it must not be in a 100: answer and fail set it later
	proxy := httputil.ReverseProxy{
		Rewrite:        p.rewrite,
		Transport:      p.door.transports.forRequest(in),
		FlushInterval:  -1,
		BufferPool:     &buffers,
		ErrorLog:       s.ErrorLog,
		ModifyResponse: p.answer,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if out.hijacked || content.broken.Load() || p.in.Context().Err() != nil {
				panic(http.ErrAbortHandler) // nobody waits for a response
			}
			p.fail(ctx, w, err)
		},
	}
	defer p.record()
	if in.ProtoMajor == 1 {
		defer out.setDeadline() // net/http sends the end of the response, and clears the deadline
	}
	proxy.ServeHTTP(out, in)
}

// isForwarded says whether proxies in front describe the client in this header. The app
// gets these headers unchanged, as it would without the page. ReverseProxy removes some of
// them, and a client could have all removed by naming them in Connection.
func isForwarded(name string) bool {
	return name == "Forwarded" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded-")
}

// rewrite makes the request to the app: the original one without what belongs to a single
// connection (RFC 9110 7.6.1) and what is only for the door.
func (p *proxied) rewrite(r *httputil.ProxyRequest) {
	r.Out.URL = p.url()
	r.Out.Trailer = p.in.Trailer // its values follow the content
	h := r.Out.Header
	for name, values := range p.in.Header {
		if isForwarded(name) {
			h[name] = values
		}
	}
	delete(h, access.Header)
	if lines, ok := h["Cookie"]; ok {
		if h["Cookie"] = access.WithoutCookies(lines); len(h["Cookie"]) == 0 {
			delete(h, "Cookie")
		}
	}
	h[ViaHeader] = append(slices.Clone(h[ViaHeader]), p.door.via)
}

// url is the app's address with the path and the query of the request, unchanged to the
// byte. The one exception: in a path that begins with //, characters that are not allowed
// in a path are percent-encoded.
func (p *proxied) url() *url.URL {
	address := p.door.transports.address(p.in)
	u := &url.URL{Scheme: address.scheme, Host: address.host, RawQuery: p.target.query, ForceQuery: strings.HasSuffix(p.in.RequestURI, "?")}
	if strings.HasPrefix(p.target.path, "//") {
		u.RawPath = encodeInvalid(p.target.path)
		u.Path, _ = url.PathUnescape(u.RawPath) // net/http has unescaped it already, so there is no error
	} else {
		u.Opaque = p.target.path
	}
	return u
}

// encodeInvalid percent-encodes what net/url does not accept in a path. If it were left,
// net/url would encode the whole path anew.
func encodeInvalid(path string) string {
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("/%-._~!$&'()*+,;=:@[]", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// Headers that caches in front prefer to Cache-Control (RFC 9213 and its predecessors).
var targeted = [...]string{"Cdn-Cache-Control", "Cloudflare-Cdn-Cache-Control", "Surrogate-Control", "X-Accel-Expires"}

// answer turns the app's response into the client's, and adds what let the request through.
// No cache may show others a response that a token let through.
func (p *proxied) answer(response *http.Response) error {
	p.status = response.StatusCode
	h := response.Header
	if p.decision.Token.Name != "" {
		h.Add("Cache-Control", "private, no-store")
		for _, name := range targeted {
			delete(h, name)
		}
	}
	h[access.Header] = []string{string(p.decision.By)}
	if p.closing && response.StatusCode != http.StatusSwitchingProtocols {
		p.header["Connection"] = []string{"close"}
	}
	if _, ok := h["Content-Type"]; !ok {
		p.header["Content-Type"] = nil // or net/http guesses one
	}
	p.door.app.restored()
	return nil
}

// fail serves the page because the app sent no response that can be passed on.
func (p *proxied) fail(ctx context.Context, w http.ResponseWriter, err error) {
	s := p.door.server
	p.status = 0
	if p.closing {
		w.Header().Set("Connection", "close") // as in answer
	}
	if ctx.Err() != nil { // the token was revoked, or the Pod is being stopped
		s.counts.refuse(access.WrongToken)
	} else {
		s.counts.refuse(whyUnreachable)
		p.door.app.failed.Add(1)
		if p.connecting.Load() {
			p.door.app.lost(s.Now(), err)
		}
		w.Header().Set(access.Header, access.Unreachable)
	}
	s.Page.ServeHTTP(w, p.in)
}

// record counts and logs the request.
func (p *proxied) record() {
	d := p.door
	if p.status != 0 {
		d.through[slices.Index(bys[:], p.decision.By)].Add(1)
	}
	if d.server.Log == nil {
		return
	}
	r := p.in
	d.server.Log(Entry{
		Remote: r.RemoteAddr, Protocol: r.Proto, Method: r.Method, Host: r.Host, Path: p.target.path, UserAgent: r.UserAgent(),
		Door: d.Name, Holder: p.decision.Token.Name, By: p.decision.By, Status: p.status,
	})
}
