package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
)

// enter brings the target into maintenance, or keeps it there.
func (d *draft) enter() {
	d.status.Restoring, d.out.Memory.AutoCause = "", d.in.Wanted.Cause
	if len(d.in.Slots) == 0 {
		d.nothingToSwap()
		return
	}
	d.applyAccess()
	for _, part := range d.in.Notes.LeftAlone {
		d.report(BackendSkipped, "%s", part)
	}
	for _, part := range d.in.Notes.InFront {
		d.report(PageHidden, "%s", part)
	}
	if d.copiesLocked() {
		d.keepUnreadCopies()
		return
	}
	d.out.Events = append(d.out.Events, d.in.Front...)
	if len(d.unreadCopies) > 0 {
		d.report(RestoreFailed, "%s: no backend is on a page, so it is written anew", d.unreadCopiesText())
	}
	d.choosePage()
	d.rememberOwners()
	plan, err := d.planSwap()
	if err != nil {
		d.report(PageNotReady, "%v", err)
		return
	}
	if len(plan.Unrestorable) > 0 && d.skipUnrestorable(plan.Unrestorable) {
		return
	}
	if len(plan.Lost) > 0 {
		d.reportLost(plan.Lost)
	}
	d.reportDropped(plan.Dropped)
	if len(plan.NoRoom) > 0 && d.noRoom(plan.NoRoom) {
		return
	}
	if len(plan.Writes) == 0 {
		d.stay(plan)
		return
	}
	if ok, why := d.serving(); !ok {
		if !d.stayOnServingSet(plan) {
			d.wait(plan, why)
		}
		return
	}
	if d.reverted(plan) && d.delaySwap(plan) {
		return
	}
	d.swap(plan)
}

// nothingToSwap handles a target without a backend that can be swapped.
func (d *draft) nothingToSwap() {
	why := "there is no backend to swap: the target has none, or only backends that must stay (ACME solvers, actions, parents of other routes)"
	why = cmp.Or(d.in.Notes.Refused, why)
	d.report(NothingToSwap, "%s", why)
	d.status.Cause = "" // nothing has begun
	if d.hasOriginals() {
		d.annotate(withState(d.status, annotations.Blocked, why+". Its original backends are kept until maintenance ends"))
		return
	}
	d.out.Memory = Memory{}
	if annotations.HasWritten(d.object.GetAnnotations()) {
		d.cleanUp()
		return
	}
	d.dropCopies()
}

// choosePage claims the wanted page set. If a page is deleted or breaks while a target is
// in maintenance, the target keeps its last good version, which is the set that it is on.
func (d *draft) choosePage() {
	if d.page.Problem != "" {
		if d.onPage && d.status.PageSet != "" && d.known.Page == d.in.Request.Page &&
			slices.Contains(d.out.Claims, d.status.PageSet) && d.in.Sets[d.status.PageSet].Phase != pageset.Absent {
			d.page.Set, d.page.Name = d.status.PageSet, d.in.Request.Page
			d.report(PageNotFound, "%s: visitors keep its last good version", d.page.Problem)
		} else {
			d.report(PageNotFound, "%s: visitors get the default page", d.page.Problem)
		}
	}
	if d.page.Broken != "" {
		d.report(PageNotFound, "%s; visitors get the default page in that format, and the page in its other formats", d.page.Broken)
	}
	if d.page.Rivals != "" {
		d.report(NameConflict, "%s", d.page.Rivals)
	}
	if !slices.Contains(d.out.Claims, d.page.Set) && !d.setRefused() {
		d.out.Claims = append(d.out.Claims, d.page.Set)
	}
}

// noRoom reports originals that do not fit into the annotation. It stops a swap that has
// not begun, and is true then; in maintenance that has begun, only the slots that do not
// fit stay on the app.
func (d *draft) noRoom(unfit []swap.Slot) bool {
	message := fmt.Sprintf("annotation %s has no room for the originals of %s: all annotations together are limited to %d bytes; %s",
		annotations.Original, nameSlots(unfit), annotations.MaxTotalSize, d.roomAdvice())
	d.report(InvalidAnnotation, "%s", message)
	if d.onPage {
		return false
	}
	d.annotate(withState(d.status, annotations.Blocked, message))
	return true
}

