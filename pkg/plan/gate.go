package plan

import (
	"fmt"
	"time"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/swap"
)

// Gate is what the end of maintenance waits for, where annotation maintenance/restore-when
// asks for that.
type Gate struct {
	// Backends that visitors would return to, without those of weight 0 and those whose
	// readiness cannot be known.
	Backends []Backend
	// Timeout after which visitors get the app even if a backend is not ready; 0 is never.
	Timeout time.Duration
}

// Backend is one that visitors will return to, and what is known of it.
type Backend struct {
	Name string // for people: Service shop/my-app
	// Ready says that the backend has a ready endpoint, and Since when that became so. A
	// backend of which nothing is known is not ready.
	Ready bool
	Since time.Time
	Why   string // why it is not ready: "has no ready endpoint"; empty if it is
}

// Backends lists where a target's visitors go outside maintenance.
func (s State) Backends() []swap.Backend { return swap.Backends(s.Slots, newDraft(s).known) }

// BehindPage lists the backends that visitors would return to if maintenance ended now.
func (s State) BehindPage() []swap.Backend { return swap.BehindPage(s.Slots, newDraft(s).known) }

// gateHolds says whether visitors keep the page although maintenance is no longer wanted,
// because a backend that they would return to is not ready:
//
//	it has been restoring | backends                     | visitors
//	----------------------+------------------------------+--------------------------
//	any                   | all ready for the lead time  | get the app
//	for less than Timeout | one is not, or is not known  | keep the page: restoring
//	for Timeout           | one is not, or is not known  | get the app; a Warning
//
// Nothing is swapped in the meantime: reverts and new slots stay as they are, and the page
// does not change. Automatic maintenance that was given up does not wait.
func (d *draft) gateHolds() bool {
	g := d.in.Gate
	if g == nil || d.givingUp() || !d.canRestore() {
		return false
	}
	b, left := d.unready(g.Backends)
	if b == nil {
		return false
	}
	since := d.restoringSince()
	if g.Timeout > 0 {
		rest := since.Add(g.Timeout).Sub(d.in.Now)
		if rest <= 0 {
			d.report(RestoreTimedOut, "%s %s, and maintenance should have ended %s ago (annotation %s): visitors get the app as it is",
				b.Name, b.Why, g.Timeout, annotations.RestoreTimeout)
			return false
		}
		d.recheckAfter(rest)
	}
	if left > 0 {
		d.recheckAfter(left)
	}
	d.holdOnPage(*b, since)
	return true
}

// givingUp says whether an automatic maintenance has been given up and visitors are now
// being sent back to the app for that reason.
func (d *draft) givingUp() bool {
	return d.in.Wanted.Episode.GivenUp && (d.episode.On() || d.out.Memory.AutoCause != "")
}

// canRestore says whether a restore would put anything back. Slots that are lost, or that
// the API server refuses to restore, are on the page for another reason.
func (d *draft) canRestore() bool {
	for _, w := range swap.Back(d.in.Slots, d.known).Writes {
		if d.in.RefusedFields[fieldOf(w.Path)] == "" {
			return true
		}
	}
	return false
}

// unready gives the first backend that has not been ready for the lead time, and how much
// of that time is left if it is ready now; nil if all have been.
func (d *draft) unready(backends []Backend) (first *Backend, left time.Duration) {
	for i, b := range backends {
		if !b.Ready {
			return &backends[i], 0
		}
		if rest := b.Since.Add(d.in.Settings.Lead).Sub(d.in.Now); rest > left {
			first, left = &backends[i], rest
		}
	}
	return first, left
}

// restoringSince is when maintenance should have ended.
func (d *draft) restoringSince() time.Time {
	since, err := time.Parse(time.RFC3339, d.status.Restoring)
	if err != nil || since.After(d.in.Now) {
		return d.in.Now
	}
	return since
}

// holdOnPage says what the restore waits for, and completes a partial revert.
func (d *draft) holdOnPage(b Backend, since time.Time) {
	why := fmt.Sprintf("visitors keep the page until %s is ready: it %s", b.Name, b.Why)
	switch {
	case b.Ready && d.status.State == annotations.Restoring: // the wait is too short to write for
		why = d.status.Message
	case b.Ready:
		why = fmt.Sprintf("visitors keep the page until %s has been ready for %s", b.Name, d.in.Settings.Lead)
	}
	status := withState(d.status, annotations.Restoring, why)
	status.Restoring = since.UTC().Format(time.RFC3339)
	d.page.Set = "" // nothing is swapped: each slot stays at its door of the set
	plan, err := d.planSwap()
	if err != nil {
		plan = swap.Plan{}
	}
	d.leaveToApp(plan, status)
}
