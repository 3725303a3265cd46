package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
)

// How a tool that keeps writing the backends back is met.
const (
	patience = 3                // reverts in a row that are answered at once
	quiet    = time.Minute      // after which a target counts as left in peace
	hiccup   = 10 * time.Second // for which a page may be away while a Pod is replaced
	maxDelay = 60 * time.Second // between a revert and the next swap
)

// enter brings the target into maintenance, or keeps it there.
func (d *draft) enter() {
	d.status.Restoring, d.out.Memory.ByItself = "", d.in.Wanted.Cause
	if len(d.in.Slots) == 0 {
		d.nothing()
		return
	}
	d.letThrough()
	for _, part := range d.in.Notes.LeftAlone {
		d.tell(BackendLeftAlone, "%s", part)
	}
	for _, part := range d.in.Notes.InFront {
		d.tell(PageHidden, "%s", part)
	}
	if d.sealed() {
		d.keepUnread()
		return
	}
	d.out.Events = append(d.out.Events, d.in.Front...)
	if len(d.unread) > 0 {
		d.tell(RestoreFailed, "%s: no backend is on a page, so that it is written anew", d.unreadable())
	}
	d.choosePage()
	d.rememberOwners()
	plan, err := d.planSwap()
	if err != nil {
		d.tell(PageNotReady, "%v", err)
		return
	}
	if len(plan.Strange) > 0 && d.strange(plan.Strange) {
		return
	}
	if len(plan.Lost) > 0 {
		d.tellLost(plan.Lost)
	}
	d.tellDropped(plan.Dropped)
	if len(plan.Unfit) > 0 && d.tooFull(plan.Unfit) {
		return
	}
	if len(plan.Writes) == 0 {
		d.stay(plan)
		return
	}
	if ok, why := d.serving(); !ok {
		if !d.bridge(plan) {
			d.wait(plan, why)
		}
		return
	}
	if d.reverted(plan) && d.putOff(plan) {
		return
	}
	d.swap(plan)
}

// nothing: the target has no backend that could be swapped.
func (d *draft) nothing() {
	why := "there is no backend to swap: the target has none, or only such as must stay (ACME solvers, actions, parents of other routes)"
	why = cmp.Or(d.in.Notes.Refused, why)
	d.tell(NothingToSwap, "%s", why)
	d.status.Cause = "" // nothing begins
	if d.remembers() {
		d.annotate(said(d.status, annotations.Blocked, why+". What its backends were is kept until maintenance ends"))
		return
	}
	d.out.Memory = Memory{}
	if annotations.HasWritten(d.object.GetAnnotations()) {
		d.clean()
		return
	}
	d.drop()
}

// choosePage claims the wanted page set. A page that goes or breaks while its
// targets are in maintenance leaves them the last good one, which is the set
// that they are on.
func (d *draft) choosePage() {
	if d.page.Problem != "" {
		if d.onPage && d.status.PageSet != "" && d.known.Page == d.in.Request.Page &&
			slices.Contains(d.out.Claims, d.status.PageSet) && d.in.Sets[d.status.PageSet].Phase != pageset.Absent {
			d.page.Set, d.page.Name = d.status.PageSet, d.in.Request.Page
			d.tell(PageNotFound, "%s: visitors keep the last good version of it", d.page.Problem)
		} else {
			d.tell(PageNotFound, "%s: visitors get the default page", d.page.Problem)
		}
	}
	if d.page.Broken != "" {
		d.tell(PageNotFound, "%s; visitors get the default page in its place, and the page's other formats", d.page.Broken)
	}
	if d.page.Rivals != "" {
		d.tell(NameConflict, "%s", d.page.Rivals)
	}
	if !slices.Contains(d.out.Claims, d.page.Set) && !d.barred() {
		d.out.Claims = append(d.out.Claims, d.page.Set)
	}
}

// tooFull tells that originals do not fit. It stops a swap that has not begun;
// in one that stands, only the slots that do not fit stay on the app.
func (d *draft) tooFull(unfit []swap.Slot) bool {
	message := fmt.Sprintf("annotation %s has no room for the originals of %s: all annotations together may have %d bytes; %s",
		annotations.Original, nameSlots(unfit), annotations.MaxTotalSize, d.room())
	d.tell(InvalidAnnotation, "%s", message)
	if d.onPage {
		return false
	}
	d.annotate(said(d.status, annotations.Blocked, message))
	return true
}

// room says what makes room for the originals. What kubectl apply annotates is as large
// as the object and comes back with every client-side apply; a server-side one keeps it
// as well if it is there.
func (d *draft) room() string {
	applied := len(d.object.GetAnnotations()[corev1.LastAppliedConfigAnnotation])
	if applied <= annotations.MaxTotalSize/4 {
		return "remove large ones"
	}
	return fmt.Sprintf("%d bytes are kubectl's %s: take it off, and apply with --server-side from then on, or split the object in two", applied, corev1.LastAppliedConfigAnnotation)
}