// roomAdvice says how to make room for the originals. kubectl's annotation is as large as
// the object and comes back with every client-side apply; a server-side apply keeps it too
// if it is there.
func (d *draft) roomAdvice() string {
	applied := len(d.object.GetAnnotations()[corev1.LastAppliedConfigAnnotation])
	if applied <= annotations.MaxTotalSize/4 {
		return "remove large ones"
	}
	return fmt.Sprintf("%d bytes are kubectl's %s: remove it and apply with --server-side from then on, or split the object in two", applied, corev1.LastAppliedConfigAnnotation)
}

// wait for the page: visitors keep what they have, the app or an older page.
func (d *draft) wait(plan swap.Plan, why string) {
	state := annotations.Pending
	if phase := d.in.Sets[d.page.Set].Phase; phase == pageset.Conflict {
		state = annotations.Blocked
		d.report(NameConflict, "%s", why)
	} else if phase == pageset.Blocked {
		state = annotations.Blocked
		d.report(PageNotReady, "the page cannot be shown yet, visitors are not affected: %s", why)
	}
	if why = d.withRequestedBy(why); d.onPage && len(d.misdirected(plan)) == 0 {
		d.keepOldPage(state, why)
		return
	}
	d.leaveToApp(plan, withState(d.status, state, why))
}

// swap points every slot at the page set and records what it held in the same request.
func (d *draft) swap(plan swap.Plan) {
	m := &d.out.Memory
	first := d.status.Since == "" && m.SwitchedTo == ""
	d.rememberFollowers(d.object.GetGeneration())
	m.SwitchedAt, m.SwitchedTo, m.ResumeAt = d.in.Now, d.page.Set, time.Time{}
	status := withState(d.withNewRecord(&plan), annotations.Switching, d.requestedBy())
	if m.Reverts > immediateReverts {
		why := d.contestedMessage()
		if d.status.State == annotations.Contested {
			why = cmp.Or(d.status.Message, why) // the last writer may be the controller by now
		}
		status = withState(status, annotations.Contested, why)
	}
	status.Since = d.startedAt()
	switch {
	case first:
		d.report(MaintenanceStarted, "visitors get page %q (page set %s)%s%s", annotations.Clip(d.page.Name), d.page.Set, m.becauseAuto(), d.terms())
	case d.onPage && d.status.PageSet != d.page.Set:
		d.report(PageChanged, "visitors get page %q (page set %s, before %s)%s", annotations.Clip(d.page.Name), d.page.Set, annotations.Clip(d.status.PageSet), d.terms())
	}
	d.update(plan.Writes, status)
	d.recheckAfter(d.in.Settings.SettleOf(d.in.Classes))
}

// rememberOwners records the managers of the fields that a write is about to take: of slots
// on the app, and of slots that somebody else wrote with the page's value, for example
// while reordering rules.
func (d *draft) rememberOwners() {
	var taken []swap.Slot
	for _, s := range d.in.Slots {
		if !s.OnPage() || s.Merge != nil || !ownership.ControllerOwns(d.managers(), s.OwnershipPath()) {
			taken = append(taken, s)
		}
	}
	if len(taken) == 0 {
		return
	}
	// Ownership that cannot be read is not given back; this must not stop maintenance.
	if losers, err := ownership.OwnersOf(d.managers(), paths(taken)); err == nil {
		if merged, err := ownership.Merge(d.known.Owners, losers); err == nil {
			d.known.Owners = merged
		}
	}
}

// planOrigin plans the origin Service of the target, from the object as it would be
// restored now.
func (d *draft) planOrigin(record swap.Record) {
	if d.in.Kind.Origin == nil {
		return
	}
	restored, err := swap.Apply(d.in.Object, swap.Back(d.in.Slots, record).Writes)
	if err != nil {
		return // the swap reports it
	}
	if want := d.in.Kind.Origin(restored); want != nil && (d.in.Origin == nil || !pageset.LeadsTo(*d.in.Origin, *want)) {
		d.out.WriteOrigin = want
	}
}
