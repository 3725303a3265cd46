package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/view"
)

// found is a target that was found, as it was read last.
type found struct {
	kind   target.Kind
	object *unstructured.Unstructured
}

func (f found) ref() target.Ref {
	return target.Ref{Kind: f.kind.Name, Namespace: f.object.GetNamespace(), Name: f.object.GetName()}
}

func (f found) row(keys annotations.Keys) (view.Row, bool) {
	return view.Of(f.kind, keys, f.object.Object)
}

// label names a target as people type it: ingress/my-app, with -n if it is in another
// namespace than the current one.
func (s *session) label(ref target.Ref) string {
	name := strings.ToLower(ref.Kind) + "/" + ref.Name
	if ref.Namespace != s.namespace {
		name += " -n " + ref.Namespace
	}
	return name
}

// find returns the chosen targets, in order. By label and by host, it leaves out objects that
// the controller created.
func (s *session) find(ctx context.Context, c choice) ([]found, error) {
	switch {
	case c.host != "":
		return s.findHost(ctx, c)
	case c.selector != "":
		return s.findLabelled(ctx, c)
	}
	var all []found
	var errs []error
	for _, ref := range c.names {
		ref.Namespace = s.namespace
		f, err := s.get(ctx, ref)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if isOwn(f.object) {
			errs = append(errs, fmt.Errorf("%s belongs to the controller and cannot be put in maintenance", s.label(ref)))
		}
		all = append(all, f)
	}
	return all, errors.Join(errs...)
}

func (s *session) get(ctx context.Context, ref target.Ref) (found, error) {
	kind, _ := target.KindByName(ref.Kind)
	object, err := s.dynamic.Resource(kind.Resource).Namespace(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil {
		return found{}, s.unread(kind, ref, s.asServed(kind, err))
	}
	return found{kind, object}, nil
}

// absent is the error for a target that does not exist.
type absent struct{ error }

// unread explains why a target could not be read.
func (s *session) unread(kind target.Kind, ref target.Ref, err error) error {
	switch {
	case notServed(err):
		return fmt.Errorf("this cluster has no %s", kind.Resource.GroupResource())
	case apierrors.IsNotFound(err):
		return absent{fmt.Errorf("there is no %s in namespace %s", strings.ToLower(ref.Kind)+"/"+ref.Name, ref.Namespace)}
	}
	return fmt.Errorf("read %s: %w", s.label(ref), err)
}

// asServed turns a "forbidden" for a kind that the cluster does not serve into a "not found".
// The API server checks rights first, and so forbids such kinds to people who have no rights
// to them. Everybody may ask which kinds it serves.
func (s *session) asServed(kind target.Kind, err error) error {
	if !apierrors.IsForbidden(err) || !kind.Custom {
		return err
	}
	list, problem := s.discovery.ServerResourcesForGroupVersion(kind.Resource.GroupVersion().String())
	if problem == nil && slices.ContainsFunc(list.APIResources, func(a metav1.APIResource) bool { return a.Name == kind.Resource.Resource }) ||
		problem != nil && !apierrors.IsNotFound(problem) {
		return err
	}
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound,
		Message: "the server could not find the requested resource"}}
}

// notServed says whether an error means that the kind does not exist, and not just the object.
func notServed(err error) bool {
	var status *apierrors.StatusError
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.ErrStatus.Details
	return details == nil || slices.ContainsFunc(details.Causes, func(c metav1.StatusCause) bool { return c.Type == metav1.CauseTypeUnexpectedServerResponse })
}

func isOwn(object *unstructured.Unstructured) bool {
	return object.GetLabels()[annotations.ManagedByLabel] == annotations.ManagedBy && object.GetLabels()[annotations.ComponentLabel] != ""
}

func (s *session) findLabelled(ctx context.Context, c choice) (all []found, err error) {
	for _, kind := range c.kinds {
		some, err := s.list(ctx, kind, c)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nothing matches the labels %s %s%s", c.selector, s.where(c), elsewhere(c))
	}
	return all, nil
}

// where says which namespaces were searched.
func (s *session) where(c choice) string {
	if c.all {
		return "in any namespace"
	}
	return "in namespace " + s.namespace
}

func elsewhere(c choice) string {
	if c.all {
		return ""
	}
	return "; use -n for another namespace, or -A for all"
}

// list lists the objects of a kind in the choice's namespaces, with its labels. A kind that
// the cluster does not serve has none.
func (s *session) list(ctx context.Context, kind target.Kind, c choice) (all []found, err error) {
	namespace := s.namespace
	if c.all {
		namespace = metav1.NamespaceAll
	}
	pages := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		return s.dynamic.Resource(kind.Resource).Namespace(namespace).List(ctx, options)
	})
	err = pages.EachListItem(ctx, metav1.ListOptions{LabelSelector: c.selector}, func(item runtime.Object) error {
		if object, ok := item.(*unstructured.Unstructured); ok && !isOwn(object) {
			all = append(all, found{kind, object})
		}
		return nil
	})
	err = s.asServed(kind, err)
	switch {
	case notServed(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("list %s %s: %w", kind.Resource.GroupResource(), s.where(c), err)
	}
	return all, nil
}
