// Package origin keeps a Service that leads to the app of a target while the
// target leads to the page: for those who must still reach or judge the app. It
// is the only writer of such Services.
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

// Name of the origin Service of a target. The kind is in it unless it is Service,
// so that a target of another kind and of one name has its own.
func Name(ref target.Ref) string {
	if ref.Kind != service { // a Service's name has no dots
		return companion.Hashed(namePrefix, namePrefix+strings.ToLower(ref.Kind)+"."+ref.Name)
	}
	return companion.Short(namePrefix, ref.Name, maxName)
}

// Target of an origin Service; the zero Ref if it is not one of ours.
func Target(svc *corev1.Service) target.Ref {
	if !companion.Labelled(svc, annotations.ComponentOrigin) || len(svc.OwnerReferences) != 1 {
		return target.Ref{}
	}
	return target.Ref{Kind: svc.OwnerReferences[0].Kind, Namespace: svc.Namespace, Name: svc.OwnerReferences[0].Name}
}

// Get reads the origin of a target from the API server; nil if there is none.
func Get(ctx context.Context, client corev1client.ServicesGetter, ref target.Ref) (*corev1.Service, error) {
	svc, err := client.Services(ref.Namespace).Get(ctx, Name(ref), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read origin Service of %s: %w", ref, err)
	}
	if !companion.Of(svc, ref) {
		return nil, nil
	}
	return svc, nil
}

// Put makes the origin of a target, or makes it lead where it should, with the errors
// of companion.Put.
func Put(ctx context.Context, client corev1client.ServicesGetter, o companion.Owner, spec corev1.ServiceSpec) error {
	want := &corev1.Service{ObjectMeta: o.Meta(Name(o.Ref), annotations.ComponentOrigin), Spec: spec}
	err := companion.Put(ctx, client.Services(o.Ref.Namespace), companion.Object[*corev1.Service]{
		Owner: o, Want: want,
		// One that somebody took the labels off says whose it is by its owner.
		Ours: func(there *corev1.Service) bool { return companion.Of(there, o.Ref) },
		// The addresses of a Service cannot be changed; its selector and ports can.
		Change: func(there *corev1.Service) { there.Spec.Selector, there.Spec.Ports = spec.Selector, spec.Ports },
	})
	if err != nil {
		return fmt.Errorf("write origin Service of %s: %w", o.Ref, err)
	}
	return nil
}

// Drop deletes the origin that was read.
func Drop(ctx context.Context, client corev1client.ServicesGetter, svc *corev1.Service) error {
	err := client.Services(svc.Namespace).Delete(ctx, svc.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &svc.UID}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete Service %s/%s: %w", svc.Namespace, svc.Name, err)
	}
	return nil
}
