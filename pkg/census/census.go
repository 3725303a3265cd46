// Package census asks the API server itself who uses which page set. The watches know targets by
// their annotations only, and may be out of date: a page set is deleted only after the census has
// named no user of it.
package census

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/pager"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
)

// Census lists objects, 500 at a time.
type Census struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	// SkipForbidden says whether a kind that may not be listed is skipped, because backups name its
	// targets. Nil skips none: a forbidden list is an error.
	SkipForbidden func(target.Kind) bool
}

// Objects calls see for every object of a kind in a namespace, "" for all, except our own. It reads
// objects in full: a copy of a target in maintenance points at a page but may have no annotation of
// ours. A kind that is not served has no objects and is no error.
func (c Census) Objects(ctx context.Context, kind target.Kind, namespace string, see func(*unstructured.Unstructured)) error {
	list := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return c.Dynamic.Resource(kind.Resource).Namespace(namespace).List(ctx, options)
	})
	err := list.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		if u, ok := object.(*unstructured.Unstructured); ok && !pageset.Ours(u) {
			see(u)
		}
		return nil
	})
	if err == nil || c.notServed(kind, err) {
		return nil
	}
	return fmt.Errorf("list %s: %w", kind.Name, err)
}

// notServed reports whether a LIST failed because its kind is not served. The API server checks
// permissions before it checks whether the kind exists.
func (c Census) notServed(kind target.Kind, err error) bool {
	if !kind.Custom || !apierrors.IsForbidden(err) {
		return kind.Custom && apierrors.IsNotFound(err)
	}
	served, err := c.Client.Discovery().ServerResourcesForGroupVersion(kind.APIVersion())
	if err != nil {
		return apierrors.IsNotFound(err)
	}
	return !slices.ContainsFunc(served.APIResources, func(a metav1.APIResource) bool { return a.Name == kind.Resource.Resource })
}

// Users calls use for each page set in a namespace, "" for all, and each of its users: objects of
// every kind whose annotation or backends name it, whichever kinds are served or restored, and
// targets whose backup names it. An error means that there may be users that it has not named.
func (c Census) Users(ctx context.Context, namespace string, use func(set pageset.ID, user target.Ref)) error {
	for _, kind := range target.Kinds() {
		err := c.Objects(ctx, kind, namespace, func(u *unstructured.Unstructured) {
			for _, set := range setsOf(kind, u) {
				use(pageset.ID{Namespace: u.GetNamespace(), Name: set}, target.Ref{Kind: kind.Name, Namespace: u.GetNamespace(), Name: u.GetName()})
			}
		})
		if err != nil && (c.SkipForbidden == nil || !c.SkipForbidden(kind) || !apierrors.IsForbidden(err)) {
			return err
		}
	}
	return c.Backups(ctx, namespace, func(cm *corev1.ConfigMap) {
		ref, b, _ := backup.Parse(cm)
		for _, set := range []string{b.Set, cm.Labels[annotations.PageSetLabel]} {
			if page.IsSetName(set) {
				use(pageset.ID{Namespace: cm.Namespace, Name: set}, ref)
			}
		}
	})
}

// Backups calls see for every backup in a namespace, "" for all.
func (c Census) Backups(ctx context.Context, namespace string, see func(*corev1.ConfigMap)) error {
	if err := c.configMaps(ctx, namespace, annotations.ComponentBackup, see); err != nil {
		return fmt.Errorf("list backups: %w", err)
	}
	return nil
}

// Origins calls see for every origin Service in a namespace, "" for all.
func (c Census) Origins(ctx context.Context, namespace string, see func(*corev1.Service)) error {
	err := each(ctx, annotations.ComponentOrigin, func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return c.Client.CoreV1().Services(namespace).List(ctx, options)
	}, see)
	if err != nil {
		return fmt.Errorf("list origin Services: %w", err)
	}
	return nil
}

// setNamePattern finds the names of page sets in an object that cannot be read.
var setNamePattern = regexp.MustCompile(`\bmaintenance-[0-9a-f]{16}\b`)

// setsOf lists the page sets that an object names, by its annotation or by a backend. If its shape
// is unknown, every name anywhere in its spec counts.
func setsOf(kind target.Kind, u *unstructured.Unstructured) []string {
	var sets []string
	if set := u.GetAnnotations()[annotations.PageSet]; page.IsSetName(set) {
		sets = append(sets, set)
	}
	slots, err := kind.Slots(u.Object)
	if err != nil {
		return append(sets, setNamePattern.FindAllString(fmt.Sprint(u.Object["spec"]), -1)...)
	}
	for _, s := range slots {
		if s.PageSet != "" {
			sets = append(sets, s.PageSet)
		}
	}
	return sets
}

// selectComponent returns list options that select our objects of a component.
func selectComponent(name string) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: annotations.ManagedByLabel + "=" + annotations.ManagedBy + "," + annotations.ComponentLabel + "=" + name}
}

// Sets lists the ConfigMaps of the page sets in a namespace, "" for all.
func (c Census) Sets(ctx context.Context, namespace string) ([]corev1.ConfigMap, error) {
	var sets []corev1.ConfigMap
	if err := c.configMaps(ctx, namespace, annotations.ComponentSet, func(cm *corev1.ConfigMap) { sets = append(sets, *cm) }); err != nil {
		return nil, fmt.Errorf("list page sets: %w", err)
	}
	return sets, nil
}

// configMaps calls see for each of our ConfigMaps of a component.
func (c Census) configMaps(ctx context.Context, namespace, component string, see func(*corev1.ConfigMap)) error {
	return each(ctx, component, func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return c.Client.CoreV1().ConfigMaps(namespace).List(ctx, options)
	}, see)
}

// each calls see for each of our objects of a component, as list returns them.
func each[T runtime.Object](ctx context.Context, component string, list pager.ListPageFunc, see func(T)) error {
	return pager.New(list).EachListItem(ctx, selectComponent(component), func(object runtime.Object) error {
		if o, ok := object.(T); ok {
			see(o)
		}
		return nil
	})
}
