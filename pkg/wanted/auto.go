package wanted

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"maintenance-controller.io/pkg/annotations"
)

// Recovery is how long a backend must have been ready before automatic maintenance ends,
// and before the next may begin after one that was given up.
const Recovery = 10 * time.Second

// Verdict on what a target's auto annotation is about: its backends or a ServiceChecker.
type Verdict int

// The verdicts.
const (
	// Unknown: observation has just begun, or its source is broken.
	Unknown Verdict = iota
	// Up: visitors can be served.
	Up
	// Down: visitors cannot be served.
	Down
	// Gone: the checker does not exist.
	Gone
)

// Observed is what is known of what a target's auto annotation is about. Zero: nothing is
// known.
type Observed struct {
	Verdict Verdict // whether visitors can be served
	// Since is when the verdict became so; zero is from the start.
	Since time.Time
	// For is how long the verdict must be Down before maintenance begins, and Recovery how
	// long it must be Up or Gone before maintenance ends.
	For, Recovery time.Duration
	// Causes name what is down, for people, in a fixed order: "Service shop/my-app has no
	// ready endpoint".
	Causes []string
	// Notes are what people should know regardless of the verdict: backends that count as
	// serving because their readiness is not known, or a checker that does not exist.
	Notes []string
}

// Automatic is everything that an automatic decision is based on. Zero: nothing is known
// and nothing has begun.
type Automatic struct {
	Observed Observed // what the annotation is about
	// Kept is the automatic maintenance that is written on the target.
	Kept Episode
	// Shown says whether visitors are on a page, if only for some backends; Restoring says
	// whether that is only until the app is ready.
	Shown, Restoring bool
}

// Episode is an automatic maintenance as it is written on its target, so that a restart
// neither ends it early nor begins one anew that was given up. The zero value is none.
type Episode struct {
	// Cause names what was down first, or is down by now, for people.
	Cause string
	// Since is when it began, to the second.
	Since time.Time
	// GivenUp says that it was given up after the restore timeout, and that the next one
	// begins only after what it is about has been up for Recovery.
	GivenUp bool
}

// stored is the form of an Episode in annotation maintenance/cause.
type stored struct {
	Cause string `json:"cause"`
	Since string `json:"since"`
	Spent bool   `json:"spent,omitempty"`
}

// maxCause limits a cause, in bytes.
const maxCause = 512

// ParseEpisode reads what String wrote. Text that cannot be read is no episode: at worst,
// it begins anew.
func ParseEpisode(text string) Episode {
	var s stored
	if len(text) > 4*maxCause || json.Unmarshal([]byte(text), &s) != nil {
		return Episode{}
	}
	since, err := time.Parse(time.RFC3339, s.Since)
	if err != nil {
		return Episode{}
	}
	return Episode{Cause: annotations.Line(s.Cause, maxCause), Since: since, GivenUp: s.Spent}
}

// String is the text of the annotation; empty for none.
func (s Episode) String() string {
	if s.Since.IsZero() {
		return ""
	}
	text, err := json.Marshal(stored{Cause: s.Cause, Since: s.Since.UTC().Format(time.RFC3339), Spent: s.GivenUp})
	if err != nil { // strings and a bool
		return ""
	}
	return string(text)
}

// On says whether the Episode is still going on.
func (s Episode) On() bool { return !s.Since.IsZero() && !s.GivenUp }

