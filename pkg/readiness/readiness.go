// Package readiness says whether Services can serve, from their EndpointSlices, by watch.
//
// It is for every replica: it writes nothing. Whoever wants to know takes a namespace
// with Acquire and gives it back with release; only namespaces that somebody holds are
// watched. Take the new one before you release the old one, or the watch starts anew.
//
//	w := readiness.New(readiness.Config{Client: client, Log: log})
//	w.Notify(func(namespace, service string) { queue.Add(…) }) // "" = every Service of the namespace
//	release := w.Acquire("shop")
//	state := w.Of("shop", "my-app", intstr.FromInt32(80)) // intstr.IntOrString{} = whatever port
//
// Read a State from the top, and stop where it says no:
//
//	Known        else hold what you have: just started, no watch, or between two states
//	Judgeable    else it counts as serving: nobody can say (Message says why)
//	Ready > 0    endpoints take new connections. A Service that does not exist has none
//	Terminating  if none is ready, proxies send visitors to these while they last
//
// A Service in maintenance is judged by its origin Service, which leads to the app, and
// never by the Pods of the page.
package readiness

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
)

// State of a Service, or of one of its ports.
type State struct {
	// Known is false until the namespace has been read, and again once its watch has
	// been broken for 5s (a connection that died without a word is found out within 45s),
	// until a minute after one can be had at the latest; also while the EndpointSlices are
	// known to lag behind the Service. What was known before is the best guess then.
	Known bool
	// Exists says that the Service is there.
	Exists bool
	// Judgeable is false for a Service of which EndpointSlices do not tell whether it
	// can serve: an ExternalName, one without a selector, one that publishes addresses
	// that are not ready, a page set's own. One that does not exist is judged: it cannot.
	Judgeable bool
	// Ready counts the endpoints that are ready, each once: those of the address family
	// that has most, so that Pods of a dual-stack Service do not count twice.
	Ready int
	// Terminating counts endpoints that are on their way out and serve meanwhile. Proxies
	// use them only if none is ready (KEP-1669, as kube-proxy does), which Serving follows.
	Terminating int
	// Endpoints counts all, ready or not.
	Endpoints int
	// Since is when this process first saw the Service as it is now, as far as Known,
	// Exists, Judgeable and Ready > 0 go. It starts anew with the process.
	Since time.Time
	// Message says in words why no endpoint is ready, or why nobody can tell. It follows
	// the Service's name: "does not exist". Empty if there is nothing to say.
	Message string
}

// Serving counts the endpoints that get visitors: those that are ready, and if there are
// none, those that serve while they terminate.
func (s State) Serving() int {
	if s.Ready > 0 {
		return s.Ready
	}
	return s.Terminating
}

// Config of a Watcher.
type Config struct {
	Client kubernetes.Interface
	Log    *zap.Logger
	// Clock that Since and the time without a watch are told by; nil is the real one.
	Clock clock.WithDelayedExecution
}

// Watcher watches the Services and EndpointSlices of the namespaces that are held.
type Watcher struct {
	config Config

	mu         sync.Mutex
	namespaces map[string]*namespace
	run        func(*namespace) // starts the watch of one; nil unless Run works
	tell       []func(namespace, service string)
}

// New gives a Watcher that watches nothing yet.
func New(c Config) *Watcher {
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	return &Watcher{config: c, namespaces: map[string]*namespace{}}
}

// Run watches what is held, now and later, until ctx ends, and returns when the informers
// have. What was acquired before waits for it.
func (w *Watcher) Run(ctx context.Context) {
	var all sync.WaitGroup
	w.mu.Lock()
	w.run = func(n *namespace) { n.start(ctx, &all) }
	for _, n := range w.namespaces {
		w.run(n)
	}
	w.mu.Unlock()
	<-ctx.Done()
	w.mu.Lock()
	w.run = nil
	w.mu.Unlock()
	all.Wait()
}

// Acquire has a namespace watched until release is called, which may be done twice. Each
// holder has a release of its own; the last one ends the watch.
func (w *Watcher) Acquire(name string) (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.namespaces[name]
	if n == nil {
		n = newNamespace(name, w.config, w.notify)
		w.namespaces[name] = n
		if w.run != nil {
			w.run(n)
		}
	}
	n.holders++
	return sync.OnceFunc(func() { w.release(name) })
}

func (w *Watcher) release(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.namespaces[name]
	if n.holders--; n.holders == 0 {
		delete(w.namespaces, name)
		n.stop()
	}
}

// Held counts the namespaces that are watched.
func (w *Watcher) Held() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.namespaces)
}

// Of gives the state of a Service as seen through one of its ports, by number or by name;
// with the zero port through any of them. It asks nobody and is quick.
func (w *Watcher) Of(namespace, service string, port intstr.IntOrString) State {
	w.mu.Lock()
	n := w.namespaces[namespace]
	w.mu.Unlock()
	if n == nil {
		return State{Message: "is not watched"}
	}
	return n.of(service, port)
}

// Notify has f told, from now on, of each Service of which something changed that a State
// shows; an empty name stands for all Services of the namespace. f must be quick: it only
// enqueues.
func (w *Watcher) Notify(f func(namespace, service string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tell = append(w.tell, f)
}

func (w *Watcher) notify(namespace, service string) {
	w.mu.Lock()
	all := w.tell
	w.mu.Unlock()
	for _, f := range all {
		f(namespace, service)
	}
}
