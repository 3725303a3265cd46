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

// busy is when a target is looked at again whose page set is being collected
// this moment.
const busy = 100 * time.Millisecond

// reconcileTarget brings a target one step closer to what it asks for. The
// watch said that something may have to be done; what is done stands on the
// object as the API server has it now.
func (c *Controller) reconcileTarget(ctx context.Context, ref target.Ref) (time.Duration, error) {
	kind, ok := c.kinds[ref.Kind]
	if !ok || !c.watched(ref.Namespace) {
		return 0, nil // named by a record of a controller with other flags
	}
	object, err := c.config.Dynamic.Resource(kind.Resource).Namespace(ref.Namespace).Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return 0, c.gone(ctx, ref)
	}
	if err != nil {
		c.watches.leases.Excuse(ref)
		return 0, fmt.Errorf("read %s: %w", ref, err)
	}
	if object.GetDeletionTimestamp() != nil || pageset.Ours(object) {
		return 0, nil
	}
	// Another class may be another controller's to serve. To end a maintenance is
	// anybody's: the class may have been taken off the list while it lasted.
	classes, known, err := c.classes(ctx, kind, object)
	if err != nil {
		return 0, err
	}
	if c.claims(ref, object.GetAnnotations()) && !c.serves(classes, known) {
		return 0, c.letGo(ctx, kind, ref, object)
	}
	state, content, err := c.gather(ctx, kind, ref, object)
	if err != nil {
		c.tell(ref, object, []plan.Event{{Reason: plan.RestoreFailed, Message: err.Error()}})
		return 0, err
	}
	state.Classes = classes
	d, free := c.decide(ref, state, content)
	if !free {
		return busy, nil
	}
	if err := c.execute(ctx, kind, ref, object, d); err != nil {
		return 0, c.settle(ctx, ref, object, state, err)
	}
	return d.After, nil
}

// partly says whether an error may be that the API server refuses a part of a restore.
func (c *Controller) partly(ref target.Ref, object *unstructured.Unstructured, err error) bool {
	return apierrors.IsInvalid(err) && !c.wants(ref, object.GetAnnotations())
}

