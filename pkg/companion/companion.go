// Package companion keeps objects of ours that stand beside a target and go with it.
// What is in them is their own rooms' business.
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

// ErrForeign is returned rather than write over an object that is not ours.
var ErrForeign = refusal.New("an object of that name is there that is not ours: rename or delete it")

// Owner is what a companion needs to know of its target.
type Owner struct {
	Ref        target.Ref
	APIVersion string
	UID        types.UID
	// Installation marks the companion. That of another one is not written over.
	Installation installation.Installation
}

// Meta gives the metadata of a new companion: our labels with its component, and a
// reference to its target, with which it goes. It does not block the target's
// deletion: that may need the right to write the target's finalizers.
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

// Labelled says whether an object has our labels for a component.
func Labelled(object metav1.Object, component string) bool {
	all := object.GetLabels()
	return all[annotations.ManagedByLabel] == annotations.ManagedBy && all[annotations.ComponentLabel] == component
}

// Of says whether an object names the target as an owner. The target's UID does not
// count: one that was made anew has its companions all the same.
func Of(object metav1.Object, ref target.Ref) bool {
	return slices.ContainsFunc(object.GetOwnerReferences(), func(o metav1.OwnerReference) bool { return o.Kind == ref.Kind && o.Name == ref.Name })
}

// Client is the part of a typed client that a companion takes.
type Client[T metav1.Object] interface {
	Create(ctx context.Context, object T, options metav1.CreateOptions) (T, error)
	Get(ctx context.Context, name string, options metav1.GetOptions) (T, error)
	Update(ctx context.Context, object T, options metav1.UpdateOptions) (T, error)
}

// Object is a companion as it should be.
type Object[T metav1.Object] struct {
	Owner Owner
	Want  T
	// Ours says whether the one that is there is the target's.
	Ours func(there T) bool
	// Change gives the one that is there what it should hold.
	Change func(there T)
}

// Put creates the companion, or gives the one that is there its labels, its owner and
// its content anew. It returns ErrForeign if that is not the target's, and
// installation.ErrOther if it is another installation's.
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
	installation.Inherit(there, there) // it keeps the id that it has: somebody may have taken the label of that
	o.Installation.Mark(there)
	object.Change(there)
	_, err = client.Update(ctx, there, metav1.UpdateOptions{FieldManager: ownership.Manager})
	return err
}

// Short gives the name, or one with a hash in place of all after the prefix if it is
// longer than the API takes.
func Short(prefix, name string, limit int) string {
	if len(prefix)+len(name) <= limit {
		return prefix + name
	}
	return Hashed(prefix, prefix+name)
}

// Hashed gives a name of the prefix and a hash of a text.
func Hashed(prefix, text string) string {
	sum := sha256.Sum256([]byte(text))
	return prefix + hex.EncodeToString(sum[:16])
}
