// Package backup keeps a second copy of the originals, in a ConfigMap beside
// the target. It is the only writer of such ConfigMaps.
package backup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// Keys of the ConfigMap's data.
const (
	keyKind      = "kind"
	keyName      = "name"
	keySet       = "page-set"
	keyOriginals = "originals"
)

const (
	namePrefix = "maintenance-backup-"
	maxName    = 253 // of a ConfigMap
)

// ErrForeign is returned for a ConfigMap that has the backup's name and is not ours.
var ErrForeign = errors.New("a ConfigMap of that name is there that is not ours: rename or delete it")

// Name of the backup of a target. Kind and name are both in it, so that an
// Ingress and an IngressRoute of one name have one each.
func Name(ref target.Ref) string {
	name := namePrefix + strings.ToLower(ref.Kind) + "." + ref.Name
	if len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	return namePrefix + strings.ToLower(ref.Kind) + "." + hex.EncodeToString(sum[:16])
}

// Owner is what a backup needs to know of its target.
type Owner struct {
	Ref        target.Ref
	APIVersion string
	UID        types.UID
	// Installation marks the backup. That of another one is not written over.
	Installation installation.Installation
}

func build(o Owner, b plan.Backup) *corev1.ConfigMap {
	no := false
	cm := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: o.Ref.Namespace, Name: Name(o.Ref),
			Labels: map[string]string{
				annotations.ManagedByLabel: annotations.ManagedBy,
				annotations.NameLabel:      annotations.Name,
				annotations.ComponentLabel: annotations.ComponentBackup,
				annotations.PageSetLabel:   b.Set,
			},
			// The backup goes with its target. It does not block the target's
			// deletion: that may need the right to write the target's finalizers.
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: o.APIVersion, Kind: o.Ref.Kind, Name: o.Ref.Name, UID: o.UID, BlockOwnerDeletion: &no,
			}},
		},
		Data: map[string]string{
			keyKind: o.Ref.Kind, keyName: o.Ref.Name, keySet: b.Set, keyOriginals: b.Record.String(),
		},
	}
	o.Installation.Mark(cm)
	return cm
}

// Parse reads a backup ConfigMap: whose it is, and what it holds. Should the record
// be unreadable, the backup says so, as does the error; the target is known all the same.
func Parse(cm *corev1.ConfigMap) (target.Ref, plan.Backup, error) {
	ref := target.Ref{Kind: cm.Data[keyKind], Namespace: cm.Namespace, Name: cm.Data[keyName]}
	b := plan.Backup{Set: cm.Data[keySet]}
	record, err := swap.ParseRecord(cm.Data[keyOriginals])
	if err != nil {
		b.Unread = fmt.Sprintf("backup ConfigMap %s cannot be read (%s)", cm.Name, annotations.Clip(err.Error()))
		return ref, b, fmt.Errorf("backup ConfigMap %s/%s: %w", cm.Namespace, cm.Name, err)
	}
	b.Record = record
	return ref, b, nil
}

// ours says whether the ConfigMap is the backup of the target. One that somebody took
// the labels off says so by its owner, and gets them back when it is written. The
// target's UID does not count: a target that was made anew has its originals all the same.
func ours(cm *corev1.ConfigMap, ref target.Ref) bool {
	labelled := cm.Labels[annotations.ManagedByLabel] == annotations.ManagedBy && cm.Labels[annotations.ComponentLabel] == annotations.ComponentBackup
	owned := slices.ContainsFunc(cm.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Kind == ref.Kind && o.Name == ref.Name })
	return cm.Data[keyKind] == ref.Kind && cm.Data[keyName] == ref.Name && (labelled || owned)
}

// Get reads the backup of a target from the API server; nil if there is none.
func Get(ctx context.Context, client corev1client.ConfigMapsGetter, ref target.Ref) (*corev1.ConfigMap, error) {
	cm, err := client.ConfigMaps(ref.Namespace).Get(ctx, Name(ref), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read backup of %s: %w", ref, err)
	}
	if !ours(cm, ref) {
		return nil, nil
	}
	return cm, nil
}

// Put stores the backup of a target. It returns ErrForeign rather than write over a
// ConfigMap that is not ours, and installation.ErrOther rather than over the backup
// of another installation.
func Put(ctx context.Context, client corev1client.ConfigMapsGetter, o Owner, b plan.Backup) error {
	want := build(o, b)
	_, err := client.ConfigMaps(o.Ref.Namespace).Create(ctx, want, metav1.CreateOptions{FieldManager: ownership.Manager})
	if !apierrors.IsAlreadyExists(err) {
		return wrap(err, o.Ref)
	}
	there, err := client.ConfigMaps(o.Ref.Namespace).Get(ctx, want.Name, metav1.GetOptions{})
	if err != nil {
		return wrap(err, o.Ref)
	}
	if !ours(there, o.Ref) {
		return fmt.Errorf("ConfigMap %s/%s: %w", want.Namespace, want.Name, ErrForeign)
	}
	if id := installation.Of(there); !o.Installation.Owns(id) {
		return fmt.Errorf("ConfigMap %s/%s of %q: %w", want.Namespace, want.Name, id, installation.ErrOther)
	}
	want.ResourceVersion = there.ResourceVersion
	_, err = client.ConfigMaps(o.Ref.Namespace).Update(ctx, want, metav1.UpdateOptions{FieldManager: ownership.Manager})
	return wrap(err, o.Ref)
}

// Drop deletes the backup that was read, if it is still that one.
func Drop(ctx context.Context, client corev1client.ConfigMapsGetter, cm *corev1.ConfigMap) error {
	err := client.ConfigMaps(cm.Namespace).Delete(ctx, cm.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &cm.UID, ResourceVersion: &cm.ResourceVersion},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete backup %s/%s: %w", cm.Namespace, cm.Name, err)
	}
	return nil
}

func wrap(err error, ref target.Ref) error {
	if err != nil {
		return fmt.Errorf("write backup of %s: %w", ref, err)
	}
	return nil
}
