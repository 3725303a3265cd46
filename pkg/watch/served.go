package watch

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
)

// Resource is a resource that Served watches.
type Resource struct {
	Name     string // identifies it in logs and in Each, such as the kind
	Resource schema.GroupVersionResource
	// Custom is true for resources of a CRD, which may not exist, be installed later, or be deleted.
	Custom bool
	// Informer returns an informer of the resource in a namespace, with its indexes and handlers set
	// up but not started.
	Informer func(namespace string) cache.SharedIndexInformer
	// OnGone is called with each object that was known when the resource was no longer served.
	OnGone func(object any)
}

// ServedConfig configures Served. All fields are required.
type ServedConfig struct {
	Discovery         discovery.DiscoveryInterface
	Log               *zap.Logger
	Clock             clock.WithTicker
	Namespaces        []string      // "" means all
	DiscoveryInterval time.Duration // how often to check which custom resources are served; above 0
}

// Served watches resources while the API server serves them.
type Served struct {
	config    ServedConfig
	resources []Resource

	mu         sync.RWMutex
	running    map[string]*runningWatch
	discovered map[string]probe // last result for each resource; missing until discovery has succeeded once
	triedAll   bool             // discovery of each has been tried once
}

// probe is the result of the last successful discovery of a resource.
type probe struct {
	there bool
	at    time.Time
}

// runningWatch is the watch of one resource.
type runningWatch struct {
	informers
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// NewServed returns a watch that has not started.
func NewServed(c ServedConfig, resources ...Resource) *Served {
	return &Served{config: c, resources: resources, running: map[string]*runningWatch{}, discovered: map[string]probe{}}
}

// Run watches until ctx ends, and returns when its informers have stopped.
func (s *Served) Run(ctx context.Context) {
	tick := s.config.Clock.NewTicker(s.config.DiscoveryInterval)
	defer tick.Stop()
	for {
		for _, r := range s.resources {
			s.discover(ctx, r)
		}
		s.mu.Lock()
		s.triedAll = true
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			for _, r := range s.resources {
				s.stop(r)
			}
			return
		case <-tick.C():
		}
	}
}

// discover starts or stops the watch of a resource depending on whether the API server serves it. A
// failed discovery changes nothing.
func (s *Served) discover(ctx context.Context, r Resource) {
	began := s.config.Clock.Now()
	there, err := s.serves(r)
	if err != nil {
		s.config.Log.Error("discovery failed: retrying", zap.String("kind", r.Name), zap.Error(err))
		return
	}
	s.mu.Lock()
	s.discovered[r.Name] = probe{there: there, at: began}
	_, running := s.running[r.Name]
	s.mu.Unlock()
	switch {
	case there && !running:
		s.start(ctx, r)
	case !there && running:
		s.config.Log.Info("kind is no longer served", zap.String("kind", r.Name))
		s.stop(r)
	}
}

func (s *Served) serves(r Resource) (bool, error) {
	if !r.Custom {
		return true, nil
	}
	group := r.Resource.GroupVersion().String()
	list, err := s.config.Discovery.ServerResourcesForGroupVersion(group)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("discover %s: %w", group, err)
	}
	return slices.ContainsFunc(list.APIResources, func(a metav1.APIResource) bool { return a.Name == r.Resource.Resource }), nil
}

func (s *Served) start(ctx context.Context, r Resource) {
	ctx, cancel := context.WithCancel(ctx)
	w := &runningWatch{cancel: cancel}
	for _, namespace := range s.config.Namespaces {
		w.informers = append(w.informers, r.Informer(namespace))
	}
	w.informers.start(ctx, &w.done)
	s.mu.Lock()
	s.running[r.Name] = w
	s.mu.Unlock()
	s.config.Log.Info("watching kind", zap.String("kind", r.Name))
}

func (s *Served) stop(r Resource) {
	s.mu.Lock()
	w := s.running[r.Name]
	delete(s.running, r.Name)
	s.mu.Unlock()
	if w == nil {
		return
	}
	w.cancel()
	w.done.Wait()
	for _, informer := range w.informers {
		for _, object := range informer.GetStore().List() {
			r.OnGone(object)
		}
	}
}

// Unsynced names the served resources that have not been read yet, sorted.
func (s *Served) Unsynced() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var names []string
	for name, w := range s.running {
		if !w.synced() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// HasSynced reports whether discovery of every resource has been tried, and all served resources
// have been read. A failed discovery delays only its own resource.
func (s *Served) HasSynced() bool {
	s.mu.RLock()
	first := s.triedAll
	s.mu.RUnlock()
	return first && len(s.Unsynced()) == 0
}

// LastDiscovery returns whether the resource of that name was served at its last successful
// discovery, and when that was; the zero time if none has succeeded.
func (s *Served) LastDiscovery(name string) (there bool, at time.Time) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.discovered[name].there, s.discovered[name].at
}

// Complete reports whether discovery of every resource has succeeded once, and all served resources
// have been read.
func (s *Served) Complete() bool {
	s.mu.RLock()
	looked := len(s.discovered)
	s.mu.RUnlock()
	return looked == len(s.resources) && s.HasSynced()
}

// Each calls f for every object that an index holds under a value, with the name of the object's
// resource.
func (s *Served) Each(index, value string, f func(name string, object any)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for name, w := range s.running {
		for _, object := range byIndex[any](w.informers, index, value) {
			f(name, object)
		}
	}
}
