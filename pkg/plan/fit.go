package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/swap"
)

// halfway gives the slots that somebody wrote so that visitors get nothing, or not
// what they should: beside the page, or one of a target whose slots lead somewhere
// only together.
func (d *draft) halfway(plan swap.Plan) []swap.Slot {
	if d.in.Kind.Whole && d.onPage && len(plan.Reverted) > 0 {
		return d.in.Slots
	}
	return plan.Spoilt
}

// leaveToApp writes the status of a target that is not swapped now. What was
// reverted by half is reverted in full, so that visitors get the app meanwhile.
func (d *draft) leaveToApp(plan swap.Plan, status annotations.Status) {
	half := d.halfway(plan)
	if len(half) == 0 {
		d.annotate(status)
		return
	}
	writes := slices.DeleteFunc(swap.Back(d.in.Slots, plan.Record).Writes, func(w swap.Write) bool {
		return !slices.ContainsFunc(half, func(s swap.Slot) bool { return reflect.DeepEqual(s.Path, w.Path) })
	})
	d.update(writes, d.withRecord(status, plan.Record))
}

// planSwap plans the swap. A value that leads to the page and came back from a write
// of the page's own counts as the page's: a webhook wants it so, and would make it so
// again.
func (d *draft) planSwap() (swap.Plan, error) {
	m, slots := &d.out.Memory, d.slotsTo(d.page.Set)
	plan, err := swap.To(d.page.Set, slots, d.known, d.budget())
	if near := digest(plan.Near); near == "" {
		m.Insisted = ""
	} else if near == m.Insisted {
		slots = slices.Clone(slots)
		for i := range slots {
			slots[i].Insisted = true
		}
		return swap.To(d.page.Set, slots, d.known, d.budget())
	}
	return plan, err
}

// digest tells slots and what they hold from others; empty for none.
func digest(slots []swap.Slot) string {
	if len(slots) == 0 {
		return ""
	}
	h := sha256.New()
	for _, s := range slots {
		fmt.Fprintf(h, "%q %q\n", s.ID, fmt.Sprint(s.Value))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// strange tells of slots that stay on the app, since what they hold could not be put
// back, and says whether that leaves nothing to swap.
func (d *draft) strange(slots []swap.Slot) bool {
	for _, s := range slots {
		d.tell(BackendLeftAlone, "the backend of %s stays as it is, since it could not be put back: %v", nameSlots([]swap.Slot{s}), s.Check(s.Value))
	}
	if d.onPage || len(slots) < len(d.in.Slots) && !d.in.Kind.Whole {
		return false
	}
	d.nothing()
	return true
}
