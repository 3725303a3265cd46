package plan

import (
	"fmt"
	"maps"
	"slices"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
)

// Access is who is let through to the apps of a target, as far as it is known. The zero
// value is nobody.
type Access struct {
	// Doors of the page sets that the target is on, or is to be on.
	Doors swap.Doors
	// Told is what people should know: apps without a door, and what fails at doors.
	Told []Event
	// Barred says why the wanted set may not be made: there would be too many doors. The
	// app is served then, for a page without the bypass that was asked for would lock out
	// whoever is to end the maintenance.
	Barred string
	// Summary is what page Pods say of their doors, for annotation maintenance/access.
	Summary string
}

// Ways gives how the apps of a target are reached, of all its slots, from what is known
// of their originals.
func Ways(s State) []swap.SlotWays {
	return swap.Ways(s.Slots, newDraft(s).known)
}

// NoDoors tells of slots that have no door, each reason once.
func NoDoors(why map[string][]swap.ID) (events []Event) {
	for _, reason := range slices.Sorted(maps.Keys(why)) {
		var slots []swap.Slot
		for _, id := range why[reason] {
			slots = append(slots, swap.Slot{ID: id})
		}
		events = append(events, Event{Reason: NoDoor, Message: fmt.Sprintf("nobody is let through to the app of %s: %s", nameSlots(slots), annotations.ClipTo(reason, annotations.MaxMessage/2))})
	}
	return events
}

// letThrough takes into the decision what is known of doors.
func (d *draft) letThrough() {
	a := d.in.Access
	d.out.Events = append(d.out.Events, a.Told...)
	d.status.Access = a.Summary
}

// barred says whether the wanted set must not be made.
func (d *draft) barred() bool { return d.in.Access.Barred != "" && d.page.Set == d.in.Page.Set }

// slotsTo gives the slots as they lead through the doors of a set.
func (d *draft) slotsTo(set string) []swap.Slot {
	doors := d.in.Access.Doors
	if len(doors.Last) == 0 {
		return d.in.Slots
	}
	doors.Exact = set
	return swap.Through(d.in.Slots, doors)
}

// bridge has the slots of a target wait on the page set that serves now, while the wanted
// one, which has another door for some of them, comes up. There they are at their doors as
// far as it has them, and else on the page: nobody but those who are let through must meet
// an app that was written in the middle.
func (d *draft) bridge(plan swap.Plan) bool {
	wanted, now := d.page, d.status.PageSet
	if len(d.in.Access.Doors.Last) == 0 || !d.onPage || now == wanted.Set || d.in.Sets[now].Phase != pageset.Serving || !slices.Contains(d.out.Claims, now) {
		return false
	}
	d.page.Set, d.page.Name = now, d.known.Page
	bridged, err := d.planSwap()
	if err != nil || len(bridged.Writes) == 0 {
		d.page = wanted
		return false
	}
	if !d.reverted(plan) || !d.putOff(plan) {
		d.swap(bridged)
	}
	return true
}
