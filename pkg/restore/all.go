package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/origin"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

const (
	listPage = 500 // objects that a LIST asks for at once
	workers  = 16  // targets that are restored at once
)

// Everything restores every target of the installation in the namespaces ("" means all of them)
// that the controller has left anything on or beside: it points at a page set,
// carries an annotation of ours, or has a backup or an origin Service. Targets
// that only ask for maintenance are in the outcomes too. Each is told as it falls,
// one after the other: what is tried until ctx ends must not hide the rest. The
// error says what could not be looked at.
func (r *Restorer) Everything(ctx context.Context, namespaces []string, tell func(Outcome)) error {
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
	free := make(chan struct{}, workers)
	for _, ref := range refs {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			outcome := own.Target(ctx, ref)
			if apierrors.IsNotFound(outcome.Err) {
				outcome.Err = r.dropCopies(ctx, ref)
			}
			telling.Lock()
			defer telling.Unlock()
			tell(outcome)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// dropCopies removes what was kept of a target that is not there any more.
func (r *Restorer) dropCopies(ctx context.Context, ref target.Ref) error {
	copies, err := r.copies(ctx, ref)
	if err != nil || r.DryRun {
		return err
	}
	if copies.configMap != nil && r.Installation.Owns(installation.Of(copies.configMap)) {
		err = backup.Drop(ctx, r.Client.CoreV1(), copies.configMap)
	}
	if copies.origin != nil && r.Installation.Owns(installation.Of(copies.origin)) {
		err = errors.Join(err, origin.Drop(ctx, r.Client.CoreV1(), copies.origin))
	}
	return err
}

// find lists what there is to restore in a namespace, of the kinds that are named.
// What was kept of a target of another kind stays with that.
func (r *Restorer) find(ctx context.Context, namespace string) ([]target.Ref, error) {
	var refs []target.Ref
	var errs []error
	for _, kind := range r.Kinds {
		errs = append(errs, r.each(ctx, kind, namespace, func(u *unstructured.Unstructured) {
			if r.concerned(kind, u) {
				refs = append(refs, target.Ref{Kind: kind.Name, Namespace: u.GetNamespace(), Name: u.GetName()})
			}
		}))
	}
	backups, err := r.Client.CoreV1().ConfigMaps(namespace).List(ctx, ofComponent(annotations.ComponentBackup))
	if err != nil {
		errs = append(errs, fmt.Errorf("list backups: %w", err))
	} else {
		for i := range backups.Items {
			if ref, _, _ := backup.Parse(&backups.Items[i]); r.Installation.Owns(installation.Of(&backups.Items[i])) {
				refs = append(refs, ref)
			}
		}
	}
	origins, err := r.Client.CoreV1().Services(namespace).List(ctx, ofComponent(annotations.ComponentOrigin))
	if err != nil {
		errs = append(errs, fmt.Errorf("list origin Services: %w", err))
	} else {
		for i := range origins.Items {
			if r.Installation.Owns(installation.Of(&origins.Items[i])) {
				refs = append(refs, origin.Target(&origins.Items[i]))
			}
		}
	}
	return slices.DeleteFunc(refs, func(ref target.Ref) bool { return ref.Name == "" || !r.named(ref) }), errors.Join(errs...)
}

// named says whether the target is of a kind that is restored.
func (r *Restorer) named(ref target.Ref) bool {
	return slices.ContainsFunc(r.Kinds, func(k target.Kind) bool { return k.Name == ref.Kind })
}

func ofComponent(name string) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: annotations.ManagedByLabel + "=" + annotations.ManagedBy + "," + annotations.ComponentLabel + "=" + name}
}

// concerned says whether a target asks for maintenance or has anything left of it.
func (r *Restorer) concerned(kind target.Kind, u *unstructured.Unstructured) bool {
	if u.GetDeletionTimestamp() != nil {
		return false
	}
	if req, _ := r.Keys.Parse(u.GetAnnotations()); req.On || annotations.HasWritten(u.GetAnnotations()) {
		return true
	}
	slots, err := kind.Slots(u.Object)
	return err == nil && swap.OnPage(slots)
}

