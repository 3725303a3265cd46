package plan

import (
	"fmt"
	"slices"
	"time"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/manual"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/swap"
)

// Limits on answering a tool that keeps writing the backends back.
const (
	immediateReverts = 3                // reverts in a row that are answered at once
	revertWindow     = time.Minute      // between reverts that are in a row, and until a contested target is active
	maxSwapDelay     = 60 * time.Second // between a revert and the next swap
)

// reverted says whether somebody else wrote backends of the app into slots that had been
// swapped, and reports who. A new host is no revert, and neither is a restore of ours that
// was cancelled half way.
func (d *draft) reverted(plan swap.Plan) bool {
	m := &d.out.Memory
	// A tool that replaces the whole object removes the annotation as well.
	swapped := d.status.PageSet != "" || m.SwitchedTo != ""
	slots := d.revertedSlots(plan)
	if len(slots) == 0 || !swapped {
		return false
	}
	if !m.ResumeAt.IsZero() {
		return true // this revert is already counted
	}
	by := ownership.LastWriter(d.managers(), paths(slots))
	if by == ownership.Manager && !m.SwapUndone {
		return false
	}
	if d.in.Now.Sub(m.SwitchedAt) > revertWindow {
		m.Reverts = 0
	}
	m.Reverts++
	m.ResumeAt = d.in.Now
	then := "they are swapped again"
	if m.Reverts > immediateReverts {
		delay := min(maxSwapDelay, time.Second<<min(m.Reverts-immediateReverts-1, 10))
		m.ResumeAt = d.in.Now.Add(delay)
		then = fmt.Sprintf("the state is contested, and they are swapped again in %s, because this is revert %d in a row", delay, m.Reverts)
	}
	who, todo := d.reverter(by)
	d.report(BackendReverted, "%s changed the backends of %s during maintenance: %s; %s", who, nameSlots(slots), then, todo)
	return true
}

// revertedSlots gives the slots that had been on the page, or, if a webhook added backends
// of its own to the swap, all slots on the app: it would add more to the next swap.
func (d *draft) revertedSlots(plan swap.Plan) []swap.Slot {
	if len(plan.Reverted) > 0 || !d.out.Memory.SwapUndone {
		return plan.Reverted
	}
	return slices.DeleteFunc(slices.Clone(d.in.Slots), swap.Slot.OnPage)
}

// delaySwap says whether the next swap of a contested target has to wait.
func (d *draft) delaySwap(plan swap.Plan) bool {
	m := &d.out.Memory
	left := m.ResumeAt.Sub(d.in.Now)
	if left <= 0 {
		return false
	}
	d.recheckAfter(left)
	status := d.status
	if status.State != annotations.Contested {
		status = withState(status, annotations.Contested, d.contestedMessage())
	}
	d.leaveToApp(plan, status)
	return true
}

func (d *draft) contestedMessage() string {
	who, todo := d.reverter(ownership.LastWriter(d.managers(), paths(d.in.Slots)))
	return d.withRequestedBy(fmt.Sprintf("%s keeps writing the backends back, visitors get the app in between; %s", who, todo))
}

// reverter names who writes the backends back, and says what to do about it. The API server
// attributes what an admission webhook changes to the sender of the request.
func (d *draft) reverter(by string) (who, todo string) {
	if d.out.Memory.SwapUndone {
		return "an admission webhook", "exempt the target from it: see " + manual.Webhooks().String() + " for how to find it"
	}
	return fmt.Sprintf("field manager %q", annotations.Clip(by)), advice(by)
}
