package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/manual"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/wanted"
)

// Decide says what to do about a target.
//
//	wanted    | slots        | page set | what it does
//	----------+--------------+----------+---------------------------------------------
//	on        | none         |          | NothingToSwap
//	on        | on the app   | not yet  | pending or blocked; the app is served
//	on        | any          | serving  | backup, swap, switching
//	on        | on its set   |          | active, once it has settled
//	on        | on an old set| not yet  | nothing: visitors keep the old page
//	on        | reverted     | serving  | swap again; after the third revert contested, and slower
//	off       | any on a set |          | restore; if asked for, only once the app is ready
//	off       | none on a set|          | remove our annotations, give the fields back; remove the request too if it has expired
//	off       | none, clean  |          | delete the backup and the origin Service
//
// A target whose maintenance may begin automatically claims its page set while it is off,
// so that the set serves before it is needed. A target that another installation has in
// maintenance is left alone, whatever is asked for.
func Decide(s State) Decision {
	if s.OtherInstallation != "" {
		return leaveToOtherInstallation(s)
	}
	d := newDraft(s)
	d.episode, d.status.Cause = wanted.ParseEpisode(d.status.Cause), s.Wanted.Episode.String()
	d.reportProblems()
	d.reportWanted()
	if s.Wanted.On {
		d.enter()
	} else {
		d.leave()
	}
	d.out.Memory = d.out.Memory.stamped(d.object.GetUID())
	return d.out
}

// leaveToOtherInstallation leaves a target to the installation that has it in maintenance,
// and reports the conflict if this installation is asked for it as well. A backup of this
// installation belongs to a swap that the other one was faster with.
func leaveToOtherInstallation(s State) Decision {
	d := Decision{DropBackup: s.Backup != nil && !swap.OnPage(s.Slots), DropOrigin: s.Origin != nil && !swap.OnPage(s.Slots)}
	if s.Wanted.On {
		d.Events = []Event{{Reason: InstallationConflict, Message: fmt.Sprintf("installation %q already has this in maintenance, so installation %q leaves it alone: see %s",
			annotations.Clip(s.OtherInstallation), annotations.Clip(s.Installation), manual.TwoInstallations())}}
	}
	return d
}

// draft is a decision in the making: in is only read, out is the result.
type draft struct {
	in           State
	out          Decision
	object       unstructured.Unstructured
	status       annotations.Status // as written on the target, and then as this decision changes it
	page         Page               // the requested one, or the last good one in its place
	known        swap.Record        // the originals, merged from both copies
	unreadCopies []string           // which copies cannot be read, and why
	episode      wanted.Episode     // the automatic maintenance that is written on the target now
	onPage       bool
}

func newDraft(s State) *draft {
	d := &draft{in: s, page: s.Page, object: unstructured.Unstructured{Object: s.Object}, onPage: swap.OnPage(s.Slots)}
	d.out.Memory = s.Memory.forObject(d.object.GetUID())
	d.status = annotations.StatusOf(d.object.GetAnnotations())
	for _, slot := range s.Slots {
		if slot.PageSet != "" && !slices.Contains(d.out.Claims, slot.PageSet) {
			d.out.Claims = append(d.out.Claims, slot.PageSet)
		}
	}
	d.readCopies()
	return d
}

// recheckAfter asks for another reconcile; the soonest of all requested ones counts.
func (d *draft) recheckAfter(after time.Duration) {
	after = max(after, time.Millisecond)
	if d.out.After == 0 || after < d.out.After {
		d.out.After = after
	}
}

// leave ends maintenance, or makes sure that nothing of it is left.
func (d *draft) leave() {
	d.prewarm()
	if d.onPage {
		if !d.gateHolds() {
			d.restore()
		}
		return
	}
	all := d.object.GetAnnotations()
	if !maps.Equal(all, d.clearedStatus().Write(all)) || !annotations.HasWritten(all) && d.ownsFields() {
		d.cleanUp()
		return
	}
	d.out.Memory = Memory{}
	d.dropCopies()
}

// ownsFields says whether there are fields to give back although our annotations are gone:
// somebody removed them, and the restore used the backup.
func (d *draft) ownsFields() bool {
	if d.in.Backup == nil || !ownership.ControllerOwnsAny(d.managers()) {
		return false
	}
	_, err := ownership.GiveBack(d.managers(), d.known.Owners)
	return err == nil
}

// dropCopies deletes what a target outside maintenance does not need.
func (d *draft) dropCopies() {
	d.out.DropBackup, d.out.DropOrigin = d.in.Backup != nil, d.in.Origin != nil
}

