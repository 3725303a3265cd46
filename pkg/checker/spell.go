package checker

import (
	"time"

	"maintenance-controller.io/pkg/apis/v1alpha1"
)

// spell is how a service has been, and what it counts as since it has been so.
type spell struct {
	known bool // now
	ready bool // now, or when it was known last
	// since when it is ready, or is not; zero if that was never known.
	since time.Time
	// counted is Up or Down, and holds while it is not known; empty if it never counted.
	counted v1alpha1.ServiceState
}

// waits are how long a service must have been down, and back, before it counts.
type waits struct{ down, up time.Duration }

// sight is what is seen of a service. What is not known is neither ready nor down.
type sight struct {
	known, ready bool
	at           time.Time
}

// next is the spell after something was seen, or after time has passed, and when it
// changes although nothing is seen; zero is never.
//
//	known | is    | counts as | then
//	------+-------+-----------+----------------------------------------------
//	no    | –     | any       | holds: neither what it counts as nor since when
//	yes   | ready | –         | Up at once
//	yes   | ready | Up        | Up
//	yes   | ready | Down      | Up, once it has been for recoverFor
//	yes   | down  | –, Up     | Down, once it has been for for
//	yes   | down  | Down      | Down
func (s spell) next(now sight, w waits) (spell, time.Time) {
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
	case s.counted == want:
		return s, time.Time{}
	case now.ready && s.counted == "", !due.After(now.at):
		s.counted = want
		return s, time.Time{}
	default:
		return s, due
	}
}

// state is what it counts as for all to see.
func (s spell) state() v1alpha1.ServiceState {
	if !s.known || s.counted == "" {
		return v1alpha1.Unknown
	}
	return s.counted
}

// resumed is the spell that a status speaks of: of another replica, or before a restart.
func resumed(s v1alpha1.ServiceStatus, now time.Time) spell {
	r := spell{ready: s.Ready, since: s.Since.Time}
	if s.State == v1alpha1.Up || s.State == v1alpha1.Down {
		r.counted = s.State
	}
	if r.since.After(now) { // somebody's clock is wrong
		r.since = now
	}
	return r
}
