package watch

import (
	"maps"
	"time"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// KindsConfig says which kinds of targets to watch, and how. All fields are required.
type KindsConfig struct {
	Metadata          metadata.Interface           // to watch targets
	Discovery         discovery.DiscoveryInterface // to learn which CRDs are installed
	Log               *zap.Logger
	Clock             clock.WithTicker
	Namespaces        []string         // "" means all
	Kinds             []target.Kind    // to watch
	Keys              annotations.Keys // names of the annotations that people write
	DiscoveryInterval time.Duration    // how often to check whether a kind's CRD exists; above 0
}

// rules say what the watch of a kind keeps of its targets, and whom it notifies.
type rules struct {
	indexers cache.Indexers
	reduce   cache.TransformFunc
	handler  func(target.Kind) cache.ResourceEventHandler
}

// watch returns the watch of the metadata of the kinds, which has not started.
func (c KindsConfig) watch(r rules) *Served {
	var resources []Resource
	for _, k := range c.Kinds {
		handler := r.handler(k)
		resources = append(resources, Resource{
			Name: k.Name, Resource: k.Resource, Custom: k.Custom, OnGone: handler.OnDelete,
			Informer: func(namespace string) cache.SharedIndexInformer {
				one := informers{metadatainformer.NewFilteredMetadataInformer(c.Metadata, k.Resource, namespace, 0, maps.Clone(r.indexers), nil).Informer()}
				one.transform(c.Log, r.reduce)
				one.setUp(c.Log, nil, handler)
				return one[0]
			},
		})
	}
	return NewServed(ServedConfig{
		Discovery: c.Discovery, Log: c.Log, Clock: c.Clock, Namespaces: c.Namespaces, DiscoveryInterval: c.DiscoveryInterval,
	}, resources...)
}

func refOf(kind string, m *metav1.PartialObjectMetadata) target.Ref {
	return target.Ref{Kind: kind, Namespace: m.Namespace, Name: m.Name}
}

// changed reports whether a target has changed in anything but its status.
func changed(before, after *metav1.PartialObjectMetadata) bool {
	if before.ResourceVersion == after.ResourceVersion {
		return false
	}
	return before.UID != after.UID ||
		before.Generation != after.Generation ||
		after.Generation == 0 || // the kind has no generations: any change may be one of the spec
		before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
		!maps.Equal(before.Annotations, after.Annotations)
}
