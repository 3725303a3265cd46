// Package readiness watches whether Services can serve, by their EndpointSlices.
//
// It can run in every replica and writes nothing. Callers take a namespace with Acquire and give it
// back with release; only namespaces that somebody holds are watched. Take the new one before you
// release the old one, or the watch starts again.
//
//	w := readiness.New(readiness.Config{Client: client, Log: log})
//	w.OnChange(func(namespace, service string) { queue.Add(…) }) // "" = every Service of the namespace
//	release := w.Acquire("shop")
//	state := w.State("shop", "my-app", intstr.FromInt32(80)) // intstr.IntOrString{} = any port
//
// Read a State from the top, and stop at the first line that does not hold:
//
//	Known        else keep the previous state: just started, no watch, or in between two states
//	Judgeable    else it counts as serving: nobody can tell (Message says why)
//	Ready > 0    endpoints accept new connections. A Service that does not exist has none
//	Terminating  if none is ready, proxies send visitors to these until they stop
//
// A Service in maintenance is judged by its origin Service, which leads to the app, and never by the
// page Pods.
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
	// Known is false until the namespace has been read, and again once its watch has been broken for
	// 5s (a connection that dies silently is noticed within 45s), until at most a minute after a new
	// watch is possible. It is also false once the EndpointSlices are known to have lagged behind
	// the Service for 5s. Until it is true again, the previous state is the best guess.
	Known bool
	// Exists is true if the Service exists.
	Exists bool
	// Judgeable is false if EndpointSlices do not show whether the Service can serve: for an
	// ExternalName, a Service without a selector, one that publishes addresses that are not ready,
	// or one of a page set. A Service that does not exist is judged: it cannot serve.
	Judgeable bool
	// Ready counts the ready endpoints, each once, of the address family that has the most, so that
	// Pods of a dual-stack Service do not count twice.
	Ready int
	// Terminating counts endpoints that are terminating and still serve. Proxies use them only if
	// none is ready (KEP-1669, as in kube-proxy); Serving follows that rule.
	Terminating int
	// Endpoints counts all endpoints, ready or not.
	Endpoints int
	// Since is when this process first saw the Service in its current state, as given by Known,
	// Exists, Judgeable and Ready > 0. It starts again with the process.
	Since time.Time
	// Message says why no endpoint is ready, or why the Service cannot be judged. It follows the
	// Service's name: "does not exist". Empty if there is nothing to report.
	Message string
}

// Serving returns the number of endpoints that get visitors: the ready ones, and if there are none,
// those that serve while they terminate.
func (s State) Serving() int {
	if s.Ready > 0 {
		return s.Ready
	}
	return s.Terminating
}

// Config configures a Watcher. Client and Log are required.
type Config struct {
	Client kubernetes.Interface
	Log    *zap.Logger
	// Clock for Since and for the time without a watch; nil is the real one.
	Clock clock.WithDelayedExecution
}

// Watcher watches the Services and EndpointSlices of the namespaces that are held. It is safe for
// concurrent use.
type Watcher struct {
	config Config

	mu         sync.Mutex
	namespaces map[string]*namespace
	run        func(*namespace) // starts the watch of one; nil unless Run is active
	onChange   []func(namespace, service string)
}

// New returns a Watcher that watches nothing yet.
func New(c Config) *Watcher {
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	return &Watcher{config: c, namespaces: map[string]*namespace{}}
}

// Run watches the namespaces that are held, now and later, until ctx ends, and returns when its
// informers have stopped. Namespaces acquired before Run are watched from then on.
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

// Acquire has a namespace watched until release is called. Each holder has its own release, which
// may be called more than once; the last one ends the watch.
func (w *Watcher) Acquire(name string) (release func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.namespaces[name]
	if n == nil {
		n = newNamespace(name, w.config, w.notifyChanged)
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

// HeldNamespaces returns the number of namespaces that are watched.
func (w *Watcher) HeldNamespaces() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.namespaces)
}

// State returns the state of a Service through one of its ports, by number or name; with the zero
// port, through any of them. It sends no request and is quick. For a namespace that is not held the
// state is not Known.
func (w *Watcher) State(namespace, service string, port intstr.IntOrString) State {
	w.mu.Lock()
	n := w.namespaces[namespace]
	w.mu.Unlock()
	if n == nil {
		return State{Message: "is not watched"}
	}
	return n.state(service, port)
}

// OnChange registers f to be called with each Service whose State has changed; an empty name stands
// for all Services of the namespace. f must only enqueue.
func (w *Watcher) OnChange(f func(namespace, service string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onChange = append(w.onChange, f)
}

func (w *Watcher) notifyChanged(namespace, service string) {
	w.mu.Lock()
	all := w.onChange
	w.mu.Unlock()
	for _, f := range all {
		f(namespace, service)
	}
}
