package faultproxy

import (
	"bytes"
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

// Faults of watches. The faults of other calls can be used for watches as well.

// Cut ends a watch after a time.
func Cut(after time.Duration) *Fault {
	return cutBy(func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithTimeout(ctx, after)
	})
}

// cutBy ends a watch with the context that limit makes for it.
func cutBy(limit func(context.Context) (context.Context, context.CancelFunc)) *Fault {
	return &Fault{Name: "watch dropped", wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := limit(r.Context())
			defer cancel()
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}}
}

// Stale delays the events of a watch: each is passed on when this time has passed since it
// arrived. So a watch with many events lags, but does not fall further and further behind.
func Stale(wait time.Duration) *Fault {
	return &Fault{Name: "watch stale", wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			delayed := &delayedWriter{ResponseWriter: w, wait: wait, arrivals: make(chan arrival, 1000), gone: r.Context().Done()}
			var passing sync.WaitGroup
			passing.Go(delayed.pass)
			defer passing.Wait()
			defer close(delayed.arrivals)
			next.ServeHTTP(delayed, r)
		})
	}}
}

// delayedWriter takes a write at once and leaves it to pass: an event that waits must not hold
// up the next one, whose wait begins when it arrives.
type delayedWriter struct {
	http.ResponseWriter
	wait     time.Duration
	arrivals chan arrival
	gone     <-chan struct{} // closed when the client has disconnected
	mu       sync.Mutex      // of the ResponseWriter, which pass shares with those that flush
}

type arrival struct {
	at      time.Time
	content []byte
}

func (d *delayedWriter) Write(b []byte) (int, error) {
	d.arrivals <- arrival{time.Now(), bytes.Clone(b)}
	return len(b), nil
}

// pass passes on what has arrived, unless the client disconnects.
func (d *delayedWriter) pass() {
	for a := range d.arrivals {
		select {
		case <-time.After(time.Until(a.at.Add(d.wait))):
			d.mu.Lock()
			_, _ = d.ResponseWriter.Write(a.content) // a client that has disconnected needs no events
			d.mu.Unlock()
			_ = d.FlushError()
		case <-d.gone:
		}
	}
}

// FlushError is for http.ResponseController.
func (d *delayedWriter) FlushError() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return http.NewResponseController(d.ResponseWriter).Flush()
}

// Expire answers a watch like an API server that no longer has the requested revision:
// with status 200 and an event that says 410 Gone.
func Expire() *Fault {
	return &Fault{Name: "watch 410", wrap: func(http.Handler) http.Handler {
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
		return fmt.Errorf("none of the media types %q is known", accept)
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

// serializer returns the serializer of the first accepted media type that is known.
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

// Gate holds the events of watches back while it is shut.
type Gate struct {
	mu   sync.Mutex
	open chan struct{} // closed while the gate is open
}

// NewGate returns an open gate.
func NewGate() *Gate {
	g := &Gate{open: make(chan struct{})}
	close(g.open)
	return g
}

// Shut holds back all later events.
func (g *Gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

// Open passes them on, in order. The gate must be shut.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

// Hold makes the events of a watch pass through the gate.
func (g *Gate) Hold() *Fault {
	return &Fault{Name: "watch held", wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&gatedWriter{ResponseWriter: w, ctx: r.Context(), gate: g}, r)
		})
	}}
}

type gatedWriter struct {
	http.ResponseWriter
	ctx  context.Context //nolint:containedctx // of the one request that it answers
	gate *Gate
}

func (g *gatedWriter) Write(b []byte) (int, error) {
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

// Unwrap makes http.ResponseController find the writer's Flush.
func (g *gatedWriter) Unwrap() http.ResponseWriter { return g.ResponseWriter }
