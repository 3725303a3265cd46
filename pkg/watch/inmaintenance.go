package watch

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
)

// withState indexes the targets that have a state.
const withState = "with-state"

// InMaintenanceConfig configures InMaintenance. All fields are required.
type InMaintenanceConfig struct {
	KindsConfig
	// OnChange is called with each target that has, or had, a state when it changes. It must only
	// enqueue.
	OnChange func(target.Ref)
}

// InMaintenance watches the targets to which a controller has given a state, for readers that only
// need to know what is in maintenance. Of every other target it keeps only the key, which is the
// least that an informer needs. Any replica may run it: it does not matter which replica wrote the
// state.
type InMaintenance struct {
	config InMaintenanceConfig
	served *Served
}

// NewInMaintenance returns a watch that has not started.
func NewInMaintenance(c InMaintenanceConfig) *InMaintenance {
	m := &InMaintenance{config: c}
	m.served = c.watch(rules{indexers: cache.Indexers{withState: hasState}, reduce: m.reduce, handler: m.handler})
	return m
}

// Run watches until ctx ends, and returns when its informers have stopped.
func (m *InMaintenance) Run(ctx context.Context) { m.served.Run(ctx) }

// Complete reports whether it is known of every kind whether it is served, and all served kinds have
// been read.
func (m *InMaintenance) Complete() bool { return m.served.Complete() }

// Each calls f with every target that has a state, and the metadata kept of it. f must not change
// the metadata.
func (m *InMaintenance) Each(f func(target.Ref, *metav1.PartialObjectMetadata)) {
	m.served.Each(withState, withState, func(kind string, object any) {
		if o, ok := object.(*metav1.PartialObjectMetadata); ok {
			f(refOf(kind, o), o)
		}
	})
}

// Get returns the metadata kept of a target; false if the target has no state.
func (m *InMaintenance) Get(ref target.Ref) (*metav1.PartialObjectMetadata, bool) {
	return namedOf[*metav1.PartialObjectMetadata](m.served, ref.Kind, ref.Namespace, ref.Name)
}

// namedOf returns the object of that name of a watched resource.
func namedOf[T any](s *Served, resource, namespace, name string) (found T, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if w := s.running[resource]; w != nil {
		return getByName[T](w.informers, namespace, name)
	}
	return found, false
}

func (m *InMaintenance) reduce(object any) (any, error) {
	o, ok := object.(*metav1.PartialObjectMetadata)
	if !ok {
		return object, nil
	}
	if o.Annotations[annotations.State] == "" || pageset.Ours(o) {
		return cache.ExplicitKey(o.Namespace + "/" + o.Name), nil
	}
	out := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: o.Namespace, Name: o.Name, UID: o.UID, Generation: o.Generation, ResourceVersion: o.ResourceVersion, Annotations: map[string]string{},
	}}
	for key, value := range o.Annotations {
		if m.config.Keys.Relevant(key) && key != annotations.Original {
			out.Annotations[key] = value
		}
	}
	return out, nil
}

func hasState(object any) ([]string, error) {
	if _, ok := object.(*metav1.PartialObjectMetadata); ok {
		return []string{withState}, nil
	}
	return nil, nil
}

func (m *InMaintenance) handler(k target.Kind) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { m.notify(k, object) },
		UpdateFunc: func(old, now any) {
			before, ok1 := old.(*metav1.PartialObjectMetadata)
			after, ok2 := now.(*metav1.PartialObjectMetadata)
			if !ok1 || !ok2 || changed(before, after) {
				m.notify(k, old)
				m.notify(k, now)
			}
		},
		DeleteFunc: func(object any) { m.notify(k, object) },
	}
}

func (m *InMaintenance) notify(k target.Kind, object any) {
	if o, ok := eventObject[*metav1.PartialObjectMetadata](object); ok {
		m.config.OnChange(refOf(k.Name, o))
	}
}
