// Package origin keeps a Service that leads to the app of a target while the
// target leads to the page: for those who must still reach or judge the app. It
// is the only writer of such Services.
package origin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/target"
)

const (
	namePrefix = "maintenance-origin-"
	maxName    = 63 // of a Service
	service    = "Service"
)

// ErrForeign is returned for a Service that has the origin's name and is not ours.
var ErrForeign = errors.New("a Service of that name is there that is not ours: rename or delete it")

// Name of the origin Service of a target. The kind is in it unless it is Service,
// so that a target of another kind and of one name has its own.
func Name(ref target.Ref) string {
	name := namePrefix + ref.Name
	if ref.Kind != service {
		name = namePrefix + strings.ToLower(ref.Kind) + "." + ref.Name // hashed: a Service's name has no dots
	} else if len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return namePrefix + hex.EncodeToString(sum[:16])
}

// Owner is what an origin needs to know of its target.
type Owner struct {
	Ref        target.Ref
	APIVersion string
	UID        types.UID
	// Installation marks the origin. That of another one is not written over.
	Installation installation.Installation
}

// Target of an origin Service; the zero Ref if it is not one of ours.
func Target(svc *corev1.Service) target.Ref {
	if svc.Labels[annotations.ManagedByLabel] != annotations.ManagedBy || svc.Labels[annotations.ComponentLabel] != annotations.ComponentOrigin || len(svc.OwnerReferences) != 1 {
		return target.Ref{}
	}
	return target.Ref{Kind: svc.OwnerReferences[0].Kind, Namespace: svc.Namespace, Name: svc.OwnerReferences[0].Name}
}

func build(o Owner, spec corev1.ServiceSpec) *corev1.Service {
	no := false
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: o.Ref.Namespace, Name: Name(o.Ref),
			Labels: map[string]string{
				annotations.ManagedByLabel: annotations.ManagedBy,
				annotations.NameLabel:      annotations.Name,
				annotations.ComponentLabel: annotations.ComponentOrigin,
			},
			// It goes with its target, whose deletion it does not block.
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: o.APIVersion, Kind: o.Ref.Kind, Name: o.Ref.Name, UID: o.UID, BlockOwnerDeletion: &no,
			}},
		},
		Spec: spec,
	}
	o.Installation.Mark(svc)
	return svc
}

// of says whether the Service is the origin of the target. One that somebody took the
// labels off says so by its owner, and gets them back when it is written.
func of(svc *corev1.Service, ref target.Ref) bool {
	return len(svc.OwnerReferences) == 1 && svc.OwnerReferences[0].Kind == ref.Kind && svc.OwnerReferences[0].Name == ref.Name
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
	if !of(svc, ref) {
		return nil, nil
	}
	return svc, nil
}

// Put makes the origin of a target, or makes it lead where it should. It returns
// ErrForeign rather than write over a Service that is not ours, and
// installation.ErrOther rather than over the origin of another installation.
func Put(ctx context.Context, client corev1client.ServicesGetter, o Owner, spec corev1.ServiceSpec) error {
	want := build(o, spec)
	services := client.Services(o.Ref.Namespace)
	_, err := services.Create(ctx, want, metav1.CreateOptions{FieldManager: ownership.Manager})
	if !apierrors.IsAlreadyExists(err) {
		return wrap(err, o.Ref)
	}
	there, err := services.Get(ctx, want.Name, metav1.GetOptions{})
	if err != nil {
		return wrap(err, o.Ref)
	}
	if !of(there, o.Ref) {
		return fmt.Errorf("%s %s/%s: %w", service, want.Namespace, want.Name, ErrForeign)
	}
	if id := installation.Of(there); !o.Installation.Owns(id) {
		return fmt.Errorf("%s %s/%s of %q: %w", service, want.Namespace, want.Name, id, installation.ErrOther)
	}
	// The addresses of a Service cannot be changed; its selector and ports can.
	changed := there.DeepCopy()
	if changed.Labels == nil {
		changed.Labels = map[string]string{}
	}
	for key, value := range want.Labels {
		if key != annotations.Installation {
			changed.Labels[key] = value
		}
	}
	o.Installation.Mark(changed)
	changed.OwnerReferences, changed.Spec.Selector, changed.Spec.Ports = want.OwnerReferences, want.Spec.Selector, want.Spec.Ports
	_, err = services.Update(ctx, changed, metav1.UpdateOptions{FieldManager: ownership.Manager})
	return wrap(err, o.Ref)
}

// Drop deletes the origin that was read.
func Drop(ctx context.Context, client corev1client.ServicesGetter, svc *corev1.Service) error {
	err := client.Services(svc.Namespace).Delete(ctx, svc.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &svc.UID}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("delete Service %s/%s: %w", svc.Namespace, svc.Name, err)
	}
	return nil
}

func wrap(err error, ref target.Ref) error {
	if err != nil {
		return fmt.Errorf("write origin Service of %s: %w", ref, err)
	}
	return nil
}
