package wanted

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"maintenance-controller.io/pkg/annotations"
)

// MissingLeaseGrace is for how long a Lease that does not exist, or has nothing that could
// be counted, keeps maintenance going that has begun: it may be created or replaced just
// now.
const MissingLeaseGrace = time.Minute

// How far the last renewal of a Lease may lie in the past, by the API server's clock, when
// the Lease is first observed. Only then is that clock used; from the first observed
// renewal on, only the controller's own counts. Without this check, every restart of the
// controller would keep Leases alive that nobody renews. Ending a maintenance because of a
// wrong clock would be worse than beginning late, so that limit is generous.
const (
	maxLagToBegin = time.Minute
	maxLagToEnd   = time.Hour
)

// Lease is one that a request names, as far as it is known.
type Lease struct {
	// ReadError says why nothing is known of it; empty if something is.
	ReadError string
	// Problem says why it does not count; empty if it does. Since is then when that became
	// so.
	Problem string
	// Since is when it last changed, by the controller's own clock.
	Since time.Time
	// Renewed says whether a change has been observed. Otherwise Since is when the Lease
	// was first observed, and Written when it was last written, by the API server's clock.
	Renewed bool
	Written time.Time
	// Duration is for how long a renewal is valid.
	Duration time.Duration
}

// HoldsUntil is when the Lease stops keeping maintenance going that has begun, if nothing
// changes.
func (l Lease) HoldsUntil() time.Time { return l.holds(MissingLeaseGrace, maxLagToEnd) }

// MayBeginUntil is until when the Lease lets maintenance begin, if nothing changes.
func (l Lease) MayBeginUntil() time.Time { return l.holds(0, maxLagToBegin) }

// holds is until when the Lease counts: grace is for how long a Lease with a Problem
// counts, and late how long ago it may have been renewed when it was first observed.
func (l Lease) holds(grace, late time.Duration) time.Time {
	if l.Problem != "" {
		return l.Since.Add(grace)
	}
	if !l.Renewed && !l.Written.IsZero() && l.Since.Sub(l.Written) > l.Duration+late {
		return l.Since
	}
	return l.Since.Add(l.Duration)
}

// requireLeases decides for how long Leases keep up what is asked for.
func requireLeases(a Answer, r annotations.Request, f Facts, now time.Time) Answer {
	holds, known := false, true
	for _, name := range r.Leases {
		l, ok := f.Leases[name]
		if why := cmp.Or(l.ReadError, l.Problem); why != "" {
			a.Problems = append(a.Problems, Problem{Kind: LeaseNotHeld, Message: fmt.Sprintf("annotation %s names Lease %q, %s: %s", annotations.Lease, name, why, consequence(l, f.Begun))})
		}
		known = known && ok && l.ReadError == ""
		end := l.MayBeginUntil()
		if f.Begun {
			end = l.HoldsUntil()
		}
		holds = holds || ok && l.ReadError == "" && now.Before(end)
	}
	switch {
	case holds:
		return a
	case !known:
		a.On = f.Begun // for now: the watch will tell
		if !a.On {
			return Answer{Problems: a.Problems}
		}
		return a
	case f.Begun:
		return Answer{Ended: fmt.Sprintf("annotation %s: %s", annotations.Lease, notRenewed(r.Leases)), Problems: a.Problems}
	}
	if len(a.Problems) == 0 {
		a.Problems = []Problem{{Kind: LeaseNotHeld, Message: fmt.Sprintf("annotation %s: %s: maintenance begins when one is renewed", annotations.Lease, notRenewed(r.Leases))}}
	}
	return Answer{Problems: a.Problems}
}

// consequence says what a Lease that does not count leads to.
func consequence(l Lease, begun bool) string {
	switch {
	case !begun:
		return "it does not begin maintenance"
	case l.ReadError != "":
		return "maintenance does not end until it can be read"
	}
	return fmt.Sprintf("unless that changes, it counts as expired after %s", MissingLeaseGrace)
}

// notRenewed names the first three Leases and counts the others.
func notRenewed(names []string) string {
	const most = 3
	text := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if len(names) == 1 {
		return "Lease " + text + " has not been renewed within its duration"
	}
	return "none of Leases " + text + " has been renewed within its duration"
}