// each lists the objects of a kind that are not our own, whole: a target whose annotations were
// stripped shows by its backends alone. A kind that is not served has none.
func (r *Restorer) each(ctx context.Context, kind target.Kind, namespace string, see func(*unstructured.Unstructured)) error {
	for token := ""; ; {
		list, err := r.Dynamic.Resource(kind.Resource).Namespace(namespace).List(ctx, metav1.ListOptions{Limit: listPage, Continue: token})
		if r.unserved(kind, err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list %s: %w", kind.Name, err)
		}
		for i := range list.Items {
			if u := &list.Items[i]; !pageset.Ours(u) {
				see(u)
			}
		}
		if token = list.GetContinue(); token == "" {
			return nil
		}
	}
}

// unserved says whether a LIST failed because its kind is not there. Who may not
// list a kind is told so before anybody looks whether there is one.
func (r *Restorer) unserved(kind target.Kind, err error) bool {
	if !kind.Custom || !apierrors.IsForbidden(err) {
		return kind.Custom && apierrors.IsNotFound(err)
	}
	served, err := r.Client.Discovery().ServerResourcesForGroupVersion(kind.APIVersion())
	if err != nil {
		return apierrors.IsNotFound(err)
	}
	return !slices.ContainsFunc(served.APIResources, func(a metav1.APIResource) bool { return a.Name == kind.Resource.Resource })
}

// Collect deletes the installation's page sets in the namespaces that nobody uses, and returns
// those that are still used, with a user of each. Whichever kinds are restored,
// users are looked for among all: a set that is deleted under a target leaves its
// visitors with nothing. It is for when no controller works and ingress
// controllers have followed the restore.
func (r *Restorer) Collect(ctx context.Context, namespaces []string) (deleted []pageset.ID, used map[pageset.ID]target.Ref, err error) {
	used = map[pageset.ID]target.Ref{}
	var errs []error
	for _, namespace := range namespaces {
		users, err := r.users(ctx, namespace)
		if err != nil {
			errs = append(errs, fmt.Errorf("page sets are not deleted, since their users cannot be listed: %w", err))
			continue
		}
		sets, err := r.Client.CoreV1().ConfigMaps(namespace).List(ctx, ofComponent(annotations.ComponentSet))
		if err != nil {
			errs = append(errs, fmt.Errorf("list page sets: %w", err))
			continue
		}
		for _, cm := range sets.Items {
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

// users gives for each page set one target that points at it, or whose backup
// names it. Any kind that cannot be listed is an error: its targets may be users.
func (r *Restorer) users(ctx context.Context, namespace string) (map[pageset.ID]target.Ref, error) {
	users := map[pageset.ID]target.Ref{}
	for _, kind := range target.Kinds() {
		var broken error
		err := r.each(ctx, kind, namespace, func(u *unstructured.Unstructured) {
			slots, err := kind.Slots(u.Object)
			broken = errors.Join(broken, err)
			for _, s := range slots {
				if s.PageSet != "" {
					users[pageset.ID{Namespace: u.GetNamespace(), Name: s.PageSet}] = target.Ref{Kind: kind.Name, Namespace: u.GetNamespace(), Name: u.GetName()}
				}
			}
		})
		if err = errors.Join(err, broken); err != nil {
			return nil, err
		}
	}
	backups, err := r.Client.CoreV1().ConfigMaps(namespace).List(ctx, ofComponent(annotations.ComponentBackup))
	if err != nil {
		return nil, fmt.Errorf("list backups: %w", err)
	}
	for i := range backups.Items {
		ref, b, _ := backup.Parse(&backups.Items[i])
		if id := (pageset.ID{Namespace: ref.Namespace, Name: b.Set}); b.Set != "" && users[id] == (target.Ref{}) {
			users[id] = ref
		}
	}
	return users, nil
}
