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

// Resource is one of those that Served watches.
type Resource struct {
	Name     string // for logs and for Each, such as the kind
	Resource schema.GroupVersionResource
	// Custom resources come with a CRD, which may be absent, come later, or go.
	Custom bool
	// Informer gives an informer of the resource in a namespace, with indexes and
	// handlers, that has not started.
	Informer func(namespace string) cache.SharedIndexInformer
	// Gone is told of each object that was there when the resource went.
	Gone func(object any)
}

// ServedConfig is what Served stands on.
type ServedConfig struct {
	Discovery  discovery.DiscoveryInterface
	Log        *zap.Logger
	Clock      clock.WithTicker
	Namespaces []string      // "" is all of them
	Interval   time.Duration // between two checks which custom resources are served; above 0
}

// Served watches resources while the API server serves them.
type Served struct {
	config    ServedConfig
	resources []Resource

	mu      sync.RWMutex
	running map[string]*served
	looked  map[string]look // resources of which it has been known once whether they are there
	first   bool            // each has been looked for once
}

// look is what was found when a resource was last looked for.
type look struct {
	there bool
	at    time.Time
}

// served is the watch of one resource.
type served struct {
	informers
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// NewServed gives a watch that has not started.
func NewServed(c ServedConfig, resources ...Resource) *Served {
	return &Served{config: c, resources: resources, running: map[string]*served{}, looked: map[string]look{}}
}

// Run watches until ctx ends, and returns when the informers have.
func (s *Served) Run(ctx context.Context) {
	tick := s.config.Clock.NewTicker(s.config.Interval)
	defer tick.Stop()
	for {
		for _, r := range s.resources {
			s.follow(ctx, r)
		}
		s.mu.Lock()
		s.first = true
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

// follow starts or stops the watch of a resource as it comes and goes. A discovery
// that fails says nothing about it.
func (s *Served) follow(ctx context.Context, r Resource) {
	began := s.config.Clock.Now()
	there, err := s.serves(r)
	if err != nil {
		s.config.Log.Error("discovery failed: it will be tried again", zap.String("kind", r.Name), zap.Error(err))
		return
	}
	s.mu.Lock()
	s.looked[r.Name] = look{there: there, at: began}
	_, running := s.running[r.Name]
	s.mu.Unlock()
	switch {
	case there && !running:
		s.start(ctx, r)
	case !there && running:
		s.config.Log.Info("kind is not served any more", zap.String("kind", r.Name))
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
	w := &served{cancel: cancel}
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
			r.Gone(object)
		}
	}
}

// Unsynced names the resources that are there and have not been read yet.
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

// HasSynced says whether every resource has been looked for, and all that was found
// has been read. A discovery that fails holds up nothing but its own resource.
func (s *Served) HasSynced() bool {
	s.mu.RLock()
	first := s.first
	s.mu.RUnlock()
	return first && len(s.Unsynced()) == 0
}

// Looked says whether the resource of that name was served when it was last looked for, and
// when that was; zero if nobody knows yet.
func (s *Served) Looked(name string) (there bool, at time.Time) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.looked[name].there, s.looked[name].at
}

// Complete says whether of every resource it has been known whether it is there, and
// all that is there has been read.
func (s *Served) Complete() bool {
	s.mu.RLock()
	looked := len(s.looked)
	s.mu.RUnlock()
	return looked == len(s.resources) && s.HasSynced()
}

// Each calls f with the name of its resource for every object that an index holds
// under a value.
func (s *Served) Each(index, value string, f func(name string, object any)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for name, w := range s.running {
		for _, object := range indexed[any](w.informers, index, value) {
			f(name, object)
		}
	}
}