// settle meets an error of what was decided. Of a restore that the API server refuses
// in part, the rest is done; the error stands, so that all of it is tried again.
func (c *Controller) settle(ctx context.Context, ref target.Ref, object *unstructured.Unstructured, state plan.State, err error) error {
	for c.partly(ref, object, err) {
		without, fewer := plan.Refuse(state, err)
		if !fewer {
			return c.refused(ref, object, c.refusal(ref, object), err)
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

// letGo takes back what has begun of a target whose class is not served any more: that
// it waits for a page, and the claim on it. Visitors that are on the page stay there
// until maintenance ends. Only what this process has claimed is its own to take back:
// the state of any other target may be that of the controller that serves its class.
func (c *Controller) letGo(ctx context.Context, kind target.Kind, ref target.Ref, object *unstructured.Unstructured) error {
	if !c.manager.Claims.Has(ref) {
		return nil
	}
	state, _, err := c.gather(ctx, kind, ref, object)
	if err != nil || swap.OnPage(state.Slots) {
		return err
	}
	c.lookout.leave(ref)
	state.Wanted, state.Request.Unattended = wanted.Answer{}, annotations.Unattended{}
	d := plan.Decide(state)
	if err := c.execute(ctx, kind, ref, object, d); err != nil {
		return err
	}
	if d.Update == nil {
		c.claim(ref, nil, nil)
	}
	return nil
}

// gone forgets a target that is not there any more.
func (c *Controller) gone(ctx context.Context, ref target.Ref) error {
	if cm := c.watches.own.Backup(ref); cm != nil && c.config.Installation.Owns(installation.Of(cm)) {
		if err := backup.Drop(ctx, c.config.Client.CoreV1(), cm); err != nil {
			return err
		}
	}
	c.claim(ref, nil, nil)
	c.lookout.leave(ref)
	c.unfollow(ref)
	c.notices.Forget(ref)
	c.doors.forget(ref)
	c.mu.Lock()
	delete(c.memory, ref)
	delete(c.others, ref)
	c.mu.Unlock()
	return nil
}

// gather puts together what a decision stands on, and the page that is asked for.
func (c *Controller) gather(ctx context.Context, kind target.Kind, ref target.Ref, object *unstructured.Unstructured) (plan.State, page.Page, error) {
	slots, err := kind.Slots(object.Object)
	if err != nil {
		return plan.State{}, page.Page{}, fmt.Errorf("%s has a shape that is not known: %w", ref, err)
	}
	state := plan.State{Now: c.config.Clock.Now(), Settings: c.config.Settings, Kind: kind, Object: object.Object, Slots: slots, Notes: kind.Note(object.Object), Keys: c.config.Keys}
	state.Request, state.Problems = c.parse(object.GetAnnotations())
	copies, err := c.copies(ctx, ref, object)
	if err != nil {
		c.watches.leases.Excuse(ref)
		return plan.State{}, page.Page{}, err
	}
	state.Backup, state.Origin = copies.backup, copies.origin
	state.Installation, state.Other = c.config.Installation.ID, c.other(ref, object, slots, copies)
	facts := wanted.Facts{Begun: wanted.Begun(object.GetAnnotations(), swap.OnPage(slots))}
	facts.Auto = automatic(object.GetAnnotations(), swap.OnPage(slots))
	facts.Auto.Seen, state.Gate = c.look(ref, state)
	if state.Wanted, err = c.decideWanted(ctx, ref, state.Request, facts); err != nil {
		return plan.State{}, page.Page{}, err
	}
	var content page.Page
	if state.Wanted.On || state.Prewarms() {
		r := c.book.Resolve(ref.Namespace, state.Request.Page, state.Wanted.Until(state.Request))
		state.Page, content = r.Page, r.Content
		state.Page.Set = c.keeps(ref, object.Object, r.Page)
	}
	if state.Wanted.On && !swap.OnPage(slots) {
		state.Front = c.front(ctx, kind, ref, object.Object, content.Status)
	}
	c.mu.Lock()
	state.Memory = c.memory[ref]
	c.mu.Unlock()
	if state.Page.Set == "" || state.Other != "" {
		if state.Gate != nil && state.Other == "" { // visitors may have to stay where they are
			state.Access.Doors = numbered(c.doorsOf(ref.Namespace, state), nil)
		}
		c.doors.forget(ref)
		return state, content, nil
	}
	content, err = c.letThrough(ctx, ref, &state, content)
	return state, content, err
}

// keeps gives the page set that is wanted: the one that the target is on, if that shows
// the page. It may have another name, from before its installation had an id, or of an
// installation that this one has taken over from: no visitor is moved for a name.
func (c *Controller) keeps(ref target.Ref, object map[string]any, wanted plan.Page) string {
	on := annotations.StatusOf(annotationsOf(object)).PageSet
	if on != wanted.Set && page.IsSetName(on) && c.manager.Shows(pageset.ID{Namespace: ref.Namespace, Name: on}, wanted.Hash) {
		return on
	}
	return wanted.Set
}

// copies are what is kept of a target outside it, and all of the objects that it is in.
type copies struct {
	backup *plan.Backup
	origin *corev1.ServiceSpec
	kept   []metav1.Object
}

// copies reads what is kept of a target: from the watch, and the second copy of the
// originals from the API server where the first is missing and all depends on it.
// Another installation's is not this one's to read.
func (c *Controller) copies(ctx context.Context, ref target.Ref, object *unstructured.Unstructured) (all copies, err error) {
	if svc := c.watches.own.Origin(ref); svc != nil {
		if all.kept = append(all.kept, svc); c.config.Installation.Owns(installation.Of(svc)) {
			all.origin = &svc.Spec
		}
	}
	cm := c.watches.own.Backup(ref)
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
	_, b, _ := backup.Parse(cm) // it says if it cannot be read
	all.backup = &b
	return all, nil
}

// other gives the id of another installation that has the target in maintenance, or is
// about to, and logs it once.
func (c *Controller) other(ref target.Ref, object *unstructured.Unstructured, slots []swap.Slot, all copies) string {
	trace := installation.Trace{Annotations: object.GetAnnotations(), OnPage: swap.OnPage(slots), Kept: all.kept}
	for _, s := range slots {
		if cm := c.watches.own.Observe(pageset.ID{Namespace: ref.Namespace, Name: s.PageSet}).ConfigMap; s.PageSet != "" && cm != nil {
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
		c.config.Log.Info("left to another installation, which has it in maintenance", zap.Stringer("target", ref), zap.String("installation", id))
	}
	return id
}

// decide states the claims of the decision before it stands: the page sets are
// judged once they cannot be collected any more. False if one of them is being
// collected this moment.
func (c *Controller) decide(ref target.Ref, state plan.State, content page.Page) (plan.Decision, bool) {
	for {
		state.Sets = map[string]pageset.Status{}
		for _, name := range []string{state.Page.Set, annotations.StatusOf(annotationsOf(state.Object)).PageSet} {
			if name != "" {
				state.Sets[name] = c.manager.Status(pageset.ID{Namespace: ref.Namespace, Name: name})
			}
		}
		if state.Page.Set != "" {
			state.Sets[state.Page.Set] = c.manager.Wanted(pageset.ID{Namespace: ref.Namespace, Name: state.Page.Set}, state.Page.Hash)
		}
		if state.Access.Barred != "" {
			state.Sets[state.Page.Set] = pageset.Status{Phase: pageset.Blocked, Message: state.Access.Barred}
		}
		d := plan.Decide(state)
		changed, free := c.claim(ref, state.Classes, d.Claims)
		if !free || len(changed) == 0 {
			return d, free
		}
		if wanted := (pageset.ID{Namespace: ref.Namespace, Name: state.Page.Set}); slices.Contains(changed, wanted) {
			c.manager.Provide(wanted, content)
			c.queues.sets.Add(wanted) // it may have been looked at before it had its page
		}
	}
}

func annotationsOf(object map[string]any) map[string]string {
	u := unstructured.Unstructured{Object: object}
	return u.GetAnnotations()
}

// claim states which page sets a target needs, and queues those that have gained
// or lost a user, or have one of another class.
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

// execute does what was decided, in the order that loses nothing: the backup,
// the target, and only then what is not needed any more.
func (c *Controller) execute(ctx context.Context, kind target.Kind, ref target.Ref, object *unstructured.Unstructured, d plan.Decision) error {
	if d.WriteBackup != nil {
		owner := companion.Owner{Ref: ref, APIVersion: kind.APIVersion(), UID: object.GetUID(), Installation: c.config.Installation}
		if err := backup.Put(ctx, c.config.Client.CoreV1(), owner, *d.WriteBackup); err != nil {
			return c.noBackup(ctx, kind, ref, object, err)
		}
	}
	if d.WriteOrigin != nil {
		owner := companion.Owner{Ref: ref, APIVersion: kind.APIVersion(), UID: object.GetUID(), Installation: c.config.Installation}
		if err := origin.Put(ctx, c.config.Client.CoreV1(), owner, *d.WriteOrigin); err != nil {
			return c.noBackup(ctx, kind, ref, object, err)
		}
	}
	if d.Update != nil {
		stored, err := c.update(ctx, kind, ref, object, d)
		if stored == nil || err != nil {
			return err
		}
		if d, err = d.Answered(kind, stored.Object); err != nil {
			return c.refused(ref, object, c.refusal(ref, object), fmt.Errorf("update %s: %w", ref, err))
		}
		c.queues.targets.Add(ref) // for the next step; there need not be one
		c.rerouted(ref)
	}
	if svc := c.watches.own.Origin(ref); d.DropOrigin && svc != nil {
		if err := origin.Drop(ctx, c.config.Client.CoreV1(), svc); err != nil {
			return c.refused(ref, object, plan.RestoreFailed, err)
		}
	}
	if d.DropBackup {
		if err := c.dropBackup(ctx, ref); err != nil {
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
	c.tell(ref, object, d.Events)
	return nil
}

// dropBackup deletes the backup that the watch shows, or that is there without the
// labels that it is watched by.
func (c *Controller) dropBackup(ctx context.Context, ref target.Ref) error {
	cm := c.watches.own.Backup(ref)
	if cm == nil {
		var err error
		if cm, err = backup.Get(ctx, c.config.Client.CoreV1(), ref); err != nil || cm == nil {
			return err
		}
	}
	return backup.Drop(ctx, c.config.Client.CoreV1(), cm)
}

// update sends the changed target with the resourceVersion that was read, and gives
// what was stored; nil if the target went meanwhile: the watch tells.
func (c *Controller) update(ctx context.Context, kind target.Kind, ref target.Ref, object *unstructured.Unstructured, d plan.Decision) (*unstructured.Unstructured, error) {
	stored, err := c.config.Dynamic.Resource(kind.Resource).Namespace(ref.Namespace).Update(ctx, &unstructured.Unstructured{Object: d.Update}, metav1.UpdateOptions{FieldManager: ownership.Manager})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		err = fmt.Errorf("update %s: %w", ref, err)
		if c.partly(ref, object, err) {
			return nil, err // it is told once it is known what of it is left
		}
		return nil, c.refused(ref, object, c.refusal(ref, object), err)
	}
	return stored, nil
}
