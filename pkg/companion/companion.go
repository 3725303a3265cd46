// Package companion keeps our objects that stand next to a target and are deleted with it. What they
// contain is decided by the packages that use it.
package companion

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/refusal"
	"maintenance-controller.io/pkg/target"
)

// ErrForeign is returned instead of overwriting an object that is not ours.
var ErrForeign = refusal.New("an object of that name exists that does not belong to the controller: rename or delete it")

// Owner is what a companion needs to know of its target. Ref, APIVersion and UID are required.
type Owner struct {
	Ref        target.Ref // the target
	APIVersion string     // of the target's kind
	UID        types.UID  // of the target
	// Installation marks the companion. A companion of another installation is not overwritten.
	Installation installation.Installation
}

// Meta returns the metadata of a new companion: our labels with its component, and an owner
// reference to its target, so that the garbage collector deletes it with the target. It does not
// block the target's deletion, which might need the permission to write the target's finalizers.
func (o Owner) Meta(name, component string) metav1.ObjectMeta {
	no := false
	m := metav1.ObjectMeta{
		Namespace: o.Ref.Namespace, Name: name,
		Labels: map[string]string{
			annotations.ManagedByLabel: annotations.ManagedBy, annotations.NameLabel: annotations.Name, annotations.ComponentLabel: component,
		},
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: o.APIVersion, Kind: o.Ref.Kind, Name: o.Ref.Name, UID: o.UID, BlockOwnerDeletion: &no,
		}},
	}
	o.Installation.Mark(&m)
	return m
}

// IsComponent reports whether an object has our labels for a component.
func IsComponent(object metav1.Object, component string) bool {
	all := object.GetLabels()
	return all[annotations.ManagedByLabel] == annotations.ManagedBy && all[annotations.ComponentLabel] == component
}

// BelongsTo reports whether an object names the target as an owner. The target's UID does not count:
// a recreated target keeps its companions.
func BelongsTo(object metav1.Object, ref target.Ref) bool {
	return slices.ContainsFunc(object.GetOwnerReferences(), func(o metav1.OwnerReference) bool { return o.Kind == ref.Kind && o.Name == ref.Name })
}

// Client is the part of a typed client that Put needs.
type Client[T metav1.Object] interface {
	Create(ctx context.Context, object T, options metav1.CreateOptions) (T, error)
	Get(ctx context.Context, name string, options metav1.GetOptions) (T, error)
	Update(ctx context.Context, object T, options metav1.UpdateOptions) (T, error)
}

// Object is a companion as it should be. All fields are required.
type Object[T metav1.Object] struct {
	Owner Owner // the target that it belongs to and is deleted with
	Want  T     // what is created if there is none
	// Ours reports whether the existing object belongs to the target.
	Ours func(there T) bool
	// Change sets the content of the existing object.
	Change func(there T)
}

// Put creates the companion, or updates the labels, the owner and the content of an existing one. It
// returns ErrForeign if the existing object is not the target's, and installation.ErrOther if it is
// another installation's.
func Put[T metav1.Object](ctx context.Context, client Client[T], object Object[T]) error {
	o, want := object.Owner, object.Want
	_, err := client.Create(ctx, want, metav1.CreateOptions{FieldManager: ownership.Manager})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	there, err := client.Get(ctx, want.GetName(), metav1.GetOptions{})
	if err != nil {
		return err
	}
	if !object.Ours(there) {
		return fmt.Errorf("%s/%s: %w", want.GetNamespace(), want.GetName(), ErrForeign)
	}
	if id := installation.Of(there); !o.Installation.Owns(id) {
		return fmt.Errorf("%s/%s of %q: %w", want.GetNamespace(), want.GetName(), id, installation.ErrOther)
	}
	all := maps.Clone(there.GetLabels())
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, want.GetLabels())
	there.SetLabels(all)
	there.SetOwnerReferences(want.GetOwnerReferences())
	installation.Inherit(there, there) // it keeps its id: somebody may have removed the label of the id
	o.Installation.Mark(there)
	object.Change(there)
	_, err = client.Update(ctx, there, metav1.UpdateOptions{FieldManager: ownership.Manager})
	return err
}

// NameWithin returns prefix and name, or the prefix and a hash if they are longer than limit
// characters.
func NameWithin(prefix, name string, limit int) string {
	if len(prefix)+len(name) <= limit {
		return prefix + name
	}
	return HashedName(prefix, prefix+name)
}

// HashedName returns the prefix and a hash of a text, 32 hex digits.
func HashedName(prefix, text string) string {
	sum := sha256.Sum256([]byte(text))
	return prefix + hex.EncodeToString(sum[:16])
}
