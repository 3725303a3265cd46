package bypass

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/page"
)

// ViaHeader lists the doors that a request has come through, in the request to the
// app: one that comes back to its own door would go round for ever.
const ViaHeader = "Maintenance-Bypass-Via"

// Door answers the requests that the ingress controller sends to one app.
type Door struct {
	access.Door
	server  *Server
	via     string // of this door in ViaHeader
	ways    ways
	through [len(bys)]counter
	failing failing
}

func newDoor(s *Server, d access.Door) *Door {
	return &Door{Door: d, server: s, via: s.PageSet + "/" + d.Name, ways: newWays(d)}
}

// ServeHTTP proxies who is let through, and gives everybody else the page. The ready
// path and the link come before all else.
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

// letThrough takes one of the places, for as long as the answer takes.
func (d *Door) letThrough(w http.ResponseWriter, r *http.Request, decision access.Decision, t target) {
	s := d.server
	if d.cameThrough(r) {
		s.counts.refuse(whyLoop)
		loop(w)
		return
	}
	socket := isWebSocket(r)
	if socket && s.draining.Load() {
		s.Page.ServeHTTP(w, r)
		return
	}
	if !s.places.take(decision) {
		s.counts.refuse(whyBusy)
		w.Header().Set(access.Header, access.Busy)
		s.Page.ServeHTTP(w, r)
		return
	}
	defer s.places.giveBack(decision)
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
	p := &passage{door: d, in: r, decision: decision, target: t, closing: w.Header().Get("Connection") == "close"}
	p.serve(ctx, w)
}

var (
	errRevoked  = errors.New("the token has been taken away")
	errDraining = errors.New("this Pod is being stopped")
)

// cameThrough says whether the app behind the door led a request back to it.
func (d *Door) cameThrough(r *http.Request) bool {
	for _, line := range r.Header[ViaHeader] {
		for via := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(via) == d.via {
				return true
			}
		}
	}
	return false
}

// loop is the answer to a request that would come back for ever (RFC 5842 7.2).
func loop(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusLoopDetected)
	_, _ = w.Write([]byte("the app behind the maintenance page leads back to it\n"))
}

// target is a request's target as it stands in the request.
type target struct{ path, query string }

// targetOf takes the target apart where it is in origin-form (RFC 9112 3.2.1), and
// else uses what net/http made of it.
func targetOf(r *http.Request) target {
	if strings.HasPrefix(r.RequestURI, "/") {
		path, query, _ := strings.Cut(r.RequestURI, "?")
		return target{path, query}
	}
	return target{r.URL.EscapedPath(), r.URL.RawQuery}
}

// isWebSocket says whether a request asks for the one protocol that is switched to:
// h2c would open the whole app, whatever is asked for in it.
func isWebSocket(r *http.Request) bool {
	upgrade := r.Header["Upgrade"]
	return r.Method == http.MethodGet && r.ProtoMajor == 1 && len(upgrade) == 1 && strings.EqualFold(upgrade[0], "websocket")
}
