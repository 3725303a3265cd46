// Package wanted decides whether a target is to be in maintenance now, and when that
// changes by itself: a person's request, until when, and the Leases that keep it up.
package wanted

import (
	"fmt"
	"time"

	"maintenance-controller.io/pkg/annotations"
)

// Who asks for maintenance.
type Who int

// Whom an Answer may stand on.
const (
	Nobody Who = iota
	Person     // by the annotation that says on
	Auto       // by the controller itself, see auto.go
)

// Facts are what a request does not say. The zero value is that nothing is known.
type Facts struct {
	// Begun says whether what a person asks for has begun, see Begun. It is ended with care
	// then: a Lease that was not found yet may still come.
	Begun bool
	// Leases by name, of those that the request names. One that is missing here has not
	// been looked for yet.
	Leases map[string]Lease
	// Auto is what the controller itself would do.
	Auto Automatic
}

// Begun says whether a target with these annotations has anything of a maintenance on it
// that a person may have asked for. What the controller began by itself is no person's, and
// that it was given up is not one at all.
func Begun(all map[string]string, shown bool) bool {
	s := annotations.StatusOf(all)
	return (shown || s.State != "" || s.Since != "" || s.PageSet != "" || s.Original != "") && !ParseSpell(s.Cause).On()
}

// Answer is what is wanted now.
type Answer struct {
	On bool
	By Who
	// Cause says why it is on if nobody asked for it; empty otherwise.
	Cause string
	// Next is when to decide again although nothing has changed; zero is never. The
	// expiry of Leases is not in it: who watches them tells, and need not ask each time
	// that one was renewed.
	Next time.Time
	// Ended says why what a person asks for has ended by itself, empty if it has not:
	// the request is then to be taken off.
	Ended string
	// Spell is what is to be kept on the target of what the controller has begun by itself.
	Spell Spell
	// Problems are what people should look at, for as long as it is so.
	Problems []Problem
}

// Until is when maintenance ends by itself, as visitors are told; zero if it is not known,
// as of Leases, or if no person has asked for it.
func (a Answer) Until(r annotations.Request) time.Time {
	if a.By != Person {
		return time.Time{}
	}
	return r.Until
}

// Sort of a Problem.
type Sort int

// What may be wrong.
const (
	Expired   Sort = iota + 1 // what is asked for was over before it could begin
	NotAlive                  // a Lease does not do what it is named for
	NotJudged                 // nobody can tell whether a backend serves, or there is no checker
	GivenUp                   // what began by itself has lasted for the restore timeout
)

// Problem is something that people should look at.
type Problem struct {
	Sort    Sort
	Message string // names the annotation and says what to do
}

// Decide says what is wanted now.
//
//	enabled | until     | Leases                | begun | it is
//	--------+-----------+-----------------------+-------+---------------------------------
//	on      | –         | –                     |       | on, with no end
//	on      | to come   | – or one holds        |       | on
//	on      | past      | any                   | yes   | ended
//	on      | past      | any                   | no    | off, with a Problem
//	on      | to come, –| all have expired      | yes   | ended
//	on      | to come, –| none holds (yet)      | no    | off, until one does; a Problem
//	on      | to come, –| not known             | yes   | on: a Lease has to be seen to end it
//	on      | to come, –| not known             | no    | off for this moment
//	off     | any       | any                   |       | off
//	absent  | any       | any                   |       | what the controller itself would do
//
// Where a person asks for it and it is not on (any more), the controller itself decides as
// well: an end and Leases are those of what a person asked for.
// A Lease that is missing, or no one's that can expire, holds what has begun for Chance.
func Decide(r annotations.Request, f Facts, now time.Time) Answer {
	switch r.Enabled {
	case annotations.On:
		a := person(r, f, now)
		if a.On {
			return a.frozen(r, f, now)
		}
		auto := automatic(r, f, now)
		auto.Ended, auto.Problems = a.Ended, append(a.Problems, auto.Problems...)
		return auto
	case annotations.Unasked:
		return automatic(r, f, now)
	case annotations.Off:
	}
	return Answer{}
}

// person decides on what a person asks for.
func person(r annotations.Request, f Facts, now time.Time) Answer {
	if !r.Until.IsZero() && !now.Before(r.Until) {
		return over(f, fmt.Sprintf("annotation %s is %s, which is past", annotations.Until, r.Until.Format(time.RFC3339)))
	}
	a := Answer{On: true, By: Person, Next: r.Until}
	if len(r.Leases) > 0 {
		a = held(a, r, f, now)
	}
	return a
}

// over is the end of a request: of one that has begun, or before it could.
func over(f Facts, why string) Answer {
	if f.Begun {
		return Answer{Ended: why}
	}
	return Answer{Problems: []Problem{{Sort: Expired, Message: why + ": the app is served; set a later one for maintenance"}}}
}
