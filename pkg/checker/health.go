package checker

import (
	"time"

	"maintenance-controller.io/pkg/apis/v1alpha1"
)

// health is the observed state of a service, and what it counts as.
type health struct {
	known bool // known now
	ready bool // ready now, or when it was last known
	// since when it is ready or not ready; zero if that was never known.
	since time.Time
	// countsAs is Up or Down and does not change while the state is unknown; empty if it was never
	// known.
	countsAs v1alpha1.ServiceState
}

// waits are how long a service must have been down, and up again, before it counts.
type waits struct{ down, up time.Duration }

// observation is the state of a service at a time. An unknown service is neither ready nor down.
type observation struct {
	known, ready bool
	at           time.Time
}

// next returns the health after an observation, and when it changes although nothing new is
// observed; zero is never.
//
//	known | is    | counts as | then
//	------+-------+-----------+--------------------------------------------------
//	no    | –     | any       | unchanged: both what it counts as and since when
//	yes   | ready | –         | Up at once
//	yes   | ready | Up        | Up
//	yes   | ready | Down      | Up, once it has been ready for recoverFor
//	yes   | down  | –, Up     | Down, once it has been down for spec.for
//	yes   | down  | Down      | Down
func (s health) next(now observation, w waits) (health, time.Time) {
	s.known = now.known
	if !now.known {
		return s, time.Time{}
	}
	if s.since.IsZero() || s.ready != now.ready {
		s.ready, s.since = now.ready, now.at
	}
	want, wait := v1alpha1.Down, w.down
	if now.ready {
		want, wait = v1alpha1.Up, w.up
	}
	switch due := s.since.Add(wait); {
	case s.countsAs == want:
		return s, time.Time{}
	case now.ready && s.countsAs == "", !due.After(now.at):
		s.countsAs = want
		return s, time.Time{}
	default:
		return s, due
	}
}

// state returns what the service counts as in the status.
func (s health) state() v1alpha1.ServiceState {
	if !s.known || s.countsAs == "" {
		return v1alpha1.Unknown
	}
	return s.countsAs
}

// resumedHealth returns the health that a status describes, written by another replica or before a
// restart.
func resumedHealth(s v1alpha1.ServiceStatus, now time.Time) health {
	r := health{ready: s.Ready, since: s.Since.Time}
	if s.State == v1alpha1.Up || s.State == v1alpha1.Down {
		r.countsAs = s.State
	}
	if r.since.After(now) { // a clock is wrong
		r.since = now
	}
	return r
}
