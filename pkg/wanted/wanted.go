// Package wanted decides whether a target should be in maintenance now, and when that
// changes: by a person's request, its end, and the Leases that keep it up, or
// automatically.
package wanted

import (
	"fmt"
	"time"

	"maintenance-controller.io/pkg/annotations"
)

// Requester says who asks for maintenance.
type Requester int

// Who can ask for maintenance.
const (
	Nobody Requester = iota // maintenance is not wanted
	Person                  // by the annotation that says on
	Auto                    // by the controller itself, see auto.go
)

// Facts are what a request does not contain. Zero: nothing is known.
type Facts struct {
	// Begun says whether the maintenance that a person asks for has begun, see Begun. It is
	// then ended with care: a Lease that was not found yet may still appear.
	Begun bool
	// Leases that the request names, by name. One that is missing here has not been looked
	// up yet.
	Leases map[string]Lease
	// Auto is what an automatic decision is based on.
	Auto Automatic
}

// Begun says whether a target with these annotations shows anything of a maintenance that a
// person may have asked for. shown says that visitors are on a page. Automatic maintenance
// is not a person's, and one that was given up is none at all.
func Begun(all map[string]string, shown bool) bool {
	s := annotations.StatusOf(all)
	return (shown || s.State != "" || s.Since != "" || s.PageSet != "" || s.Original != "") && !ParseEpisode(s.Cause).On()
}

// Answer is what is wanted now.
type Answer struct {
	On bool      // the target should be in maintenance
	By Requester // Nobody if it should not
	// Cause says why maintenance is on if nobody asked for it; empty otherwise.
	Cause string
	// Next is when to decide again although nothing has changed; zero is never. It does not
	// include the expiry of Leases: the watch of Leases reports that, and no renewal causes
	// another decision.
	Next time.Time
	// Ended says why a person's request has expired; empty if it has not. The request must
	// then be removed.
	Ended string
	// Episode is the automatic maintenance to write on the target; zero for none.
	Episode Episode
	// Problems are what people should look at, for as long as it lasts.
	Problems []Problem
}

// Until is when maintenance ends, as visitors are told; zero if that is not known, as with
// Leases, or if no person has asked for it.
func (a Answer) Until(r annotations.Request) time.Time {
	if a.By != Person {
		return time.Time{}
	}
	return r.Until
}

// ProblemKind is the kind of a Problem.
type ProblemKind int

// The kinds of problems.
const (
	UntilPassed      ProblemKind = iota + 1 // the requested end passed before maintenance could begin
	LeaseNotHeld                            // a Lease does not keep maintenance up
	ReadinessUnknown                        // a backend's readiness is not known, or the checker does not exist
	GivenUp                                 // automatic maintenance has lasted for the restore timeout
)

// Problem is something that people should look at.
type Problem struct {
	Kind    ProblemKind // decides the reason of its event
	Message string      // names the annotation and says what to do
}

// Decide says what is wanted now.
//
//	enabled | until     | Leases                | begun | maintenance is
//	--------+-----------+-----------------------+-------+---------------------------------
//	on      | –         | –                     |       | on, with no end
//	on      | to come   | – or one holds        |       | on
//	on      | past      | any                   | yes   | ended
//	on      | past      | any                   | no    | off, with a Problem
//	on      | to come, –| all have expired      | yes   | ended
//	on      | to come, –| none holds (yet)      | no    | off, until one does; a Problem
//	on      | to come, –| not known             | yes   | on: only an observed Lease can end it
//	on      | to come, –| not known             | no    | off for now
//	off     | any       | any                   |       | off
//	absent  | any       | any                   |       | decided automatically
//
// If a person asks for maintenance and it is not on, or no longer on, it is decided
// automatically as well: ends and Leases only concern a person's request. A Lease that does
// not exist or cannot expire keeps maintenance going for MissingLeaseGrace.
func Decide(r annotations.Request, f Facts, now time.Time) Answer {
	switch r.Enabled {
	case annotations.On:
		a := person(r, f, now)
		if a.On {
			return a.keepGivenUp(r, f, now)
		}
		auto := automatic(r, f, now)
		auto.Ended, auto.Problems = a.Ended, append(a.Problems, auto.Problems...)
		return auto
	case annotations.Unset:
		return automatic(r, f, now)
	case annotations.Off:
	}
	return Answer{}
}

// person decides on a person's request.
func person(r annotations.Request, f Facts, now time.Time) Answer {
	if !r.Until.IsZero() && !now.Before(r.Until) {
		return requestEnded(f, fmt.Sprintf("annotation %s is %s, which has passed", annotations.Until, r.Until.Format(time.RFC3339)))
	}
	a := Answer{On: true, By: Person, Next: r.Until}
	if len(r.Leases) > 0 {
		a = requireLeases(a, r, f, now)
	}
	return a
}

// requestEnded is the end of a request, whether it has begun or not.
func requestEnded(f Facts, why string) Answer {
	if f.Begun {
		return Answer{Ended: why}
	}
	return Answer{Problems: []Problem{{Kind: UntilPassed, Message: why + ": the app is served; set a later time for maintenance"}}}
}
