// Package checker evaluates ServiceCheckers: which Services are up, judged by their endpoints and by
// how long they have been ready.
//
// A Registry works in every replica and writes nothing. The HTTP API asks it which Services there
// are, and maintenance/auto asks it for the verdict of a checker:
//
//	all, known := registry.Services()            // one entry a Service; keep the previous state while not known
//	v := registry.Verdict("shop", "my-checker")  // Unknown, Up, Down or Deleted, since when, and the causes
//	registry.OnChange(func(namespace, checker string) { … })
//
// A Writer, in the leader, writes what the Registry sees into the status of the checkers, and
// records Events.
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

// Clock is the clock that a Registry and a Writer need.
type Clock interface {
	clock.WithTicker
	clock.WithDelayedExecution
}

// Config configures a Registry. All fields but Clock, Namespaces, AcrossNamespaces and Observe are
// required.
type Config struct {
	Dynamic   dynamic.Interface            // to watch ServiceCheckers
	Discovery discovery.DiscoveryInterface // to learn whether their CRD is installed
	Readiness *readiness.Watcher           // run by the caller
	Log       *zap.Logger
	Clock     Clock // nil is the real one
	// Namespaces that are served; empty means all.
	Namespaces []string
	// AcrossNamespaces lets checkers name Services of other namespaces.
	AcrossNamespaces bool
	// DiscoveryInterval is how often to check whether the CRD exists; above 0.
	DiscoveryInterval time.Duration
	// Observe is called after each reconcile, see queue.Config; nil observes nothing.
	Observe func(queue, result string, took time.Duration)
}

// Service is what checkers know of a Service, combined from all that name it.
type Service struct {
	Namespace, Name string
	// Known is true if it can be judged now. Otherwise Ready is the last known value.
	Known bool
	// Ready is true if it can serve right now, for all checkers that name it.
	Ready bool
	// Critical is true if it is critical for any of them.
	Critical bool
	// ReadyEndpoints is the number of ready endpoints.
	ReadyEndpoints int
	// Since is when Ready last changed, as far as is known.
	Since time.Time
	// Message says why it is not ready; empty if there is nothing to report.
	Message string
}

// State of a checker.
type State int

// States of a checker. The zero value is Unknown.
const (
	// Unknown: the watch has just started or the API server cannot be watched, the CRD does not
	// exist, or the state of a critical service is unknown. Keep the previous state.
	Unknown State = iota
	// Up: no critical service counts as down.
	Up
	// Down: a critical service counts as down.
	Down
	// Deleted: the checker does not exist, or not any more.
	Deleted
)

// Verdict is a checker's verdict on its critical services.
type Verdict struct {
	State State // the zero value is Unknown
	// Since when the state holds, as far as this process has seen; zero while Unknown.
	Since time.Time
	// RecoverFor is the checker's spec.recoverFor, which Up and Down already take into account. For
	// Deleted it is the last value, or DefaultWait.
	RecoverFor time.Duration
	// Causes describe the critical services that count as down, in the order of the spec: "Service
	// data/db has no ready endpoint among 2". Nil unless Down.
	Causes []string
}

// Registry evaluates all checkers. It is safe for concurrent use.
type Registry struct {
	config Config
	served *watch.Served
	work   *queue.Queue[types.NamespacedName]

	mu          sync.Mutex
	checkers    map[types.NamespacedName]*evaluated
	byService   map[types.NamespacedName]map[types.NamespacedName]bool // by Service, the checkers that name it
	byNamespace map[string]map[types.NamespacedName]bool               // by namespace, the checkers that name a Service in it
	deleted     map[types.NamespacedName]deletion
	merged      []Service // cached for Services; nil after a change
	judgedOnce  bool      // all checkers have been judged once
	absentSince time.Time // when Verdict was first called for a checker that never existed
	onChange    []func(namespace, checker string)
	onEvaluated func(types.NamespacedName) // called after each evaluation
}

// deletion of a checker that existed.
type deletion struct {
	at         time.Time
	confirmed  time.Time // when the deletion was confirmed; zero until then
	recoverFor time.Duration
}

// New returns a Registry that has not started. It registers itself with Config.Readiness.
func New(c Config) *Registry {
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if len(c.Namespaces) == 0 {
		c.Namespaces = []string{""}
	}
	r := &Registry{
		config:      c,
		work:        queue.New[types.NamespacedName](queue.Config{Name: "checker", Log: c.Log, Observe: c.Observe, Clock: c.Clock}),
		checkers:    map[types.NamespacedName]*evaluated{},
		byService:   map[types.NamespacedName]map[types.NamespacedName]bool{},
		byNamespace: map[string]map[types.NamespacedName]bool{},
		deleted:     map[types.NamespacedName]deletion{},
	}
	r.served = watch.NewServed(
		watch.ServedConfig{Discovery: c.Discovery, Log: c.Log, Clock: c.Clock, Namespaces: c.Namespaces, DiscoveryInterval: c.DiscoveryInterval},
		watch.Resource{Name: v1alpha1.Kind, Resource: v1alpha1.Resource(), Custom: true, Informer: r.informer, OnGone: r.changed},
	)
	c.Readiness.OnChange(r.serviceChanged)
	return r
}

// Run evaluates checkers until ctx ends.
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

// OnChange registers f to be called with each checker whose Services or Verdict have changed. f must
// only enqueue.
func (r *Registry) OnChange(f func(namespace, checker string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.onChange = append(r.onChange, f)
}

func (r *Registry) notifyChanged(key types.NamespacedName) {
	r.mu.Lock()
	all := r.onChange
	r.mu.Unlock()
	for _, f := range all {
		f(key.Namespace, key.Name)
	}
}

// notifyEvaluated has the Writer check the status.
func (r *Registry) notifyEvaluated(key types.NamespacedName) {
	r.mu.Lock()
	poked := r.onEvaluated
	r.mu.Unlock()
	if poked != nil {
		poked(key)
	}
}

// changed is called with each object that is added, changed or deleted.
func (r *Registry) changed(object any) {
	if key, err := cache.DeletionHandlingObjectToName(object); err == nil {
		r.work.Add(types.NamespacedName(key))
	}
}

// serviceChanged is called by the readiness of Services.
func (r *Registry) serviceChanged(namespace, service string) {
	r.mu.Lock()
	concerned := r.byService[types.NamespacedName{Namespace: namespace, Name: service}]
	if service == "" {
		concerned = r.byNamespace[namespace]
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
