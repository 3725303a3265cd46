package faultproxy

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/scheme"
)

// Faults of watches. A fault of any other call fits a watch as well.

// Cut breaks a watch off after a time.
func Cut(after time.Duration) *Fault {
	return &Fault{Name: "watch dropped", over: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), after)
			defer cancel()
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}}
}

// Stale holds the events of a watch back: each time that one comes, it and all
// after it wait for so long.
func Stale(wait time.Duration) *Fault {
	return &Fault{Name: "watch stale", over: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&held{ResponseWriter: w, request: r, wait: wait}, r)
		})
	}}
}

// held lets through what comes within an eighth of the wait after it has waited,
// so that a watch with many events falls behind in steps, not without end.
type held struct {
	http.ResponseWriter
	request *http.Request
	wait    time.Duration
	open    time.Time // until when nothing waits
}

func (h *held) Write(b []byte) (int, error) {
	if time.Now().After(h.open) {
		pause(h.request, h.wait)
		h.open = time.Now().Add(h.wait / 8)
	}
	return h.ResponseWriter.Write(b)
}

// Unwrap lets the proxy flush.
func (h *held) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Expire answers a watch as the API server does when it has forgotten the
// revision from which it was asked for: 200, and an event that says 410 Gone.
func Expire() *Fault {
	return &Fault{Name: "watch 410", over: func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := expire(w, r.Header.Get("Accept")); err != nil {
				status(w, http.StatusGone, metav1.StatusReasonExpired)
			}
		})
	}}
}

func expire(w http.ResponseWriter, accept string) error {
	info, ok := serializer(accept)
	if !ok {
		return fmt.Errorf("no media type of %q is known", accept)
	}
	gone := &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"},
		Status:   metav1.StatusFailure, Code: http.StatusGone, Reason: metav1.StatusReasonExpired, Message: "too old resource version, by the test",
	}
	raw, err := runtime.Encode(info.Serializer, gone)
	if err != nil {
		return fmt.Errorf("encode a status: %w", err)
	}
	event := &metav1.WatchEvent{Type: string(watch.Error), Object: runtime.RawExtension{Raw: raw}}
	stream := info.StreamSerializer
	w.Header().Set("Content-Type", info.MediaType+";stream=watch")
	if err := stream.Encode(event, stream.NewFrameWriter(w)); err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	return nil
}

// serializer is for the first media type that is accepted and known.
func serializer(accept string) (runtime.SerializerInfo, bool) {
	for _, accepted := range strings.Split(accept, ",") {
		mediaType, _, err := mime.ParseMediaType(accepted)
		if err != nil {
			continue
		}
		if info, ok := runtime.SerializerInfoForMediaType(scheme.Codecs.SupportedMediaTypes(), mediaType); ok && info.StreamSerializer != nil {
			return info, true
		}
	}
	return runtime.SerializerInfo{}, false
}

// Gate holds watches back for as long as it is shut.
type Gate struct {
	mu   sync.Mutex
	open chan struct{} // closed while the gate is open
}

// NewGate gives one that is open.
func NewGate() *Gate {
	g := &Gate{open: make(chan struct{})}
	close(g.open)
	return g
}

// Shut holds events back that come from now on.
func (g *Gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

// Open lets them through, in their order. It must be shut.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

// Hold sends the events of a watch through the gate.
func (g *Gate) Hold() *Fault {
	return &Fault{Name: "watch held", over: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&gated{ResponseWriter: w, ctx: r.Context(), gate: g}, r)
		})
	}}
}

type gated struct {
	http.ResponseWriter
	ctx  context.Context //nolint:containedctx // of the one request that it answers
	gate *Gate
}

func (g *gated) Write(b []byte) (int, error) {
	g.gate.mu.Lock()
	open := g.gate.open
	g.gate.mu.Unlock()
	select {
	case <-open:
		return g.ResponseWriter.Write(b)
	case <-g.ctx.Done():
		return 0, g.ctx.Err()
	}
}

// Unwrap lets the proxy flush.
func (g *gated) Unwrap() http.ResponseWriter { return g.ResponseWriter }
