package wanted

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"maintenance-controller.io/pkg/annotations"
)

// Chance is for how long a Lease that is not there, or says nothing that could be
// counted, holds a maintenance that has begun: it may be on its way, or be made anew.
const Chance = time.Minute

// What a Lease may be behind by, in the words of the API server's clock, when it is
// first seen. Only then is that clock asked: from the first renewal on that is seen, the
// controller's own counts alone. Without it every restart of the controller would keep
// alive what nobody renews. To end what has begun by a clock that is wrong would be
// worse than to begin late, so that there the bound is far.
const (
	lateToBegin = time.Minute
	lateToEnd   = time.Hour
)

// Lease is one that a request names, as far as it is known.
type Lease struct {
	// Unread says why nothing is known of it; empty if anything is.
	Unread string
	// Problem says why it does not count; empty if it does. Since is then since when that
	// is so.
	Problem string
	// Since when it has not changed, by the controller's own clock.
	Since time.Time
	// Renewed says whether a change of it has been seen; otherwise Since is when it was
	// first seen, and Written when it was last written by the API server's clock.
	Renewed bool
	Written time.Time
	// Duration for which a renewal holds.
	Duration time.Duration
}

// Expires is when the Lease no longer holds what has begun, if nothing changes.
func (l Lease) Expires() time.Time { return l.holds(Chance, lateToEnd) }

// Begins is until when maintenance may begin for its sake, if nothing changes.
func (l Lease) Begins() time.Time { return l.holds(0, lateToBegin) }

// holds is until when the Lease counts, given for how long one does that is none, and how
// late it may have been renewed when it was first seen.
func (l Lease) holds(chance, late time.Duration) time.Time {
	if l.Problem != "" {
		return l.Since.Add(chance)
	}
	if !l.Renewed && !l.Written.IsZero() && l.Since.Sub(l.Written) > l.Duration+late {
		return l.Since
	}
	return l.Since.Add(l.Duration)
}

// held decides for how long Leases hold what is asked for.
func held(a Answer, r annotations.Request, f Facts, now time.Time) Answer {
	holds, known := false, true
	for _, name := range r.Leases {
		l, ok := f.Leases[name]
		if why := cmp.Or(l.Unread, l.Problem); why != "" {
			a.Problems = append(a.Problems, Problem{Sort: NotAlive, Message: fmt.Sprintf("annotation %s names Lease %q, %s: %s", annotations.Lease, name, why, meanwhile(l, f.Begun))})
		}
		known = known && ok && l.Unread == ""
		end := l.Begins()
		if f.Begun {
			end = l.Expires()
		}
		holds = holds || ok && l.Unread == "" && now.Before(end)
	}
	switch {
	case holds:
		return a
	case !known:
		a.On = f.Begun // for this moment: the watch tells
		if !a.On {
			return Answer{Problems: a.Problems}
		}
		return a
	case f.Begun:
		return Answer{Ended: fmt.Sprintf("annotation %s: %s", annotations.Lease, lapsed(r.Leases)), Problems: a.Problems}
	}
	if len(a.Problems) == 0 {
		a.Problems = []Problem{{Sort: NotAlive, Message: fmt.Sprintf("annotation %s: %s: maintenance begins when one is renewed", annotations.Lease, lapsed(r.Leases))}}
	}
	return Answer{Problems: a.Problems}
}

// meanwhile says what comes of a Lease that does not count.
func meanwhile(l Lease, begun bool) string {
	switch {
	case !begun:
		return "maintenance does not begin for its sake"
	case l.Unread != "":
		return "maintenance has no end until it is"
	}
	return fmt.Sprintf("unless that changes, it counts as expired after %s", Chance)
}

// lapsed names the first few.
func lapsed(names []string) string {
	const most = 3
	text := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	if len(names) == 1 {
		return "Lease " + text + " has not been renewed for its duration"
	}
	return "none of Leases " + text + " has been renewed for its duration"
}
