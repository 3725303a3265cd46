package plan

import (
	"fmt"
	"time"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/swap"
)

// Gate is what the end of maintenance waits for.
type Gate struct {
	// Backends that visitors would be sent back to, without those that get none and those
	// that nobody can judge.
	Backends []Backend
	// Timeout after which visitors get the app whatever it says; 0 is never.
	Timeout time.Duration
}

// Backend is what is known of one that visitors are to be sent back to.
type Backend struct {
	Name string // for people: Service shop/my-app
	// Ready says that it has an endpoint that is ready, and Since since when that is so.
	// What is not known is not ready.
	Ready bool
	Since time.Time
	Why   string // it is not ready: "has no ready endpoint"
}

// Backends lists where a target's visitors go without maintenance.
func (s State) Backends() []swap.Backend { return swap.Backends(s.Slots, newDraft(s).known) }

// Behind lists where they would be sent back to if maintenance ended now.
func (s State) Behind() []swap.Backend { return swap.Behind(s.Slots, newDraft(s).known) }

// waits says whether visitors keep the page although nobody asks for maintenance any
// more, since a backend that they would be sent back to is not ready:
//
//	it has been restoring | backends                     | visitors
//	----------------------+------------------------------+--------------------------
//	any                   | all ready for the lead time  | get the app
//	for less than Timeout | one is not, or is not known  | keep the page: restoring
//	for Timeout           | one is not, or is not known  | get the app; a Warning
//
// Nothing is swapped meanwhile: what somebody writes back stays, and so does what is
// new, and the page is the one that they are on. What auto has given up waits for nothing.
func (d *draft) waits() bool {
	g := d.in.Gate
	if g == nil || d.givesUp() || !d.canRestore() {
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
			d.tell(RestoreTimedOut, "%s %s, and %s (annotation %s) have passed since maintenance was to end: visitors get the app as it is",
				b.Name, b.Why, g.Timeout, annotations.RestoreTimeout)
			return false
		}
		d.again(rest)
	}
	if left > 0 {
		d.again(left)
	}
	d.keepPage(*b, since)
	return true
}

// givesUp says whether a maintenance that began by itself has been given up, and visitors
// are still being sent to the app for that.
func (d *draft) givesUp() bool {
	return d.in.Wanted.Spell.Spent && (d.kept.On() || d.out.Memory.ByItself != "")
}

// canRestore says whether there is anything that a restore would put back: what is lost,
// or refused by the API server, is on the page for another reason.
func (d *draft) canRestore() bool {
	for _, w := range swap.Back(d.in.Slots, d.known).Writes {
		if d.in.Refused[fieldOf(w.Path)] == "" {
			return true
		}
	}
	return false
}

// unready gives the first backend that has not been ready for the lead time, and how
// long that is still to last if it is ready by now; nil if all have been.
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

// restoringSince is when maintenance was to end.
func (d *draft) restoringSince() time.Time {
	since, err := time.Parse(time.RFC3339, d.status.Restoring)
	if err != nil || since.After(d.in.Now) {
		return d.in.Now
	}
	return since
}

// keepPage says what is waited for, and puts back by half what somebody has put back by half.
func (d *draft) keepPage(b Backend, since time.Time) {
	why := fmt.Sprintf("visitors keep the page until %s is ready, which %s", b.Name, b.Why)
	switch {
	case b.Ready && d.status.State == annotations.Restoring: // nothing is written for so short a time
		why = d.status.Message
	case b.Ready:
		why = fmt.Sprintf("visitors keep the page until %s has been ready for %s", b.Name, d.in.Settings.Lead)
	}
	status := said(d.status, annotations.Restoring, why)
	status.Restoring = since.UTC().Format(time.RFC3339)
	d.page.Set = "" // nothing is swapped: at whichever door of its set a slot is, it stays
	plan, err := d.planSwap()
	if err != nil {
		plan = swap.Plan{}
	}
	d.leaveToApp(plan, status)
}