// wait for the page: visitors keep what they have, be it the app or an older page.
func (d *draft) wait(plan swap.Plan, why string) {
	state := annotations.Pending
	if phase := d.in.Sets[d.page.Set].Phase; phase == pageset.Conflict {
		state = annotations.Blocked
		d.tell(NameConflict, "%s", why)
	} else if phase == pageset.Blocked {
		state = annotations.Blocked
		d.tell(PageNotReady, "the page cannot be shown yet, visitors are not affected: %s", why)
	}
	if why = d.withWhose(why); d.onPage && len(d.halfway(plan)) == 0 {
		d.keep(state, why)
		return
	}
	d.leaveToApp(plan, said(d.status, state, why))
}

// keep leaves a target on the page that it is on, while the one that it is to be on does
// not serve, and does not call it active if that page is away, or not all of it is there.
func (d *draft) keep(state, why string) {
	status := d.status
	onApp := slices.ContainsFunc(d.in.Slots, func(s swap.Slot) bool { return !s.OnPage() })
	switch {
	case slices.Contains(d.out.Claims, status.PageSet) && d.away(status.PageSet, &status):
	case onApp:
		status = said(status, state, why)
	case status.State != annotations.Active:
		status = d.followed(status)
	}
	d.annotate(status)
}

// reverted says whether somebody else wrote backends of the app into slots that
// had been swapped, and tells who. A host that is new, or a restore of ours that
// was taken back half way, is no revert.
func (d *draft) reverted(plan swap.Plan) bool {
	m := &d.out.Memory
	// Who replaces the whole object takes the annotation away as well.
	swapped := d.status.PageSet != "" || m.SwitchedTo != ""
	slots := d.revertedSlots(plan)
	if len(slots) == 0 || !swapped {
		return false
	}
	if !m.ResumeAt.IsZero() {
		return true // this revert is counted
	}
	by := ownership.LastWriter(d.managers(), paths(slots))
	if by == ownership.Manager && !m.Undone {
		return false
	}
	if d.in.Now.Sub(m.SwitchedAt) > quiet {
		m.Reverts = 0
	}
	m.Reverts++
	m.ResumeAt = d.in.Now
	then := "they are swapped again"
	if m.Reverts > patience {
		delay := min(maxDelay, time.Second<<min(m.Reverts-patience-1, 10))
		m.ResumeAt = d.in.Now.Add(delay)
		then = fmt.Sprintf("the state is contested, and they are swapped again in %s, since this is the %dth time in a row", delay, m.Reverts)
	}
	who, todo := d.adversary(by)
	d.tell(BackendReverted, "%s wrote the backends of %s while the target is annotated: %s; %s", who, nameSlots(slots), then, todo)
	return true
}

// revertedSlots are those that were on the page, and those that a webhook added when it
// was to be shown: it would add more to the next swap.
func (d *draft) revertedSlots(plan swap.Plan) []swap.Slot {
	if len(plan.Reverted) > 0 || !d.out.Memory.Undone {
		return plan.Reverted
	}
	return slices.DeleteFunc(slices.Clone(d.in.Slots), swap.Slot.OnPage)
}

// putOff says whether the next swap of a contested target is still to wait.
func (d *draft) putOff(plan swap.Plan) bool {
	m := &d.out.Memory
	left := m.ResumeAt.Sub(d.in.Now)
	if left <= 0 {
		return false
	}
	d.again(left)
	status := d.status
	if status.State != annotations.Contested {
		status = said(status, annotations.Contested, d.contested())
	}
	d.leaveToApp(plan, status)
	return true
}

func (d *draft) contested() string {
	who, todo := d.adversary(ownership.LastWriter(d.managers(), paths(d.in.Slots)))
	return d.withWhose(fmt.Sprintf("%s keeps writing the backends back, visitors get the app in between; %s", who, todo))
}

// adversary names who writes the backends back, and what to do about it. The API
// server books what an admission webhook changes on whoever sent the request.
func (d *draft) adversary(by string) (who, todo string) {
	if d.out.Memory.Undone {
		return "an admission webhook", `see "GitOps" in the README (README.md#gitops) for how to find it, and exempt the target from it`
	}
	return fmt.Sprintf("field manager %q", annotations.Clip(by)), advice(by)
}

// swap points every slot at the page set, and remembers what it held in the
// same request.
func (d *draft) swap(plan swap.Plan) {
	m := &d.out.Memory
	first := d.status.Since == "" && m.SwitchedTo == ""
	d.keepFollowers(d.object.GetGeneration())
	m.SwitchedAt, m.SwitchedTo, m.ResumeAt = d.in.Now, d.page.Set, time.Time{}
	status := said(d.recorded(&plan), annotations.Switching, d.whose())
	if m.Reverts > patience {
		why := d.contested()
		if d.status.State == annotations.Contested {
			why = cmp.Or(d.status.Message, why) // whoever wrote last may be the controller by now
		}
		status = said(status, annotations.Contested, why)
	}
	status.Since = d.since()
	switch {
	case first:
		d.tell(MaintenanceStarted, "visitors get page %q (page set %s)%s%s", annotations.Clip(d.page.Name), d.page.Set, m.byItself(), d.terms())
	case d.onPage && d.status.PageSet != d.page.Set:
		d.tell(PageChanged, "visitors get page %q (page set %s, before %s)%s", annotations.Clip(d.page.Name), d.page.Set, annotations.Clip(d.status.PageSet), d.terms())
	}
	d.update(plan.Writes, status)
	d.again(d.in.Settings.SettleOf(d.in.Classes))
}

