package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/census"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/origin"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// maxConcurrent is how many targets are restored at once.
const maxConcurrent = 16

// All restores every target of the installation in the namespaces ("" means all) that shows a trace
// of maintenance: it points at a page set, carries an annotation of ours, or has a backup or an
// origin Service. Targets that only ask for maintenance are reported too. tell is called with one
// outcome at a time, as soon as it is known, so that a target that is retried until ctx ends does
// not hide the others. The error says what could not be listed.
func (r *Restorer) All(ctx context.Context, namespaces []string, tell func(Outcome)) error {
	var refs []target.Ref
	var errs []error
	for _, namespace := range namespaces {
		found, err := r.find(ctx, namespace)
		refs, errs = append(refs, found...), append(errs, err)
	}
	slices.SortFunc(refs, func(a, b target.Ref) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	refs = slices.Compact(refs)
	own := &Restorer{Config: r.Config, ownOnly: true}
	var wg sync.WaitGroup
	var telling sync.Mutex
	free := make(chan struct{}, maxConcurrent)
	for _, ref := range refs {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			outcome := own.Target(ctx, ref)
			if apierrors.IsNotFound(outcome.Err) {
				outcome.Err = r.deleteCopies(ctx, ref)
			}
			telling.Lock()
			defer telling.Unlock()
			tell(outcome)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// deleteCopies deletes the backup and the origin Service of a target that no longer exists.
func (r *Restorer) deleteCopies(ctx context.Context, ref target.Ref) error {
	copies, err := r.copies(ctx, ref)
	if err != nil || r.DryRun {
		return err
	}
	if copies.configMap != nil && r.Installation.Owns(installation.Of(copies.configMap)) {
		err = backup.Delete(ctx, r.Client.CoreV1(), copies.configMap)
	}
	if copies.origin != nil && r.Installation.Owns(installation.Of(copies.origin)) {
		err = errors.Join(err, origin.Delete(ctx, r.Client.CoreV1(), copies.origin))
	}
	return err
}

func (r *Restorer) census() census.Census { return census.Census{Client: r.Client, Dynamic: r.Dynamic} }

// find lists the targets to restore in a namespace, of the kinds in Config.Kinds. Backups of other
// kinds stay.
func (r *Restorer) find(ctx context.Context, namespace string) ([]target.Ref, error) {
	var refs []target.Ref
	var errs []error
	for _, kind := range r.Kinds {
		errs = append(errs, r.census().Objects(ctx, kind, namespace, func(u *unstructured.Unstructured) {
			if r.hasTraces(kind, u) {
				refs = append(refs, target.Ref{Kind: kind.Name, Namespace: u.GetNamespace(), Name: u.GetName()})
			}
		}))
	}
	errs = append(errs, r.census().Backups(ctx, namespace, func(cm *corev1.ConfigMap) {
		if ref, _, _ := backup.Parse(cm); r.Installation.Owns(installation.Of(cm)) {
			refs = append(refs, ref)
		}
	}))
	errs = append(errs, r.census().Origins(ctx, namespace, func(svc *corev1.Service) {
		if r.Installation.Owns(installation.Of(svc)) {
			refs = append(refs, origin.Target(svc))
		}
	}))
	return slices.DeleteFunc(refs, func(ref target.Ref) bool { return ref.Name == "" || !r.restoresKind(ref) }), errors.Join(errs...)
}

// restoresKind reports whether targets of this kind are restored.
func (r *Restorer) restoresKind(ref target.Ref) bool {
	return slices.ContainsFunc(r.Kinds, func(k target.Kind) bool { return k.Name == ref.Kind })
}

// hasTraces reports whether a target asks for maintenance or has traces of it.
func (r *Restorer) hasTraces(kind target.Kind, u *unstructured.Unstructured) bool {
	if u.GetDeletionTimestamp() != nil {
		return false
	}
	if req, _ := r.Keys.Parse(u.GetAnnotations()); req.Enabled == annotations.On || annotations.HasWritten(u.GetAnnotations()) {
		return true
	}
	slots, err := kind.Slots(u.Object)
	return err == nil && swap.OnPage(slots)
}

// DeletePageSets deletes the installation's unused page sets in the namespaces, and returns the
// deleted ones and those in use, each with one of its users. Users of every kind count, whichever
// kinds are restored: deleting a set under a target would leave its visitors with nothing. Call it
// when no controller runs and ingress controllers have followed the restore.
func (r *Restorer) DeletePageSets(ctx context.Context, namespaces []string) (deleted []pageset.ID, used map[pageset.ID]target.Ref, err error) {
	used = map[pageset.ID]target.Ref{}
	var errs []error
	for _, namespace := range namespaces {
		users := map[pageset.ID]target.Ref{}
		if err := r.census().Users(ctx, namespace, func(set pageset.ID, user target.Ref) { users[set] = user }); err != nil {
			errs = append(errs, fmt.Errorf("page sets are not deleted because their users cannot be listed: %w", err))
			continue
		}
		sets, err := r.census().Sets(ctx, namespace)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, cm := range sets {
			if !r.Installation.Owns(installation.Of(&cm)) {
				continue
			}
			id := pageset.ID{Namespace: cm.Namespace, Name: cm.Name}
			if ref, is := users[id]; is {
				used[id] = ref
				continue
			}
			background := metav1.DeletePropagationBackground
			err := r.Client.CoreV1().ConfigMaps(id.Namespace).Delete(ctx, id.Name, metav1.DeleteOptions{
				Preconditions:     &metav1.Preconditions{UID: &cm.UID, ResourceVersion: &cm.ResourceVersion},
				PropagationPolicy: &background,
			})
			if err != nil && !apierrors.IsNotFound(err) {
				errs = append(errs, fmt.Errorf("delete page set %s: %w", id, err))
				continue
			}
			deleted = append(deleted, id)
		}
	}
	return deleted, used, errors.Join(errs...)
}
