package controller

import (
	"context"
	"fmt"
	"slices"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/companion"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/origin"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/setmanager"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

// collectingRetry is after how long a target is reconciled again whose page set is being deleted.
const collectingRetry = 100 * time.Millisecond

// reconcileTarget brings a target one step closer to what it asks for. The watch only says that
// something may have changed; every decision is based on the object as just read from the API
// server.
func (c *Controller) reconcileTarget(ctx context.Context, ref target.Ref) (time.Duration, error) {
	kind, ok := c.kinds[ref.Kind]
	if !ok || !c.watchesNamespace(ref.Namespace) {
		return 0, nil // named by a record from a controller with other flags
	}
	object, err := c.config.Dynamic.Resource(kind.Resource).Namespace(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return 0, c.forget(ctx, ref)
	}
	if err != nil {
		c.watches.leases.RestartExpiry(ref)
		return 0, fmt.Errorf("read %s: %w", ref, err)
	}
	if object.GetDeletionTimestamp() != nil || pageset.Ours(object) {
		return 0, nil
	}
	// Another controller may serve other classes. Ending maintenance does not depend on the class,
	// which may have been removed from the list in the meantime.
	classes, known, err := c.classes(ctx, kind, object)
	if err != nil {
		return 0, err
	}
	if c.needsPage(ref, object.GetAnnotations()) && !c.servesClasses(classes, known) {
		return 0, c.withdraw(ctx, kind, ref, object)
	}
	state, content, err := c.gather(ctx, kind, ref, object)
	if err != nil {
		c.sendEvents(ref, object, []plan.Event{{Reason: plan.RestoreFailed, Message: err.Error()}})
		return 0, err
	}
	state.Classes = classes
	d, free := c.decide(ref, state, content)
	if !free {
		return collectingRetry, nil
	}
	if err := c.execute(ctx, kind, ref, object, d); err != nil {
		return 0, c.handleFailure(ctx, ref, object, state, err)
	}
	return d.After, nil
}

// maybePartial reports whether an error may mean that the API server refuses only a part of a
// restore.
func (c *Controller) maybePartial(ref target.Ref, object *unstructured.Unstructured, err error) bool {
	return apierrors.IsInvalid(err) && !c.wants(ref, object.GetAnnotations())
}

// handleFailure handles the error of an execution. If the API server refuses a part of a restore,
// the rest is applied; the error is returned, so that all of it is tried again.
func (c *Controller) handleFailure(ctx context.Context, ref target.Ref, object *unstructured.Unstructured, state plan.State, err error) error {
	for c.maybePartial(ref, object, err) {
		without, fewer := plan.ExcludeRefused(state, err)
		if !fewer {
			return c.reportRefusal(ref, object, c.refusalReason(ref, object), err)
		}
		state = without
		next := c.execute(ctx, state.Kind, ref, object, plan.Decide(state))
		if next == nil {
			return err
		}
		err = next
	}
	return err
}

// withdraw undoes what has begun for a target whose class is no longer served: the state of waiting
// for a page, and the claim. Visitors that are on the page stay there until maintenance ends. It
// only undoes claims of this process: the state of any other target may belong to the controller
// that serves its class.
func (c *Controller) withdraw(ctx context.Context, kind target.Kind, ref target.Ref, object *unstructured.Unstructured) error {
	if !c.manager.Claims.Has(ref) {
		return nil
	}
	state, _, err := c.gather(ctx, kind, ref, object)
	if err != nil || swap.OnPage(state.Slots) {
		return err
	}
	c.dependencies.drop(ref)
	state.Wanted, state.Request.Automation = wanted.Answer{}, annotations.Automation{}
	d := plan.Decide(state)
	if err := c.execute(ctx, kind, ref, object, d); err != nil {
		return err
	}
	if d.Update == nil {
		c.claim(ref, nil, nil)
	}
	return nil
}

// forget drops a target that no longer exists.
func (c *Controller) forget(ctx context.Context, ref target.Ref) error {
	if cm := c.watches.managed.Backup(ref); cm != nil && c.config.Installation.Owns(installation.Of(cm)) {
		if err := backup.Delete(ctx, c.config.Client.CoreV1(), cm); err != nil {
			return err
		}
	}
	c.claim(ref, nil, nil)
	c.dependencies.drop(ref)
	c.stopFollowing(ref)
	c.notices.Forget(ref)
	c.doors.forget(ref)
	c.mu.Lock()
	delete(c.memory, ref)
	delete(c.others, ref)
	c.mu.Unlock()
	return nil
}

// gather collects what a decision needs, and the page that is asked for.
func (c *Controller) gather(ctx context.Context, kind target.Kind, ref target.Ref, object *unstructured.Unstructured) (plan.State, page.Page, error) {
	slots, err := kind.Slots(object.Object)
	if err != nil {
		return plan.State{}, page.Page{}, fmt.Errorf("%s has an unknown shape: %w", ref, err)
	}
	state := plan.State{Now: c.config.Clock.Now(), Settings: c.config.Settings, Kind: kind, Object: object.Object, Slots: slots, Notes: kind.Note(object.Object), Keys: c.config.Keys}
	state.Request, state.Problems = c.parse(object.GetAnnotations())
	copies, err := c.copies(ctx, ref, object)
	if err != nil {
		c.watches.leases.RestartExpiry(ref)
		return plan.State{}, page.Page{}, err
	}
	state.Backup, state.Origin = copies.backup, copies.origin
	state.Installation, state.OtherInstallation = c.config.Installation.ID, c.otherInstallation(ref, object, slots, copies)
	facts := wanted.Facts{Begun: wanted.Begun(object.GetAnnotations(), swap.OnPage(slots))}
	facts.Auto = automatic(object.GetAnnotations(), swap.OnPage(slots))
	facts.Auto.Observed, state.Gate = c.assess(ref, state)
	if state.Wanted, err = c.decideWanted(ctx, ref, state.Request, facts); err != nil {
		return plan.State{}, page.Page{}, err
	}
	var content page.Page
	if state.Wanted.On || state.Prewarms() {
		r := c.book.Resolve(ref.Namespace, state.Request.Page, state.Wanted.Until(state.Request))
		state.Page, content = r.Page, r.Content
		state.Page.Set = c.setToUse(ref, object.Object, r.Page)
	}
	if state.Wanted.On && !swap.OnPage(slots) {
		state.Front = c.front(ctx, kind, ref, object.Object, content.Status)
	}
	c.mu.Lock()
	state.Memory = c.memory[ref]
	c.mu.Unlock()
	if state.Page.Set == "" || state.OtherInstallation != "" {
		if state.Gate != nil && state.OtherInstallation == "" { // visitors may have to stay where they are
			state.Access.Doors = numberDoors(c.doorsOf(ref.Namespace, state), nil)
		}
		c.doors.forget(ref)
		return state, content, nil
	}
	content, err = c.resolveBypass(ctx, ref, &state, content)
	return state, content, err
}

// setToUse returns the page set to use: the one that the target is on, if it shows the wanted page,
// or else the wanted one. The current set may have another name, from before installations had ids
// or from an installation that was taken over: no visitor is moved for a name.
func (c *Controller) setToUse(ref target.Ref, object map[string]any, wanted plan.Page) string {
	on := annotations.StatusOf(annotationsOf(object)).PageSet
	if on != wanted.Set && page.IsSetName(on) && c.manager.Shows(pageset.ID{Namespace: ref.Namespace, Name: on}, wanted.Hash) {
		return on
	}
	return wanted.Set
}

// copies are what is kept for a target outside it, and all objects that contain it.
type copies struct {
	backup *plan.Backup
	origin *corev1.ServiceSpec
	kept   []metav1.Object
}

// copies reads what is kept for a target from the watch, and the backup from the API server if the
// annotation with the originals is missing. Copies of another installation are not read.
func (c *Controller) copies(ctx context.Context, ref target.Ref, object *unstructured.Unstructured) (all copies, err error) {
	if svc := c.watches.managed.Origin(ref); svc != nil {
		if all.kept = append(all.kept, svc); c.config.Installation.Owns(installation.Of(svc)) {
			all.origin = &svc.Spec
		}
	}
	cm := c.watches.managed.Backup(ref)
	if cm == nil && object.GetAnnotations()[annotations.Original] == "" {
		if cm, err = backup.Get(ctx, c.config.Client.CoreV1(), ref); err != nil {
			return copies{}, err
		}
	}
	if cm == nil {
		return all, nil
	}
	if all.kept = append(all.kept, cm); !c.config.Installation.Owns(installation.Of(cm)) {
		return all, nil
	}
	_, b, _ := backup.Parse(cm) // the backup itself says if it cannot be read
	all.backup = &b
	return all, nil
}

// otherInstallation returns the id of another installation that has the target in maintenance, or is
// about to, and logs it once.
func (c *Controller) otherInstallation(ref target.Ref, object *unstructured.Unstructured, slots []swap.Slot, all copies) string {
	trace := installation.Trace{Annotations: object.GetAnnotations(), OnPage: swap.OnPage(slots), Kept: all.kept}
	for _, s := range slots {
		if cm := c.watches.managed.Observe(pageset.ID{Namespace: ref.Namespace, Name: s.PageSet}).ConfigMap; s.PageSet != "" && cm != nil {
			trace.Kept = append(trace.Kept, cm)
		}
	}
	id := c.config.Installation.Other(trace)
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == "" {
		delete(c.others, ref)
	} else if c.others[ref] != id {
		c.others[ref] = id
		c.config.Log.Info("left alone because another installation has it in maintenance", zap.Stringer("target", ref), zap.String("installation", id))
	}
	return id
}

// decide claims the page sets of a decision before the decision counts: the sets are judged once
// they cannot be deleted any more. It returns false if one of them is being deleted.
func (c *Controller) decide(ref target.Ref, state plan.State, content page.Page) (plan.Decision, bool) {
	for {
		state.Sets = map[string]pageset.Status{}
		for _, name := range []string{state.Page.Set, annotations.StatusOf(annotationsOf(state.Object)).PageSet} {
			if name != "" {
				state.Sets[name] = c.manager.Status(pageset.ID{Namespace: ref.Namespace, Name: name})
			}
		}
		if state.Page.Set != "" {
			state.Sets[state.Page.Set] = c.manager.StatusFor(pageset.ID{Namespace: ref.Namespace, Name: state.Page.Set}, state.Page.Hash)
		}
		if state.Access.SetRefused != "" {
			state.Sets[state.Page.Set] = pageset.Status{Phase: pageset.Blocked, Message: state.Access.SetRefused}
		}
		d := plan.Decide(state)
		changed, free := c.claim(ref, state.Classes, d.Claims)
		if !free || len(changed) == 0 {
			return d, free
		}
		if wanted := (pageset.ID{Namespace: ref.Namespace, Name: state.Page.Set}); slices.Contains(changed, wanted) {
			c.manager.Provide(wanted, content)
			c.queues.sets.Add(wanted) // it may have been reconciled before it had its page
		}
	}
}

func annotationsOf(object map[string]any) map[string]string {
	u := unstructured.Unstructured{Object: object}
	return u.GetAnnotations()
}

// claim sets the page sets that a target needs, and queues those whose users or classes have
// changed.
func (c *Controller) claim(ref target.Ref, classes []string, names []string) (changed []pageset.ID, free bool) {
	var ids []pageset.ID
	for _, name := range names {
		ids = append(ids, pageset.ID{Namespace: ref.Namespace, Name: name})
	}
	changed, free = c.manager.Set(ref, setmanager.Claim{Sets: ids, Classes: classes})
	for _, id := range changed {
		c.queues.sets.Add(id)
	}
	return changed, free
}

// execute applies a decision in the order that loses nothing: backup first, then the target, and
// last what is no longer needed.
func (c *Controller) execute(ctx context.Context, kind target.Kind, ref target.Ref, object *unstructured.Unstructured, d plan.Decision) error {
	if d.WriteBackup != nil {
		owner := companion.Owner{Ref: ref, APIVersion: kind.APIVersion(), UID: object.GetUID(), Installation: c.config.Installation}
		if err := backup.Put(ctx, c.config.Client.CoreV1(), owner, *d.WriteBackup); err != nil {
			return c.backupFailed(ctx, kind, ref, object, err)
		}
	}
	if d.WriteOrigin != nil {
		owner := companion.Owner{Ref: ref, APIVersion: kind.APIVersion(), UID: object.GetUID(), Installation: c.config.Installation}
		if err := origin.Put(ctx, c.config.Client.CoreV1(), owner, *d.WriteOrigin); err != nil {
			return c.backupFailed(ctx, kind, ref, object, err)
		}
	}
	if d.Update != nil {
		stored, err := c.update(ctx, kind, ref, object, d)
		if stored == nil || err != nil {
			return err
		}
		if d, err = d.Answered(kind, stored.Object); err != nil {
			return c.reportRefusal(ref, object, c.refusalReason(ref, object), fmt.Errorf("update %s: %w", ref, err))
		}
		c.queues.targets.Add(ref) // for the next step, if there is one
		c.refreshService(ref)
	}
	if svc := c.watches.managed.Origin(ref); d.DropOrigin && svc != nil {
		if err := origin.Delete(ctx, c.config.Client.CoreV1(), svc); err != nil {
			return c.reportRefusal(ref, object, plan.RestoreFailed, err)
		}
	}
	if d.DropBackup {
		if err := c.deleteBackup(ctx, ref); err != nil {
			return err
		}
	}
	c.mu.Lock()
	if d.Memory == (plan.Memory{}) {
		delete(c.memory, ref)
	} else {
		c.memory[ref] = d.Memory
	}
	c.mu.Unlock()
	for _, e := range d.Events {
		if !e.Reason.Warning() {
			c.config.Log.Info(string(e.Reason), zap.Stringer("target", ref), zap.String("message", e.Message))
		}
	}
	c.sendEvents(ref, object, d.Events)
	return nil
}

// deleteBackup deletes the backup that the watch shows, or one that lost the labels by which it is
// watched.
func (c *Controller) deleteBackup(ctx context.Context, ref target.Ref) error {
	cm := c.watches.managed.Backup(ref)
	if cm == nil {
		var err error
		if cm, err = backup.Get(ctx, c.config.Client.CoreV1(), ref); err != nil || cm == nil {
			return err
		}
	}
	return backup.Delete(ctx, c.config.Client.CoreV1(), cm)
}

// update sends the changed target with the resourceVersion that was read, and returns what was
// stored; nil if the target was deleted in the meantime, which the watch reports.
func (c *Controller) update(ctx context.Context, kind target.Kind, ref target.Ref, object *unstructured.Unstructured, d plan.Decision) (*unstructured.Unstructured, error) {
	stored, err := c.config.Dynamic.Resource(kind.Resource).Namespace(ref.Namespace).Update(ctx, &unstructured.Unstructured{Object: d.Update}, metav1.UpdateOptions{FieldManager: ownership.Manager})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		err = fmt.Errorf("update %s: %w", ref, err)
		if c.maybePartial(ref, object, err) {
			return nil, err // reported once it is known what is left of it
		}
		return nil, c.reportRefusal(ref, object, c.refusalReason(ref, object), err)
	}
	return stored, nil
}