// rememberOwners adds the managers of the fields that a write is about to take: of
// slots on the app, and of those that somebody else has written as they were on the
// page, such as who reorders rules.
func (d *draft) rememberOwners() {
	var taken []swap.Slot
	for _, s := range d.in.Slots {
		if !s.OnPage() || s.Merge != nil || !ownership.Holds(d.managers(), s.Owned()) {
			taken = append(taken, s)
		}
	}
	if len(taken) == 0 {
		return
	}
	// Ownership that cannot be read is not given back; that must not stop maintenance.
	if losers, err := ownership.Losers(d.managers(), paths(taken)); err == nil {
		if merged, err := ownership.Merge(d.known.Owners, losers); err == nil {
			d.known.Owners = merged
		}
	}
}

// keepOrigin plans the origin Service of the target as it would be restored now.
func (d *draft) keepOrigin(record swap.Record) {
	if d.in.Kind.Origin == nil {
		return
	}
	restored, err := swap.Apply(d.in.Object, swap.Back(d.in.Slots, record).Writes)
	if err != nil {
		return // swapping tells
	}
	if want := d.in.Kind.Origin(restored); want != nil && (d.in.Origin == nil || !pageset.LeadsTo(*d.in.Origin, *want)) {
		d.out.WriteOrigin = want
	}
}

// stay: every slot is where it should be. What is left is to say so, and to
// mend what somebody did to our annotations.
func (d *draft) stay(plan swap.Plan) {
	m := &d.out.Memory
	m.ResumeAt = time.Time{}
	if m.SwitchedTo != d.page.Set {
		d.keepFollowers(d.object.GetGeneration() - 1) // the swap is the last change, or an earlier one
		m.SwitchedAt, m.SwitchedTo = d.in.Now, d.page.Set
	}
	if d.in.Sets[d.page.Set].Phase == pageset.Serving {
		m.WaitingSince = time.Time{}
	}
	status := d.recorded(&plan)
	switch {
	case d.away(d.page.Set, &status):
	case status.State == annotations.Active:
		status = said(status, annotations.Active, d.whose()) // somebody else may have asked for it since
	case !d.refusedPage(&status):
		status = d.followed(status)
	}
	status.Since = d.since()
	d.long(status.Since)
	d.annotate(status)
}

// followed gives the state of a target whose slots are all on a page that serves: active
// once ingress controllers have had the time to follow.
func (d *draft) followed(status annotations.Status) annotations.Status {
	left, late := d.unsettled()
	if left <= 0 {
		if len(late) > 0 {
			d.tell(NotFollowed, "not seen by %s for %d times the settle time: its visitors may get the app", strings.Join(late, ", "), patientTimes)
		}
		return said(status, annotations.Active, d.whose())
	}
	d.again(left)
	if status.State == annotations.Contested {
		return status
	}
	return said(status, annotations.Switching, d.whose())
}

// since is when it began: what the annotation says, or what is remembered of it
// should somebody have taken it away.
func (d *draft) since() string {
	m := &d.out.Memory
	if _, err := time.Parse(time.RFC3339, d.status.Since); err == nil {
		m.Since = d.status.Since
	}
	m.Since = cmp.Or(m.Since, d.in.Now.UTC().Format(time.RFC3339))
	return m.Since
}

// away says whether the page that visitors are sent to has not served for longer
// than it takes to replace a Pod, and tells so.
func (d *draft) away(name string, status *annotations.Status) bool {
	set := d.in.Sets[name]
	m := &d.out.Memory
	if set.Phase == pageset.Serving {
		m.AwaySince = time.Time{}
		return false
	}
	if m.AwaySince.IsZero() {
		m.AwaySince = d.in.Now
	}
	if left := m.AwaySince.Add(hiccup).Sub(d.in.Now); left > 0 {
		d.again(left)
		return false
	}
	d.tell(PageNotReady, "visitors are sent to page set %s, which does not serve: %s", name, set.Message)
	*status = said(*status, annotations.Blocked, "the page does not serve: "+set.Message)
	return true
}

// long reminds of maintenance that lasts: search engines start to drop pages
// that answer 503 for more than a day or two.
func (d *draft) long(sinceText string) {
	since, err := time.Parse(time.RFC3339, sinceText)
	if err != nil {
		return
	}
	lasts := d.in.Now.Sub(since)
	switch {
	case lasts >= 48*time.Hour:
		d.tell(MaintenanceLong, "in maintenance for more than 48 h: search engines drop pages that answer 503 for so long")
	case lasts >= 24*time.Hour:
		d.tell(MaintenanceLong, "in maintenance for more than 24 h: search engines start to drop pages that answer 503 for longer than a day or two")
		d.again(48*time.Hour - lasts)
	default:
		d.again(24*time.Hour - lasts)
	}
}
