package checker

import (
	"go.uber.org/zap"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"maintenance-controller.io/pkg/apis/v1alpha1"
)

// byName indexes checkers by their namespace and name, over the watches of all namespaces.
const byName = "name"

// all is an index of all checkers, under the same value.
const all = "all"

// stored is a checker as the watch keeps it.
type stored struct {
	*v1alpha1.ServiceChecker
	// wrong says why it could not be read, empty if it could: somebody has installed
	// another CRD of that name.
	wrong string
}

// read makes of what the API server shows what is kept. It never fails, or one odd object
// would stop the watch of all.
func read(object any) (any, error) {
	u, ok := object.(*unstructured.Unstructured)
	if !ok {
		return object, nil
	}
	s := &stored{ServiceChecker: &v1alpha1.ServiceChecker{}}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, s.ServiceChecker); err != nil {
		s.wrong = err.Error()
		s.Spec, s.Status = v1alpha1.ServiceCheckerSpec{}, v1alpha1.ServiceCheckerStatus{}
	}
	s.ObjectMeta.Namespace, s.ObjectMeta.Name = u.GetNamespace(), u.GetName()
	s.ObjectMeta.UID, s.ObjectMeta.ResourceVersion, s.ObjectMeta.Generation = u.GetUID(), u.GetResourceVersion(), u.GetGeneration()
	s.ObjectMeta.Labels, s.ObjectMeta.Annotations, s.ObjectMeta.ManagedFields, s.ObjectMeta.OwnerReferences = nil, nil, nil, nil
	return s, nil
}

func (r *Registry) informer(namespace string) cache.SharedIndexInformer {
	informer := dynamicinformer.NewFilteredDynamicInformer(r.config.Dynamic, v1alpha1.Resource(), namespace, 0, cache.Indexers{
		byName: func(object any) ([]string, error) {
			if s, ok := object.(*stored); ok {
				return []string{nameOf(s).String()}, nil
			}
			return nil, nil
		},
		all: func(any) ([]string, error) { return []string{all}, nil },
	}, nil).Informer()
	err := informer.SetTransform(read)
	if err == nil {
		_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    r.changed,
			DeleteFunc: r.changed,
			UpdateFunc: func(_, now any) { r.changed(now) },
		})
	}
	if err != nil { // they refuse only once they have stopped
		r.config.Log.Error("informer refused to be set up", zap.Error(err))
	}
	return informer
}

func nameOf(s *stored) types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
}

// find gives a checker as it is now, nil if there is none.
func (r *Registry) find(key types.NamespacedName) *stored {
	var found *stored
	r.served.Each(byName, key.String(), func(_ string, object any) {
		if s, ok := object.(*stored); ok {
			found = s
		}
	})
	return found
}
