// Package backup keeps a second copy of the originals in a ConfigMap next to the target. It is the
// only writer of these ConfigMaps.
package backup

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

// Name returns the name of a target's backup, at most 253 characters. It contains kind and name, so
// that an Ingress and an IngressRoute of the same name have one each.
func Name(ref target.Ref) string {
	return companion.NameWithin(namePrefix+strings.ToLower(ref.Kind)+".", ref.Name, maxName)
}

func build(o companion.Owner, b plan.Backup) *corev1.ConfigMap {
	cm := &corev1.ConfigMap{
		ObjectMeta: o.Meta(Name(o.Ref), annotations.ComponentBackup),
		Data: map[string]string{
			keyKind: o.Ref.Kind, keyName: o.Ref.Name, keySet: b.Set, keyOriginals: b.Record.String(),
		},
	}
	cm.Labels[annotations.PageSetLabel] = b.Set
	return cm
}

// Parse reads a backup ConfigMap: its target and its content. If the record cannot be read, the
// error and the backup's ReadError say so; the target is returned all the same.
func Parse(cm *corev1.ConfigMap) (target.Ref, plan.Backup, error) {
	ref := target.Ref{Kind: cm.Data[keyKind], Namespace: cm.Namespace, Name: cm.Data[keyName]}
	b := plan.Backup{Set: cm.Data[keySet]}
	record, err := swap.ParseRecord(cm.Data[keyOriginals])
	if err != nil {
		b.ReadError = fmt.Sprintf("backup ConfigMap %s cannot be read (%s)", cm.Name, annotations.Clip(err.Error()))
		return ref, b, fmt.Errorf("backup ConfigMap %s/%s: %w", cm.Namespace, cm.Name, err)
	}
	b.Record = record
	return ref, b, nil
}

// ours reports whether the ConfigMap is the backup of the target. If somebody removed its labels,
// its owner tells; the next write restores them.
func ours(cm *corev1.ConfigMap, ref target.Ref) bool {
	return cm.Data[keyKind] == ref.Kind && cm.Data[keyName] == ref.Name &&
		(companion.IsComponent(cm, annotations.ComponentBackup) || companion.BelongsTo(cm, ref))
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

// Put stores the backup of a target. It returns the errors of companion.Put.
func Put(ctx context.Context, client corev1client.ConfigMapsGetter, o companion.Owner, b plan.Backup) error {
	want := build(o, b)
	err := companion.Put(ctx, client.ConfigMaps(o.Ref.Namespace), companion.Object[*corev1.ConfigMap]{
		Owner: o, Want: want,
		Ours:   func(there *corev1.ConfigMap) bool { return ours(there, o.Ref) },
		Change: func(there *corev1.ConfigMap) { there.Data, there.BinaryData = want.Data, nil },
	})
	if err != nil {
		return fmt.Errorf("write backup ConfigMap of %s: %w", o.Ref, err)
	}
	return nil
}

// Delete deletes the backup that was read, unless it has changed since.
func Delete(ctx context.Context, client corev1client.ConfigMapsGetter, cm *corev1.ConfigMap) error {
	err := client.ConfigMaps(cm.Namespace).Delete(ctx, cm.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &cm.UID, ResourceVersion: &cm.ResourceVersion},
	})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete backup %s/%s: %w", cm.Namespace, cm.Name, err)
	}
	return nil
}
