// Package checker keeps what ServiceCheckers say: which Services are up, by their
// endpoints, and by how long they have been.
//
// A Registry works in every replica and writes nothing. The HTTP API asks it which
// Services there are, and maintenance/auto what a checker says:
//
//	all, known := registry.Services()          // one entry a Service; hold while not known
//	v := registry.Down("shop", "my-checker")   // Unknown, Up, Down or Deleted, since when, and the causes
//	registry.Notify(func(namespace, checker string) { … })
//
// A Writer, in the leader, writes what the Registry sees into their status, and tells it.
package checker

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"maintenance-controller.io/pkg/apis/v1alpha1"
	"maintenance-controller.io/pkg/queue"
	"maintenance-controller.io/pkg/readiness"
	"maintenance-controller.io/pkg/watch"
)

// Clock of everything here.
type Clock interface {
	clock.WithTicker
	clock.WithDelayedExecution
}

// Config is what a Registry stands on.
type Config struct {
	Dynamic   dynamic.Interface
	Discovery discovery.DiscoveryInterface
	Readiness *readiness.Watcher // which somebody runs
	Log       *zap.Logger
	Clock     Clock // nil is the real one
	// Namespaces that are served; empty means all.
	Namespaces []string
	// AcrossNamespaces lets checkers name Services of other namespaces than their own.
	AcrossNamespaces bool
	// Discover is how often to check whether the CRD has come or gone; above 0.
	Discover time.Duration
	// Observe is told of each reconcile, see queue.Config; nil tells nobody.
	Observe func(queue, result string, took time.Duration)
}

// Service is what checkers know of a Service, of which all that name it agree on one.
type Service struct {
	Namespace, Name string
	// Known says whether it can be judged now. If not, Ready is what was known last.
	Known bool
	// Ready says whether it can serve right now, for all checkers that name it.
	Ready bool
	// Critical says that it is for any of them.
	Critical bool
	// ReadyEndpoints is how many endpoints are ready.
	ReadyEndpoints int
	// Since is when Ready last changed, as far as is known.
	Since time.Time
	// Message says why it is not ready; empty if there is nothing to say.
	Message string
}

// State of a checker.
type State int

// States of a checker. The zero value is Unknown.
const (
	// Unknown: it was just begun to look, the API server cannot be watched, the CRD is
	// not there, or of a critical service nothing is known. Whoever asks holds what it has.
	Unknown State = iota
	// Up: no critical service counts as down.
	Up
	// Down: one does.
	Down
	// Deleted: there is no such checker, or not any more.
	Deleted
)

// Verdict is what a checker says of its critical services.
type Verdict struct {
	State State
	// Since when the state is so, as far as this process has seen; zero while Unknown.
	Since time.Time
	// RecoverFor is the checker's spec.recoverFor, which is in Up and Down already; of a
	// checker that is Deleted, it is the one that it had, or the default.
	RecoverFor time.Duration
	// Causes name the critical services that count as down, in the order of the spec:
	// "Service data/db has no ready endpoint, of 2". Nil unless Down.
	Causes []string
}

// Registry keeps what all checkers say.
type Registry struct {
	config Config
	served *watch.Served
	work   *queue.Queue[types.NamespacedName]

	mu       sync.Mutex
	checkers map[types.NamespacedName]*checked
	naming   map[types.NamespacedName]map[types.NamespacedName]bool // by Service, the checkers that name it
	within   map[string]map[types.NamespacedName]bool               // by namespace, likewise
	deleted  map[types.NamespacedName]deletion
	merged   []Service // nil until somebody asks again
	begun    bool      // all have been judged once
	synced   time.Time // when it was first asked for a checker that was never there
	tell     []func(namespace, checker string)
	poked    func(types.NamespacedName) // told of each evaluation
}

// deletion of a checker that was there.
type deletion struct {
	at         time.Time
	since      time.Time // it is believed; zero until then
	recoverFor time.Duration
}

// New gives a Registry that has not started.
func New(c Config) *Registry {
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if len(c.Namespaces) == 0 {
		c.Namespaces = []string{""}
	}
	r := &Registry{
		config:   c,
		work:     queue.New[types.NamespacedName](queue.Config{Name: "checker", Log: c.Log, Observe: c.Observe, Clock: c.Clock}),
		checkers: map[types.NamespacedName]*checked{},
		naming:   map[types.NamespacedName]map[types.NamespacedName]bool{},
		within:   map[string]map[types.NamespacedName]bool{},
		deleted:  map[types.NamespacedName]deletion{},
	}
	r.served = watch.NewServed(
		watch.ServedConfig{Discovery: c.Discovery, Log: c.Log, Clock: c.Clock, Namespaces: c.Namespaces, Interval: c.Discover},
		watch.Resource{Name: v1alpha1.Kind, Resource: v1alpha1.Resource(), Custom: true, Informer: r.informer, Gone: r.changed},
	)
	c.Readiness.Notify(r.serviceChanged)
	return r
}

// Run keeps watch until ctx ends.
func (r *Registry) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { r.served.Run(ctx) })
	all.Go(func() { r.work.Run(ctx, 1, r.evaluate) })
	all.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.checkers {
		c.release(nil)
	}
}

// Notify has f told, from now on, of each checker of which something changed that Services
// or Down show. f must be quick: it only enqueues.
func (r *Registry) Notify(f func(namespace, checker string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tell = append(r.tell, f)
}

func (r *Registry) notify(key types.NamespacedName) {
	r.mu.Lock()
	all := r.tell
	r.mu.Unlock()
	for _, f := range all {
		f(key.Namespace, key.Name)
	}
}

// poke tells the Writer to look whether the status is as it should be.
func (r *Registry) poke(key types.NamespacedName) {
	r.mu.Lock()
	poked := r.poked
	r.mu.Unlock()
	if poked != nil {
		poked(key)
	}
}

// changed is told of each object that comes, changes or goes.
func (r *Registry) changed(object any) {
	if key, err := cache.DeletionHandlingObjectToName(object); err == nil {
		r.work.Add(types.NamespacedName(key))
	}
}

// serviceChanged is told by the readiness of Services.
func (r *Registry) serviceChanged(namespace, service string) {
	r.mu.Lock()
	concerned := r.naming[types.NamespacedName{Namespace: namespace, Name: service}]
	if service == "" {
		concerned = r.within[namespace]
	}
	keys := make([]types.NamespacedName, 0, len(concerned))
	for key := range concerned {
		keys = append(keys, key)
	}
	r.mu.Unlock()
	for _, key := range keys {
		r.work.Add(key)
	}
}
