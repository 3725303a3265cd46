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

// misdirected gives the slots that somebody wrote such that visitors get nothing, or the
// wrong thing: a slot that names a page set and does not lead there, or all slots of a
// reverted target whose slots only work together.
func (d *draft) misdirected(plan swap.Plan) []swap.Slot {
	if d.in.Kind.SwitchesAtomically && d.onPage && len(plan.Reverted) > 0 {
		return d.in.Slots
	}
	return plan.Misdirected
}

// leaveToApp writes the status of a target that is not swapped now. A partial revert is
// completed, so that visitors get the app in the meantime.
func (d *draft) leaveToApp(plan swap.Plan, status annotations.Status) {
	half := d.misdirected(plan)
	if len(half) == 0 {
		d.annotate(status)
		return
	}
	writes := slices.DeleteFunc(swap.Back(d.in.Slots, plan.Record).Writes, func(w swap.Write) bool {
		return !slices.ContainsFunc(half, func(s swap.Slot) bool { return reflect.DeepEqual(s.Path, w.Path) })
	})
	d.update(writes, d.withRecord(status, plan.Record))
}

// planSwap plans the swap. If the page's own value came back from a write with additions
// that still lead to the page, it counts as the page's: a webhook wants it so and would add
// them again.
func (d *draft) planSwap() (swap.Plan, error) {
	m, slots := &d.out.Memory, d.slotsWithDoors(d.page.Set)
	plan, err := swap.To(d.page.Set, slots, d.known, d.budget())
	if near := digestOf(plan.Near); near == "" {
		m.KeptByWebhook = ""
	} else if near == m.KeptByWebhook {
		slots = slices.Clone(slots)
		for i := range slots {
			slots[i].KeptByWebhook = true
		}
		return swap.To(d.page.Set, slots, d.known, d.budget())
	}
	return plan, err
}

// digestOf identifies slots together with what they hold; empty for none.
func digestOf(slots []swap.Slot) string {
	if len(slots) == 0 {
		return ""
	}
	h := sha256.New()
	for _, s := range slots {
		fmt.Fprintf(h, "%q %q\n", s.ID, fmt.Sprint(s.Value))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// skipUnrestorable reports slots that stay on the app because what they hold could not be
// restored, and says whether nothing is left to swap.
func (d *draft) skipUnrestorable(slots []swap.Slot) bool {
	for _, s := range slots {
		d.report(BackendSkipped, "the backend of %s is left as it is because it could not be restored: %v", nameSlots([]swap.Slot{s}), s.Check(s.Value))
	}
	if d.onPage || len(slots) < len(d.in.Slots) && !d.in.Kind.SwitchesAtomically {
		return false
	}
	d.nothingToSwap()
	return true
}
