package plan

import (
	"fmt"
	"maps"
	"slices"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
)

// Access is the bypass of a target, as far as it is known: who is let through to its apps.
// The zero value lets nobody through.
type Access struct {
	// Doors of the page sets that the target is on or will be on. Zero: no set has doors.
	Doors swap.Doors
	// Events to report: apps without a door, and doors that fail.
	Events []Event
	// SetRefused says why the wanted page set may not be created: it would need too many
	// doors. The app is served then, because a page without the requested bypass would lock
	// out those who must end the maintenance. Empty if the set may be created.
	SetRefused string
	// Summary is what the page Pods report about their doors, for annotation
	// maintenance/access. Empty if there is nothing to report.
	Summary string
}

// Upstreams says how the apps behind all slots of a target are reached, from what is known
// of the slots' originals.
func Upstreams(s State) []swap.SlotUpstreams {
	return swap.Upstreams(s.Slots, newDraft(s).known)
}

// NoDoorEvents reports slots without a door: one event per reason, which is the key of why.
func NoDoorEvents(why map[string][]swap.ID) (events []Event) {
	for _, reason := range slices.Sorted(maps.Keys(why)) {
		var slots []swap.Slot
		for _, id := range why[reason] {
			slots = append(slots, swap.Slot{ID: id})
		}
		events = append(events, Event{Reason: BypassUnavailable, Message: fmt.Sprintf("the bypass does not reach the app of %s: %s", nameSlots(slots), annotations.ClipTo(reason, annotations.MaxMessage/2))})
	}
	return events
}

// applyAccess adds what is known of the bypass to the decision.
func (d *draft) applyAccess() {
	a := d.in.Access
	d.out.Events = append(d.out.Events, a.Events...)
	d.status.Access = a.Summary
}

// setRefused says whether the wanted set must not be created.
func (d *draft) setRefused() bool { return d.in.Access.SetRefused != "" && d.page.Set == d.in.Page.Set }

// slotsWithDoors gives the slots as they lead through the doors of a set.
func (d *draft) slotsWithDoors(set string) []swap.Slot {
	doors := d.in.Access.Doors
	if len(doors.Last) == 0 {
		return d.in.Slots
	}
	doors.Exact = set
	return swap.WithDoors(d.in.Slots, doors)
}

// stayOnServingSet keeps the slots of a target on the page set that serves now while the
// wanted one, whose doors differ, starts. There each slot leads to its door if that set has
// one, and otherwise to the page: only those who are let through may reach an app that was
// written in the middle of maintenance. It is false if that is not possible.
func (d *draft) stayOnServingSet(plan swap.Plan) bool {
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
	if !d.reverted(plan) || !d.delaySwap(plan) {
		d.swap(bridged)
	}
	return true
}