// automatic decides if no person has switched maintenance on or off.
//
//	so far     | observed                             | maintenance is
//	-----------+--------------------------------------+----------------------------------
//	nothing    | up, gone                             | off
//	nothing    | unknown                              | off
//	nothing    | down for less than For               | off until then
//	nothing    | down for For                         | on
//	a person's | down, or unknown                     | on
//	on         | down, or unknown                     | on
//	on         | up, and no visitor is on the page yet| off
//	on         | up, or gone, for less than Recovery  | on until then
//	on         | up, or gone, for Recovery            | off
//	on         | any, for RestoreTimeout              | off, and given up; a Problem
//	given up   | up for Recovery                      | off
//	given up   | anything else                        | off, and given up; a Problem
func automatic(r annotations.Request, f Facts, now time.Time) Answer {
	if r.Auto == "" {
		return Answer{}
	}
	s, kept := f.Auto.Observed, f.Auto.Kept
	a := Answer{Problems: noteProblems(s)}
	if kept.Since.After(now) { // the clock was set back, or somebody forged it
		kept.Since = now
	}
	lasted := max(0, now.Sub(s.Since))
	ended := f.Auto.Shown && !f.Auto.Restoring && !kept.On() // a person's maintenance, which ends now
	switch {
	case kept.GivenUp:
		return a.afterGivingUp(kept, s, lasted, now)
	case ended && (s.Verdict == Unknown || s.Verdict == Down):
		kept = Episode{Cause: causeUnknown, Since: now.Truncate(time.Second)}
	case !kept.On() && s.Verdict != Down:
		return a
	case !kept.On() && lasted < s.For:
		a.Next = s.Since.Add(s.For)
		return a
	case !kept.On():
		kept.Since = now.Truncate(time.Second)
	case s.Verdict == Up && !f.Auto.Shown, s.allowsEnd() && lasted >= s.Recovery:
		return a
	case s.allowsEnd():
		a.Next = now.Add(s.Recovery - lasted)
	}
	return a.keepOn(r, kept, s, now)
}

// causeUnknown is the cause of what is on until something is known.
const causeUnknown = "it is not yet known whether the app can serve"

// allowsEnd says whether maintenance ends if the verdict stays so.
func (s Observed) allowsEnd() bool { return s.Verdict == Up || s.Verdict == Gone }

// keepOn decides for how long maintenance stays on.
func (a Answer) keepOn(r annotations.Request, kept Episode, s Observed, now time.Time) Answer {
	if end := kept.Since.Add(r.RestoreTimeout); r.RestoreTimeout > 0 {
		if !now.Before(end) {
			kept.GivenUp = true
			return a.afterGivingUp(kept, s, max(0, now.Sub(s.Since)), now)
		}
		a.Next = earlier(a.Next, end)
	}
	if now := cause(s); s.Verdict == Down && !slices.Equal(servicesIn(now), servicesIn(kept.Cause)) {
		kept.Cause = now
	}
	a.On, a.By, a.Cause, a.Episode = true, Auto, kept.Cause, kept
	return a
}

// afterGivingUp decides after a maintenance was given up.
func (a Answer) afterGivingUp(kept Episode, s Observed, lasted time.Duration, now time.Time) Answer {
	if s.Verdict == Up {
		if lasted >= s.Recovery {
			return a
		}
		a.Next = now.Add(s.Recovery - lasted)
	}
	a.Episode = kept
	a.Problems = append(a.Problems, Problem{Kind: GivenUp, Message: fmt.Sprintf(
		"automatic maintenance was given up when annotation %s or its default ran out, and visitors get the app as it is: %s. It can begin again after the app has been ready for %s",
		annotations.RestoreTimeout, kept.Cause, s.recovery())})
	return a
}

// recovery gives the recovery time for people, also while nothing is known.
func (s Observed) recovery() time.Duration {
	if s.Recovery == 0 {
		return Recovery
	}
	return s.Recovery
}

// keepGivenUp keeps an episode that was given up while a person decides, until what it is
// about has been up. Everything else is the person's now.
func (a Answer) keepGivenUp(r annotations.Request, f Facts, now time.Time) Answer {
	s := f.Auto.Observed
	if r.Auto == "" || !f.Auto.Kept.GivenUp || s.Verdict == Up && now.Sub(s.Since) >= s.Recovery {
		return a
	}
	a.Episode = f.Auto.Kept
	return a
}

func noteProblems(s Observed) (problems []Problem) {
	for _, n := range s.Notes {
		problems = append(problems, Problem{Kind: ReadinessUnknown, Message: n})
	}
	return problems
}

// cause names the first three things that are down, and counts the others.
func cause(s Observed) string {
	const most = 3
	text := strings.Join(s.Causes[:min(len(s.Causes), most)], ", and ")
	if more := len(s.Causes) - most; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return annotations.Line(text, maxCause)
}

// servicesIn lists the Services that a cause names. Another number of endpoints is not
// another cause.
func servicesIn(cause string) []string { return serviceName.FindAllString(cause, -1) }

var serviceName = regexp.MustCompile(`\bService \S+`)

// earlier gives the earlier of two times; zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
