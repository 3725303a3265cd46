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

// byName indexes checkers by namespace and name, over the watches of all namespaces.
const byName = "name"

// allCheckers indexes all checkers under one value.
const allCheckers = "all"

// cachedChecker is a checker as the watch keeps it.
type cachedChecker struct {
	*v1alpha1.ServiceChecker
	// unreadable says why the object could not be decoded, empty if it could: another CRD of this
	// name may be installed.
	unreadable string
}

// toCached converts an object of the API server. It never fails: an error would stop the watch of
// all checkers for one odd object.
func toCached(object any) (any, error) {
	u, ok := object.(*unstructured.Unstructured)
	if !ok {
		return object, nil
	}
	s := &cachedChecker{ServiceChecker: &v1alpha1.ServiceChecker{}}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, s.ServiceChecker); err != nil {
		s.unreadable = err.Error()
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
			if s, ok := object.(*cachedChecker); ok {
				return []string{nameOf(s).String()}, nil
			}
			return nil, nil
		},
		allCheckers: func(any) ([]string, error) { return []string{allCheckers}, nil },
	}, nil).Informer()
	err := informer.SetTransform(toCached)
	if err == nil {
		_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    r.changed,
			DeleteFunc: r.changed,
			UpdateFunc: func(_, now any) { r.changed(now) },
		})
	}
	if err != nil { // this fails only for an informer that has stopped
		r.config.Log.Error("cannot set up informer", zap.Error(err))
	}
	return informer
}

func nameOf(s *cachedChecker) types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
}

// find returns the checker as the watch shows it; nil if it does not exist.
func (r *Registry) find(key types.NamespacedName) *cachedChecker {
	var found *cachedChecker
	r.served.Each(byName, key.String(), func(_ string, object any) {
		if s, ok := object.(*cachedChecker); ok {
			found = s
		}
	})
	return found
}
