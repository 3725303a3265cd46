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
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/wanted"
)

// Decide says what to do about a target.
//
//	asked for | slots        | page set | what it does
//	----------+--------------+----------+---------------------------------------------
//	on        | none         |          | NothingToSwap
//	on        | on the app   | not yet  | pending or blocked; the app is served
//	on        | any          | serving  | backup, swap, switching
//	on        | on its set   |          | active, once it has settled
//	on        | on an old set| not yet  | nothing: visitors keep the old page
//	on        | reverted     | serving  | swap again; after the third time contested, and slower
//	off       | any on a set |          | restore, once the app is ready if that is asked for
//	off       | none on a set|          | take our annotations off, give the fields back; the request too, if it has ended by itself
//	off       | none, clean  |          | drop the backup, and the origin Service
//
// A target that is to begin by itself claims its page set while it is off, so that
// the set serves before it is needed. What another installation has in maintenance is left
// alone, whatever is asked for.
func Decide(s State) Decision {
	if s.Other != "" {
		return leaveToOther(s)
	}
	d := newDraft(s)
	d.kept, d.status.Cause = wanted.ParseSpell(d.status.Cause), s.Wanted.Spell.String()
	d.tellProblems()
	d.tellWanted()
	if s.Wanted.On {
		d.enter()
	} else {
		d.leave()
	}
	d.out.Memory = d.out.Memory.kept(d.object.GetUID())
	return d.out
}

// leaveToOther leaves a target to the installation that has it in maintenance. It is
// told if this one is asked for it as well: that cannot work. A backup of this one's is
// of a swap that the other was faster with.
func leaveToOther(s State) Decision {
	d := Decision{DropBackup: s.Backup != nil && !swap.OnPage(s.Slots), DropOrigin: s.Origin != nil && !swap.OnPage(s.Slots)}
	if s.Wanted.On {
		d.Events = []Event{{Reason: ForeignInstallation, Message: fmt.Sprintf("installation %q has this in maintenance, so that installation %q leaves it alone: see \"Two installations in one cluster\" in the README (README.md#two-installations-in-one-cluster)",
			annotations.Clip(s.Other), annotations.Clip(s.Installation))}}
	}
	return d
}

// draft is a decision in the making: in is only read, out is what comes of it.
type draft struct {
	in     State
	out    Decision
	object unstructured.Unstructured
	status annotations.Status // as written on the target now
	page   Page               // the one asked for, or the last good one in its place
	known  swap.Record        // the originals, of both copies
	unread []string           // which of the copies cannot be read, and why
	kept   wanted.Spell       // what has begun by itself, as written on the target now
	onPage bool
}

func newDraft(s State) *draft {
	d := &draft{in: s, page: s.Page, object: unstructured.Unstructured{Object: s.Object}, onPage: swap.OnPage(s.Slots)}
	d.out.Memory = s.Memory.of(d.object.GetUID())
	d.status = annotations.StatusOf(d.object.GetAnnotations())
	for _, slot := range s.Slots {
		if slot.PageSet != "" && !slices.Contains(d.out.Claims, slot.PageSet) {
			d.out.Claims = append(d.out.Claims, slot.PageSet)
		}
	}
	d.readCopies()
	return d
}

// again asks for another look, the soonest of all that are asked for.
func (d *draft) again(after time.Duration) {
	after = max(after, time.Millisecond)
	if d.out.After == 0 || after < d.out.After {
		d.out.After = after
	}
}

// leave ends maintenance, or makes sure that nothing is left of it.
func (d *draft) leave() {
	d.prepare()
	if d.onPage {
		if !d.waits() {
			d.restore()
		}
		return
	}
	all := d.object.GetAnnotations()
	if !maps.Equal(all, d.bare().Write(all)) || !annotations.HasWritten(all) && d.keepsFields() {
		d.clean()
		return
	}
	d.out.Memory = Memory{}
	d.drop()
}

// keepsFields says whether there are fields to give back although our annotations
// are gone: somebody took them away, and the restore stood on the backup.
func (d *draft) keepsFields() bool {
	if d.in.Backup == nil || !ownership.Owns(d.managers()) {
		return false
	}
	_, err := ownership.GiveBack(d.managers(), d.known.Owners)
	return err == nil
}

// drop takes away what a target without maintenance does not need.
func (d *draft) drop() { d.out.DropBackup, d.out.DropOrigin = d.in.Backup != nil, d.in.Origin != nil }

