// Package watch caches objects of the API server, and reports which key a change concerns. It
// decides nothing and writes nothing: callbacks only enqueue.
package watch

import (
	"context"
	"slices"
	"sync"

	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/cache"
)

// informers of one resource, one for each watched namespace.
type informers []cache.SharedIndexInformer

// setUp adds an index and a handler to each informer. That fails only for an informer that has
// stopped, which these have not. told reports whether the handler has seen all objects of the
// initial list.
func (all informers) setUp(log *zap.Logger, index cache.Indexers, handler cache.ResourceEventHandler) (told cache.InformerSynced) {
	var registered []cache.ResourceEventHandlerRegistration
	for _, informer := range all {
		if err := informer.AddIndexers(index); err != nil {
			log.Error("cannot set up informer", zap.Error(err))
		}
		r, err := informer.AddEventHandler(handler)
		if err != nil {
			log.Error("cannot set up informer", zap.Error(err))
			continue
		}
		registered = append(registered, r)
	}
	return func() bool {
		return !slices.ContainsFunc(registered, func(r cache.ResourceEventHandlerRegistration) bool { return !r.HasSynced() })
	}
}

// transform sets what each informer keeps of an object.
func (all informers) transform(log *zap.Logger, keep cache.TransformFunc) {
	for _, informer := range all {
		if err := informer.SetTransform(keep); err != nil {
			log.Error("cannot set up informer", zap.Error(err))
		}
	}
}

// start runs the informers until ctx ends.
func (all informers) start(ctx context.Context, wg *sync.WaitGroup) {
	for _, informer := range all {
		wg.Go(func() { informer.RunWithContext(ctx) })
	}
}

func (all informers) synced() bool {
	return !slices.ContainsFunc(all, func(i cache.SharedIndexInformer) bool { return !i.HasSynced() })
}

// byIndex lists the objects that the informers hold under a value of an index.
func byIndex[T any](all informers, index, value string) []T {
	var out []T
	for _, informer := range all {
		objects, err := informer.GetIndexer().ByIndex(index, value)
		if err != nil {
			continue // the index exists from the start
		}
		for _, object := range objects {
			if t, ok := object.(T); ok {
				out = append(out, t)
			}
		}
	}
	return out
}

// getByName returns the object of that name from whichever informer holds it.
func getByName[T any](all informers, namespace, name string) (found T, ok bool) {
	for _, informer := range all {
		object, exists, err := informer.GetIndexer().GetByKey(namespace + "/" + name)
		if err != nil || !exists {
			continue
		}
		if found, ok = object.(T); ok {
			return found, true
		}
	}
	return found, false
}

// eventObject returns the object of an event, even of a deletion that the watch missed.
func eventObject[T any](object any) (T, bool) {
	if d, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = d.Obj
	}
	t, ok := object.(T)
	return t, ok
}

func withoutManagedFields(object any) (any, error) {
	if m, err := meta.Accessor(object); err == nil {
		m.SetManagedFields(nil)
	}
	return object, nil
}
