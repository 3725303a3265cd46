// Package origin keeps a Service that leads to the app of a target while the target leads to the
// page, for those that must still reach or judge the app. It is the only writer of these Services.
package origin

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/companion"
	"maintenance-controller.io/pkg/target"
)

const (
	namePrefix = "maintenance-origin-"
	maxName    = 63 // of a Service
	service    = "Service"
)

// Name returns the name of a target's origin Service, at most 63 characters. It contains the kind
// unless that is Service, so that targets of different kinds and the same name have one each.
func Name(ref target.Ref) string {
	if ref.Kind != service { // a Service's name has no dots
		return companion.HashedName(namePrefix, namePrefix+strings.ToLower(ref.Kind)+"."+ref.Name)
	}
	return companion.NameWithin(namePrefix, ref.Name, maxName)
}

// Target returns the target of an origin Service; the zero Ref if it is not one of ours.
func Target(svc *corev1.Service) target.Ref {
	if !companion.IsComponent(svc, annotations.ComponentOrigin) || len(svc.OwnerReferences) != 1 {
		return target.Ref{}
	}
	return target.Ref{Kind: svc.OwnerReferences[0].Kind, Namespace: svc.Namespace, Name: svc.OwnerReferences[0].Name}
}

// Get reads the origin Service of a target from the API server; nil if there is none.
func Get(ctx context.Context, client corev1client.ServicesGetter, ref target.Ref) (*corev1.Service, error) {
	svc, err := client.Services(ref.Namespace).Get(ctx, Name(ref), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read origin Service of %s: %w", ref, err)
	}
	if !companion.BelongsTo(svc, ref) {
		return nil, nil
	}
	return svc, nil
}

// Put creates the origin Service of a target or points it where it should lead. It returns the
// errors of companion.Put.
func Put(ctx context.Context, client corev1client.ServicesGetter, o companion.Owner, spec corev1.ServiceSpec) error {
	want := &corev1.Service{ObjectMeta: o.Meta(Name(o.Ref), annotations.ComponentOrigin), Spec: spec}
	err := companion.Put(ctx, client.Services(o.Ref.Namespace), companion.Object[*corev1.Service]{
		Owner: o, Want: want,
		// If somebody removed its labels, its owner tells whose it is.
		Ours: func(there *corev1.Service) bool { return companion.BelongsTo(there, o.Ref) },
		// The addresses of a Service cannot be changed; its selector and ports can.
		Change: func(there *corev1.Service) { there.Spec.Selector, there.Spec.Ports = spec.Selector, spec.Ports },
	})
	if err != nil {
		return fmt.Errorf("write origin Service of %s: %w", o.Ref, err)
	}
	return nil
}

// Delete deletes the origin Service that was read, unless it was recreated since.
func Delete(ctx context.Context, client corev1client.ServicesGetter, svc *corev1.Service) error {
	err := client.Services(svc.Namespace).Delete(ctx, svc.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &svc.UID}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete Service %s/%s: %w", svc.Namespace, svc.Name, err)
	}
	return nil
}