// restore puts the originals back and nothing else: the annotations stay until
// it is seen that no slot points at a page set.
func (d *draft) restore() {
	plan := swap.Back(d.in.Slots, d.known)
	plan.Writes = d.withoutRefused(plan.Writes)
	d.tellUnread(plan)
	if len(plan.Lost) > 0 {
		d.tellLost(plan.Lost)
	}
	if len(plan.Writes) > 0 {
		d.update(plan.Writes, d.withOwners())
		return
	}
	var why []string
	for _, e := range d.out.Events {
		why = append(why, e.Message)
	}
	d.annotate(said(d.status, annotations.Blocked, strings.Join(why, "; ")))
}

// withOwners gives the status with those who wrote since the last swap: the restore
// takes fields from them as well.
func (d *draft) withOwners() annotations.Status {
	before := d.known.String()
	if d.rememberOwners(); d.known.String() == before {
		return d.status
	}
	return d.withRecord(d.status, d.known)
}

func (d *draft) tellLost(lost []swap.Slot) {
	where := "the page"
	if lost[0].PageSet != "" {
		where = "page set " + lost[0].PageSet
	}
	d.tell(BackendLost, "no original backend is known for %s: it stays on %s until you set its backend; nothing else is affected", nameSlots(lost), where)
}

// clean is the second update of a restore: the annotations go, and fields go
// back to their owners. One request cannot do both this and the restore: the
// API server books a change of the spec on whoever writes it.
func (d *draft) clean() {
	u := d.object.DeepCopy()
	bare := d.finish(d.bare().Write(u.GetAnnotations()))
	if d.unsaid(bare) {
		return
	}
	setAnnotations(u, bare)
	// Should the ownership be unreadable, the annotations go all the same.
	if entries, err := ownership.GiveBack(u.GetManagedFields(), d.known.Owners); err == nil {
		u.SetManagedFields(entries)
	}
	d.out.Update = u.Object
	if since := cmp.Or(d.status.Since, d.out.Memory.Since); since != "" && len(d.in.Slots) > 0 {
		d.tell(MaintenanceEnded, "visitors get the app again%s", d.lasted(since)+d.out.Memory.byItself()+d.ended()+d.said())
	} else if ended := d.in.Wanted.Ended; ended != "" {
		d.tell(EndPassed, "%s: visitors have had the app all the time, since the page could not be shown yet; the request is over%s", ended, d.said())
	}
	d.out.Memory = Memory{}
}

func (d *draft) lasted(sinceText string) string {
	since, err := time.Parse(time.RFC3339, sinceText)
	if err != nil || since.After(d.in.Now) { // the clock has been set back
		return ""
	}
	return fmt.Sprintf(", after %s of maintenance", d.in.Now.Sub(since).Round(time.Second))
}

// nameSlots lists the first few for a message.
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

// paths of the slots, as the object's managedFields know them.
func paths(slots []swap.Slot) []ownership.Path {
	var all []ownership.Path
	for _, s := range slots {
		all = append(all, s.Owned())
	}
	return all
}

func (d *draft) managers() []metav1.ManagedFieldsEntry { return d.object.GetManagedFields() }

// serving says whether visitors can be sent to the wanted set, and if not, why.
func (d *draft) serving() (bool, string) {
	set := d.in.Sets[d.page.Set]
	if set.Phase == pageset.Serving {
		d.out.Memory.WaitingSince = time.Time{}
		return d.ahead(set)
	}
	if d.out.Memory.WaitingSince.IsZero() {
		d.out.Memory.WaitingSince = d.in.Now
	}
	if d.in.Settings.ReadyTimeout > 0 && set.Phase != pageset.Conflict && !d.barred() {
		left := d.out.Memory.WaitingSince.Add(d.in.Settings.ReadyTimeout).Sub(d.in.Now)
		if left <= 0 {
			return true, ""
		}
		d.again(left)
	}
	return false, set.Message
}

// ahead says whether a page that serves has done so for long enough. The wait is
// short: a target that is pending is not written to for it.
func (d *draft) ahead(set pageset.Status) (bool, string) {
	left := set.Since.Add(d.in.Settings.Lead).Sub(d.in.Now)
	if left <= 0 {
		return true, ""
	}
	d.again(left)
	if d.status.State == annotations.Pending {
		return false, d.status.Message
	}
	return false, "the page has begun to serve this moment"
}
