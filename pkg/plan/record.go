package plan

import (
	"fmt"
	"strings"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/swap"
)

// What may be written as the record of a target's originals is decided here, and
// nowhere else. While a slot is on a page, no write may know less of it than any copy
// did, and what cannot be read may know anything:
//
//	annotation | backup     | a slot is on a page         | none is
//	-----------+------------+-----------------------------+----------------------
//	readable   | readable   | both are written anew, with | what the slots hold
//	           | or missing | all that either knows       | is the record
//	missing    | readable   | the same                    | the same
//	unreadable | any        | both stay as they are, and  | the same
//	any        | unreadable | the state is blocked        | the same
//
// What can be read is enough to end maintenance by, whatever the other copy is.

// readCopies reads what is known of the originals: per slot the annotation wins, if it
// may go into the slot, and the backup fills gaps. What may not go into its slot is
// kept where there is nothing better: another version may know what to do with it.
func (d *draft) readCopies() {
	var annotation, backup swap.Record
	if text := d.status.Original; text != "" {
		var err error
		if annotation, err = swap.ParseRecord(text); err != nil {
			d.unread = append(d.unread, fmt.Sprintf("annotation %s cannot be read (%s)", annotations.Original, annotations.Clip(err.Error())))
		}
	}
	if d.in.Backup != nil {
		backup = d.in.Backup.Record
		if why := d.in.Backup.Unread; why != "" {
			d.unread = append(d.unread, annotations.ClipTo(why, annotations.MaxMessage/2))
		}
	}
	d.known = annotation.Admitted(d.in.Slots).FillGaps(backup.Admitted(d.in.Slots)).FillGaps(annotation).FillGaps(backup)
}

// sealed says whether the copies must stay as they are.
func (d *draft) sealed() bool { return d.onPage && len(d.unread) > 0 }

// keepUnread leaves a target as it is whose copies must stay as they are, and says
// what to do about it. Only where somebody has written backends so that visitors get
// nothing, they get the app, if it is known.
func (d *draft) keepUnread() {
	todo := `a later version of the controller may be able to; by hand, see "Restore by hand" in the README`
	if back := swap.Back(d.in.Slots, d.known); len(back.Lost) == 0 {
		todo = "the other copy has all originals: delete the one that cannot be read, and it is written anew; or bring the version of the controller back that wrote it"
	}
	why := d.unreadable() + ": it is kept as it is, and so are the backends. " + todo
	d.tell(RestoreFailed, "%s", why)
	blocked := said(d.status, annotations.Blocked, why)
	if plan, err := d.planSwap(); err == nil {
		d.leaveToApp(plan, blocked)
		return
	}
	d.annotate(blocked)
}

// tellUnread tells at the end of maintenance which copy could not be read.
func (d *draft) tellUnread(restore swap.Plan) {
	instead := "the other copy has all that is needed"
	if len(restore.Lost) > 0 {
		instead = `it is kept: a later version of the controller may be able to, and "Restore by hand" in the README says how to read it`
	}
	if len(d.unread) > 0 {
		d.tell(RestoreFailed, "%s: %s", d.unreadable(), instead)
	}
}

// unreadable says which copies cannot be read; empty if both can.
func (d *draft) unreadable() string { return strings.Join(d.unread, "; ") }

// withRecord gives the status with a record that says more than the one that is
// there. It goes without if there is no room: a write to the app is never given up.
func (d *draft) withRecord(status annotations.Status, record swap.Record) annotations.Status {
	with := status
	with.Original = record.String()
	if d.sealed() || annotations.Size(with.Write(d.object.GetAnnotations())) > annotations.MaxTotalSize {
		return status
	}
	return with
}

// recorded plans the backup of a plan's record and the way to the app that stays, and
// gives the status that carries the record.
func (d *draft) recorded(plan *swap.Plan) annotations.Status {
	d.keepOrigin(plan.Record)
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
	return there != nil && there.Unread == "" && there.Set == want.Set && there.Record.String() == want.Record.String()
}

// remembers says whether there is anything that a target whose backends are all gone
// may still need: somebody may be about to write them back as they were.
func (d *draft) remembers() bool { return len(d.known.Slots) > 0 || len(d.unread) > 0 }

// tellDropped tells which originals of backends that have gone are forgotten.
func (d *draft) tellDropped(originals []swap.Original) {
	var slots []swap.Slot
	for _, o := range originals {
		slots = append(slots, swap.Slot{ID: o.ID})
	}
	if len(slots) > 0 {
		d.tell(InvalidAnnotation, "annotation %s has no room for the originals of %s, which are gone: they are forgotten, the oldest first; all annotations together may have %d bytes, remove large ones",
			annotations.Original, nameSlots(slots), annotations.MaxTotalSize)
	}
}
