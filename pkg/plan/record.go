package plan

import (
	"fmt"
	"strings"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/manual"
	"maintenance-controller.io/pkg/swap"
)

// Only this file decides what may be written as the record of a target's originals. While a
// slot is on a page, no write may know less than either copy did, and a copy that cannot be
// read may contain anything:
//
//	annotation | backup     | a slot is on a page         | none is
//	-----------+------------+-----------------------------+----------------------
//	readable   | readable   | both are written anew, with | what the slots hold
//	           | or missing | all that either knows       | is the record
//	missing    | readable   | the same                    | the same
//	unreadable | any        | both stay as they are, and  | the same
//	any        | unreadable | the state is blocked        | the same
//
// Maintenance can end with whatever can be read, regardless of the other copy.

// readCopies reads what is known of the originals. For each slot the annotation wins if its
// value is valid for the slot, and the backup fills gaps. A value that is not valid is kept
// if there is nothing better: another version may know what to do with it.
func (d *draft) readCopies() {
	var annotation, backup swap.Record
	if text := d.status.Original; text != "" {
		var err error
		if annotation, err = swap.ParseRecord(text); err != nil {
			d.unreadCopies = append(d.unreadCopies, fmt.Sprintf("annotation %s cannot be read (%s)", annotations.Original, annotations.Clip(err.Error())))
		}
	}
	if d.in.Backup != nil {
		backup = d.in.Backup.Record
		if why := d.in.Backup.ReadError; why != "" {
			d.unreadCopies = append(d.unreadCopies, annotations.ClipTo(why, annotations.MaxMessage/2))
		}
	}
	d.known = annotation.WithoutInvalid(d.in.Slots).FillGaps(backup.WithoutInvalid(d.in.Slots)).FillGaps(annotation).FillGaps(backup)
}

// copiesLocked says whether the copies must stay as they are.
func (d *draft) copiesLocked() bool { return d.onPage && len(d.unreadCopies) > 0 }

// keepUnreadCopies leaves a target whose copies must stay as they are, and says what to do
// about it. It only writes backends that somebody changed such that visitors get nothing:
// they get the app, if it is known.
func (d *draft) keepUnreadCopies() {
	todo := "a later version of the controller may be able to read it; to do it yourself, see " + manual.RestoreByHand().String()
	if back := swap.Back(d.in.Slots, d.known); len(back.Lost) == 0 {
		todo = "the other copy has all originals: delete the unreadable one and it is written anew, or bring back the version of the controller that wrote it"
	}
	why := d.unreadCopiesText() + ": it is left as it is, and so are the backends. " + todo
	d.report(RestoreFailed, "%s", why)
	blocked := withState(d.status, annotations.Blocked, why)
	if plan, err := d.planSwap(); err == nil {
		d.leaveToApp(plan, blocked)
		return
	}
	d.annotate(blocked)
}

// reportUnread reports at the end of maintenance which copy could not be read.
func (d *draft) reportUnread(restore swap.Plan) {
	instead := "the other copy has everything that is needed"
	if len(restore.Lost) > 0 {
		instead = "it is kept: a later version of the controller may be able to read it, and " + manual.RestoreByHand().String() + " says how to do it yourself"
	}
	if len(d.unreadCopies) > 0 {
		d.report(RestoreFailed, "%s: %s", d.unreadCopiesText(), instead)
	}
}

// unreadCopiesText says which copies cannot be read; empty if both can.
func (d *draft) unreadCopiesText() string { return strings.Join(d.unreadCopies, "; ") }

// withRecord adds a record to the status that says more than the one on the target. It
// leaves the record out if there is no room: a write that gives visitors the app must not
// fail because of it.
func (d *draft) withRecord(status annotations.Status, record swap.Record) annotations.Status {
	with := status
	with.Original = record.String()
	if d.copiesLocked() || annotations.Size(with.Write(d.object.GetAnnotations())) > annotations.MaxTotalSize {
		return status
	}
	return with
}

// withNewRecord plans the backup of a plan's record and the origin Service, and gives the
// status with the record.
func (d *draft) withNewRecord(plan *swap.Plan) annotations.Status {
	d.planOrigin(plan.Record)
	plan.Record.Page = d.page.Name
	if want := (Backup{Set: d.page.Set, Record: plan.Record}); !d.sameBackup(want) {
		d.out.WriteBackup = &want
	}
	status := d.status
	status.PageSet, status.Original = d.page.Set, plan.Record.String()
	return status
}

// sameBackup says whether the stored backup holds this already.
func (d *draft) sameBackup(want Backup) bool {
	there := d.in.Backup
	return there != nil && there.ReadError == "" && there.Set == want.Set && there.Record.String() == want.Record.String()
}

// hasOriginals says whether there is anything that a target without backends may still
// need: somebody may write the backends back as they were during maintenance.
func (d *draft) hasOriginals() bool { return len(d.known.Slots) > 0 || len(d.unreadCopies) > 0 }

// reportDropped reports which originals of deleted backends are dropped.
func (d *draft) reportDropped(originals []swap.Original) {
	var slots []swap.Slot
	for _, o := range originals {
		slots = append(slots, swap.Slot{ID: o.ID})
	}
	if len(slots) > 0 {
		d.report(InvalidAnnotation, "annotation %s has no room for the originals of %s, which no longer exist: they are dropped, oldest first; all annotations together are limited to %d bytes, remove large ones",
			annotations.Original, nameSlots(slots), annotations.MaxTotalSize)
	}
}
