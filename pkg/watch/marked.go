package watch

import (
	"context"
	"time"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
)

// marked is the index of the targets that have a state.
const marked = "marked"

// MarkedConfig is what the watch of marked targets stands on.
type MarkedConfig struct {
	Metadata   metadata.Interface
	Discovery  discovery.DiscoveryInterface
	Log        *zap.Logger
	Clock      clock.WithTicker
	Namespaces []string // "" is all of them
	Kinds      []target.Kind
	Keys       annotations.Keys
	Interval   time.Duration // between two checks whether kinds' CRDs have come or gone; above 0
	// Changed is told of each target that is marked, or was, when it changes.
	Changed func(target.Ref)
}

// Marked watches the targets that a controller has given a state, for those who only
// want to know what is in maintenance: of any other target it keeps the name alone, which
// is all that an informer needs. It also is a watch that anybody may run, of whichever
// replica: it does not matter who wrote the state.
type Marked struct {
	config MarkedConfig
	served *Served
}

// NewMarked gives a watch that has not started.
func NewMarked(c MarkedConfig) *Marked {
	m := &Marked{config: c}
	var resources []Resource
	for _, k := range c.Kinds {
		resources = append(resources, Resource{
			Name: k.Name, Resource: k.Resource, Custom: k.Custom, Gone: m.handler(k).OnDelete,
			Informer: func(namespace string) cache.SharedIndexInformer {
				one := informers{metadatainformer.NewFilteredMetadataInformer(c.Metadata, k.Resource, namespace, 0, cache.Indexers{marked: hasState}, nil).Informer()}
				one.transform(c.Log, m.reduce)
				one.set(c.Log, nil, m.handler(k))
				return one[0]
			},
		})
	}
	m.served = NewServed(ServedConfig{Discovery: c.Discovery, Log: c.Log, Clock: c.Clock, Namespaces: c.Namespaces, Interval: c.Interval}, resources...)
	return m
}

// Run watches until ctx ends, and returns when the informers have.
func (m *Marked) Run(ctx context.Context) { m.served.Run(ctx) }

// Complete says whether of every kind it is known whether it is there, and all that is
// there has been read.
func (m *Marked) Complete() bool { return m.served.Complete() }

// Each calls f with every target that has a state, and what is kept of it.
func (m *Marked) Each(f func(target.Ref, *metav1.PartialObjectMetadata)) {
	m.served.Each(marked, marked, func(kind string, object any) {
		if o, ok := object.(*metav1.PartialObjectMetadata); ok {
			f(refOf(kind, o), o)
		}
	})
}

// Get gives what is kept of a target, if it has a state.
func (m *Marked) Get(ref target.Ref) (*metav1.PartialObjectMetadata, bool) {
	return namedOf[*metav1.PartialObjectMetadata](m.served, ref.Kind, ref.Namespace, ref.Name)
}

// namedOf gives the object of a resource that Served watches.
func namedOf[T any](s *Served, resource, namespace, name string) (found T, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if w := s.running[resource]; w != nil {
		return named[T](w.informers, namespace, name)
	}
	return found, false
}

func (m *Marked) reduce(object any) (any, error) {
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
		if m.config.Keys.Keeps(key) && key != annotations.Original {
			out.Annotations[key] = value
		}
	}
	return out, nil
}

func hasState(object any) ([]string, error) {
	if _, ok := object.(*metav1.PartialObjectMetadata); ok {
		return []string{marked}, nil
	}
	return nil, nil
}

func (m *Marked) handler(k target.Kind) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(object any) { m.tell(k, object) },
		UpdateFunc: func(old, now any) {
			before, ok1 := old.(*metav1.PartialObjectMetadata)
			after, ok2 := now.(*metav1.PartialObjectMetadata)
			if !ok1 || !ok2 || changed(before, after) {
				m.tell(k, old)
				m.tell(k, now)
			}
		},
		DeleteFunc: func(object any) { m.tell(k, object) },
	}
}

func (m *Marked) tell(k target.Kind, object any) {
	if o, ok := seen[*metav1.PartialObjectMetadata](object); ok {
		m.config.Changed(refOf(k.Name, o))
	}
}