// restore puts the originals back and does nothing else: the annotations stay until the
// object has been read without any slot on a page set.
func (d *draft) restore() {
	plan := swap.Back(d.in.Slots, d.known)
	plan.Writes = d.withoutRefused(plan.Writes)
	d.reportUnread(plan)
	if len(plan.Lost) > 0 {
		d.reportLost(plan.Lost)
	}
	if len(plan.Writes) > 0 {
		d.update(plan.Writes, d.withOwners())
		return
	}
	var why []string
	for _, e := range d.out.Events {
		why = append(why, e.Message)
	}
	d.annotate(withState(d.status, annotations.Blocked, strings.Join(why, "; ")))
}

// withOwners adds to the status those who wrote since the last swap: the restore takes
// fields from them as well.
func (d *draft) withOwners() annotations.Status {
	before := d.known.String()
	if d.rememberOwners(); d.known.String() == before {
		return d.status
	}
	return d.withRecord(d.status, d.known)
}

func (d *draft) reportLost(lost []swap.Slot) {
	where := "the page"
	if lost[0].PageSet != "" {
		where = "page set " + lost[0].PageSet
	}
	d.report(BackendLost, "no original backend is known for %s: it stays on %s until you set its backend; nothing else is affected", nameSlots(lost), where)
}

// cleanUp is the second update of a restore: it removes the annotations and gives the
// fields back to their owners. One request cannot do both this and the restore, because the
// API server records whoever sends a change of the spec as the owner of the changed fields.
func (d *draft) cleanUp() {
	u := d.object.DeepCopy()
	bare := d.removeEndedRequest(d.clearedStatus().Write(u.GetAnnotations()))
	if d.unstored(bare) {
		return
	}
	setAnnotations(u, bare)
	// If the ownership cannot be read, the annotations are removed all the same.
	if entries, err := ownership.GiveBack(u.GetManagedFields(), d.known.Owners); err == nil {
		u.SetManagedFields(entries)
	}
	d.out.Update = u.Object
	if since := cmp.Or(d.status.Since, d.out.Memory.Since); since != "" && len(d.in.Slots) > 0 {
		d.report(MaintenanceEnded, "visitors get the app again%s", d.lasted(since)+d.out.Memory.becauseAuto()+d.endedBecause()+d.reasonAndBy())
	} else if ended := d.in.Wanted.Ended; ended != "" {
		d.report(UntilPassed, "%s: visitors had the app all the time because the page could not be shown yet; the request has ended%s", ended, d.reasonAndBy())
	}
	d.out.Memory = Memory{}
}

func (d *draft) lasted(sinceText string) string {
	since, err := time.Parse(time.RFC3339, sinceText)
	if err != nil || since.After(d.in.Now) { // the clock was set back
		return ""
	}
	return fmt.Sprintf(", after %s of maintenance", d.in.Now.Sub(since).Round(time.Second))
}

// nameSlots names the first three slots for a message, and counts the others.
func nameSlots(slots []swap.Slot) string {
	const most = 3
	var names []string
	for _, s := range slots[:min(len(slots), most)] {
		names = append(names, fmt.Sprintf("%q", annotations.Clip(s.ID.String())))
	}
	if more := len(slots) - most; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

// paths gives the slots' paths as the object's managedFields name them.
func paths(slots []swap.Slot) []ownership.Path {
	var all []ownership.Path
	for _, s := range slots {
		all = append(all, s.OwnershipPath())
	}
	return all
}

func (d *draft) managers() []metav1.ManagedFieldsEntry { return d.object.GetManagedFields() }

// serving says whether visitors can be sent to the wanted set, and if not, why.
func (d *draft) serving() (bool, string) {
	set := d.in.Sets[d.page.Set]
	if set.Phase == pageset.Serving {
		d.out.Memory.WaitingSince = time.Time{}
		return d.leadTimePassed(set)
	}
	if d.out.Memory.WaitingSince.IsZero() {
		d.out.Memory.WaitingSince = d.in.Now
	}
	if d.in.Settings.ReadyTimeout > 0 && set.Phase != pageset.Conflict && !d.setRefused() {
		left := d.out.Memory.WaitingSince.Add(d.in.Settings.ReadyTimeout).Sub(d.in.Now)
		if left <= 0 {
			return true, ""
		}
		d.recheckAfter(left)
	}
	return false, set.Message
}

// leadTimePassed says whether a page that serves has done so for the lead time. The wait is
// short, so a pending target is not written to because of it.
func (d *draft) leadTimePassed(set pageset.Status) (bool, string) {
	left := set.Since.Add(d.in.Settings.Lead).Sub(d.in.Now)
	if left <= 0 {
		return true, ""
	}
	d.recheckAfter(left)
	if d.status.State == annotations.Pending {
		return false, d.status.Message
	}
	return false, "the page has only just begun to serve"
}
