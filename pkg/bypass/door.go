package bypass

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageserver"
)

// ViaHeader lists, in requests to an app, the doors that they have passed. A request that
// comes back to a door would go round for ever.
const ViaHeader = "Maintenance-Bypass-Via"

// Door answers the requests that the ingress controller sends to one app.
type Door struct {
	access.Door
	server     *Server
	via        string // this door in ViaHeader
	transports transports
	through    [len(bys)]counter // in the order of bys
	app        reachability
}

func newDoor(s *Server, d access.Door) *Door {
	return &Door{Door: d, server: s, via: s.PageSet + "/" + d.Name, transports: newTransports(d)}
}

// ServeHTTP proxies the requests that are let through, and gives all others the page. It
// handles the ready path and links first.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := d.server
	target := targetOf(r)
	if target.path == page.ReadyPath && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		s.Page.ServeHTTP(w, r)
		return
	}
	if s.link(w, r) {
		return
	}
	decision := s.rules().Decide(access.Request{
		Method: r.Method, Path: target.path, Query: target.query, Host: r.Host, Body: r.ContentLength != 0, Header: r.Header,
	}, s.Now())
	s.counts.refuse(decision.Why)
	if decision.By == "" {
		s.Page.ServeHTTP(w, r)
		return
	}
	d.letThrough(w, r, decision, target)
}

// letThrough proxies a request, if there is a place for it. It occupies the place until it
// has been answered.
func (d *Door) letThrough(w http.ResponseWriter, r *http.Request, decision access.Decision, t target) {
	s := d.server
	if d.hasPassed(r) {
		s.counts.refuse(whyLoop)
		writeLoop(w, s.PageSet)
		return
	}
	socket := isWebSocket(r)
	if socket && s.draining.Load() {
		s.Page.ServeHTTP(w, r)
		return
	}
	if !s.places.acquire(decision) {
		s.counts.refuse(whyBusy)
		w.Header().Set(access.Header, access.Busy)
		s.Page.ServeHTTP(w, r)
		return
	}
	defer s.places.release(decision)
	ctx, end := context.WithCancelCause(r.Context())
	defer end(nil)
	if decision.Token.Name != "" {
		release, ok := s.holders.Load().enter(decision.Token, s.Now(), func() { end(errRevoked) })
		if !ok {
			s.counts.refuse(access.WrongToken)
			s.Page.ServeHTTP(w, r)
			return
		}
		defer release()
	}
	if socket {
		defer s.sockets.add(func() { end(errDraining) })()
	}
	p := &proxied{door: d, in: r, decision: decision, target: t, closing: w.Header().Get("Connection") == "close"}
	p.serve(ctx, w)
}

var (
	errRevoked  = errors.New("the token was revoked")
	errDraining = errors.New("this Pod is being stopped")
)

// hasPassed says whether the app behind the door sent a request back to it.
func (d *Door) hasPassed(r *http.Request) bool {
	for _, line := range r.Header[ViaHeader] {
		for via := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(via) == d.via {
				return true
			}
		}
	}
	return false
}

// writeLoop answers a request that would come back for ever (RFC 5842 7.2).
func writeLoop(w http.ResponseWriter, set string) {
	h := w.Header()
	pageserver.SetCommon(h, set)
	h.Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusLoopDetected)
	_, _ = w.Write([]byte("the app behind the maintenance page leads back to the page\n"))
}

// target is a request's path and query, still percent-encoded.
type target struct{ path, query string }

// targetOf splits a target in origin-form (RFC 9112 3.2.1) itself, and otherwise uses
// what net/http made of it.
func targetOf(r *http.Request) target {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, query, _ := strings.Cut(r.RequestURI, "?")
		return target{path, query}
	}
	return target{r.URL.EscapedPath(), r.URL.RawQuery}
}

// isWebSocket says whether a request asks for a WebSocket, the only protocol that a door
// switches to: h2c would open the whole app to any request inside it.
func isWebSocket(r *http.Request) bool {
	upgrade := r.Header["Upgrade"]
	return r.Method == http.MethodGet && r.ProtoMajor == 1 && len(upgrade) == 1 && strings.EqualFold(upgrade[0], "websocket")
}
