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

// passage is one request on its way to the app and back.
type passage struct {
	door     *Door
	in       *http.Request
	decision access.Decision
	target   target
	closing  bool // the connection is not used again, see httpserve
	// unconnected says that a connection to the app was asked for and is not there: what
	// fails before is the request's fault, and what fails after may be.
	unconnected atomic.Bool
	status      int
	header      http.Header // of the answer to the client
}

func (p *passage) serve(ctx context.Context, w http.ResponseWriter) {
	s := p.door.server
	in := p.in.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { p.unconnected.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { p.unconnected.Store(false) },
	}))
	if _, ok := in.Header["Upgrade"]; ok && !isWebSocket(p.in) {
		in.Header = in.Header.Clone() // ReverseProxy refuses some, and switches to others
		delete(in.Header, "Upgrade")
	}
	content := newSteadyReader(w, in, s.Stall)
	in.Body = content
	out := newSteadyWriter(w, s.Stall)
	p.header = w.Header()
	delete(p.header, "Connection") // not in a 100; answer and failed say it
	proxy := httputil.ReverseProxy{
		Rewrite:        p.rewrite,
		Transport:      p.door.ways.of(in),
		FlushInterval:  -1,
		BufferPool:     &buffers,
		ErrorLog:       s.ErrorLog,
		ModifyResponse: p.answer,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if out.hijacked || content.broken.Load() || p.in.Context().Err() != nil {
				panic(http.ErrAbortHandler) // nobody waits for an answer
			}
			p.failed(ctx, w, err)
		},
	}
	defer p.note()
	if in.ProtoMajor == 1 {
		defer out.begin() // net/http sends the end of the answer, and takes the deadline back
	}
	proxy.ServeHTTP(out, in)
}

// isForwarded says whether a header tells the app whom the proxies in front speak for.
// It reaches the app as it came, for which the page is not there: ReverseProxy takes
// some off, and a client may have them all taken off by naming them in Connection.
func isForwarded(name string) bool {
	return name == "Forwarded" || name == "X-Real-Ip" || strings.HasPrefix(name, "X-Forwarded-")
}

// rewrite makes the request to the app: the one that came, but for what is between
// two programs (RFC 9110 7.6.1) or between us and the client.
func (p *passage) rewrite(r *httputil.ProxyRequest) {
	r.Out.URL = p.url()
	r.Out.Trailer = p.in.Trailer // its values come after the content
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

// url leads to the app with the path and the query as they came, to the byte. Only
// where a path begins with // as well as having characters that do not belong in one,
// those are percent-encoded.
func (p *passage) url() *url.URL {
	way := p.door.ways.to(p.in)
	u := &url.URL{Scheme: way.scheme, Host: way.host, RawQuery: p.target.query, ForceQuery: strings.HasSuffix(p.in.RequestURI, "?")}
	if strings.HasPrefix(p.target.path, "//") {
		u.RawPath = encodeOdd(p.target.path)
		u.Path, _ = url.PathUnescape(u.RawPath) // net/http could, or there were no request
	} else {
		u.Opaque = p.target.path
	}
	return u
}

// encodeOdd percent-encodes what net/url does not take for a path as it is, which
// would make it write the whole path anew.
func encodeOdd(path string) string {
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

// Headers that caches in front obey before Cache-Control (RFC 9213, and what came
// before it).
var targeted = [...]string{"Cdn-Cache-Control", "Cloudflare-Cdn-Cache-Control", "Surrogate-Control", "X-Accel-Expires"}

// answer makes the app's answer the client's: the one that came, and what let it
// through. What a token let through is nobody else's to see.
func (p *passage) answer(response *http.Response) error {
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
	p.door.failing.no()
	return nil
}

// failed gives the page where the app gave no answer that can be passed on.
func (p *passage) failed(ctx context.Context, w http.ResponseWriter, err error) {
	s := p.door.server
	p.status = 0
	if p.closing {
		w.Header().Set("Connection", "close") // as in answer
	}
	if ctx.Err() != nil { // the token was taken away, or the Pod is being stopped
		s.counts.refuse(access.WrongToken)
	} else {
		s.counts.refuse(whyUnreachable)
		p.door.failing.count.Add(1)
		if p.unconnected.Load() {
			p.door.failing.yes(s.Now(), err)
		}
		w.Header().Set(access.Header, access.Unreachable)
	}
	s.Page.ServeHTTP(w, p.in)
}

func (p *passage) note() {
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
