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

// Recovery is how long a backend must have been ready before a maintenance ends that
// began since none was, and before the next may begin after one that was given up.
const Recovery = 10 * time.Second

// Verdict on what a target's auto annotation is about.
type Verdict int

// Verdicts.
const (
	// Unknown: it has just been started to look, or what tells is broken.
	Unknown Verdict = iota
	// Up: visitors can be served.
	Up
	// Down: they cannot.
	Down
	// Gone: there is no such checker.
	Gone
)

// Seen is what is known of what a target's auto annotation is about. The zero value is
// that nothing is.
type Seen struct {
	Verdict Verdict
	// Since when the verdict is so; zero is from the start.
	Since time.Time
	// For is how long it must have been Down before maintenance begins, and Recovery how
	// long Up, or Gone, before it ends.
	For, Recovery time.Duration
	// Causes name what is down, for people, in a fixed order: "Service shop/my-app has no ready endpoint".
	Causes []string
	// Notes are what people should look at, whatever the verdict: backends that count as
	// serving since nobody can judge them, a checker that is not there.
	Notes []string
}

// Automatic is all that the controller decides by itself from. The zero value is that
// nothing is known and nothing has begun.
type Automatic struct {
	Seen Seen
	// Kept is what the target says has begun.
	Kept Spell
	// Shown says whether visitors are on a page, be it of some backends, and Restoring
	// whether that is only until the app is ready.
	Shown, Restoring bool
}

// Spell is a maintenance that began by itself, as it is kept on its target: a restart
// does not end it early, nor begin anew what was given up. The zero value is none.
type Spell struct {
	// Cause names what was down first, or is by now, for people.
	Cause string
	// Since when it has been on, to the second.
	Since time.Time
	// Spent says that it was given up after the restore timeout, and that the next begins
	// only after what it is about has been up for a while.
	Spent bool
}

// stored is the form of a Spell in annotation maintenance/cause.
type stored struct {
	Cause string `json:"cause"`
	Since string `json:"since"`
	Spent bool   `json:"spent,omitempty"`
}

// maxCause bounds a cause, in bytes.
const maxCause = 512

// ParseSpell reads what String wrote. What cannot be read is none: at worst, it begins anew.
func ParseSpell(text string) Spell {
	var s stored
	if len(text) > 4*maxCause || json.Unmarshal([]byte(text), &s) != nil {
		return Spell{}
	}
	since, err := time.Parse(time.RFC3339, s.Since)
	if err != nil {
		return Spell{}
	}
	return Spell{Cause: annotations.Line(s.Cause, maxCause), Since: since, Spent: s.Spent}
}

// String is the Spell's annotation, empty for none.
func (s Spell) String() string {
	if s.Since.IsZero() {
		return ""
	}
	text, err := json.Marshal(stored{Cause: s.Cause, Since: s.Since.UTC().Format(time.RFC3339), Spent: s.Spent})
	if err != nil { // strings and a bool
		return ""
	}
	return string(text)
}

// On says whether the Spell is of a maintenance that is on.
func (s Spell) On() bool { return !s.Since.IsZero() && !s.Spent }

// automatic decides where no person has it on or off.
//
//	so far     | seen                                 | it is
//	-----------+--------------------------------------+----------------------------------
//	nothing    | up, gone                             | off
//	nothing    | unknown                              | off
//	nothing    | down for less than For               | off, until then
//	nothing    | down for For                         | on
//	a person's | down, or unknown                     | on
//	on         | down, or unknown                     | on
//	on         | up, and no visitor is on the page yet| off
//	on         | up, or gone, for less than Recovery  | on, until then
//	on         | up, or gone, for Recovery            | off
//	on         | any, for RestoreTimeout              | off, and spent; a Problem
//	spent      | up for Recovery                      | off
//	spent      | anything else                        | off, and spent; a Problem
func automatic(r annotations.Request, f Facts, now time.Time) Answer {
	if r.Auto == "" {
		return Answer{}
	}
	s, kept := f.Auto.Seen, f.Auto.Kept
	a := Answer{Problems: notes(s)}
	if kept.Since.After(now) { // the clock has been set back, or somebody forged it
		kept.Since = now
	}
	lasted := max(0, now.Sub(s.Since))
	ended := f.Auto.Shown && !f.Auto.Restoring && !kept.On() // a person's, this moment
	switch {
	case kept.Spent:
		return a.spent(kept, s, lasted, now)
	case ended && (s.Verdict == Unknown || s.Verdict == Down):
		kept = Spell{Cause: unknown, Since: now.Truncate(time.Second)}
	case !kept.On() && s.Verdict != Down:
		return a
	case !kept.On() && lasted < s.For:
		a.Next = s.Since.Add(s.For)
		return a
	case !kept.On():
		kept.Since = now.Truncate(time.Second)
	case s.Verdict == Up && !f.Auto.Shown, s.comesBack() && lasted >= s.Recovery:
		return a
	case s.comesBack():
		a.Next = now.Add(s.Recovery - lasted)
	}
	return a.on(r, kept, s, now)
}

// unknown is the cause of what is held for the moment.
const unknown = "it is not known yet whether the app can serve"

// comesBack says whether maintenance ends if it stays so.
func (s Seen) comesBack() bool { return s.Verdict == Up || s.Verdict == Gone }

// on decides for how long it may be on.
func (a Answer) on(r annotations.Request, kept Spell, s Seen, now time.Time) Answer {
	if end := kept.Since.Add(r.RestoreTimeout); r.RestoreTimeout > 0 {
		if !now.Before(end) {
			kept.Spent = true
			return a.spent(kept, s, max(0, now.Sub(s.Since)), now)
		}
		a.Next = sooner(a.Next, end)
	}
	if now := cause(s); s.Verdict == Down && !slices.Equal(services(now), services(kept.Cause)) {
		kept.Cause = now
	}
	a.On, a.By, a.Cause, a.Spell = true, Auto, kept.Cause, kept
	return a
}

// spent decides after a maintenance was given up.
func (a Answer) spent(kept Spell, s Seen, lasted time.Duration, now time.Time) Answer {
	if s.Verdict == Up {
		if lasted >= s.Recovery {
			return a
		}
		a.Next = now.Add(s.Recovery - lasted)
	}
	a.Spell = kept
	a.Problems = append(a.Problems, Problem{Sort: GivenUp, Message: fmt.Sprintf(
		"maintenance that began by itself was given up when annotation %s or its default ran out, and visitors get the app as it is: %s. It begins by itself again after the app has been ready for %s",
		annotations.RestoreTimeout, kept.Cause, s.recovery())})
	return a
}

// recovery for people, also while nothing is known.
func (s Seen) recovery() time.Duration {
	if s.Recovery == 0 {
		return Recovery
	}
	return s.Recovery
}

// frozen is what is kept while a person decides: what was given up stays so until it has
// been up, and all else is the person's now.
func (a Answer) frozen(r annotations.Request, f Facts, now time.Time) Answer {
	s := f.Auto.Seen
	if r.Auto == "" || !f.Auto.Kept.Spent || s.Verdict == Up && now.Sub(s.Since) >= s.Recovery {
		return a
	}
	a.Spell = f.Auto.Kept
	return a
}

func notes(s Seen) (problems []Problem) {
	for _, n := range s.Notes {
		problems = append(problems, Problem{Sort: NotJudged, Message: n})
	}
	return problems
}

// cause names the first few of what is down.
func cause(s Seen) string {
	const most = 3
	text := strings.Join(s.Causes[:min(len(s.Causes), most)], ", and ")
	if more := len(s.Causes) - most; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return annotations.Line(text, maxCause)
}

// services that a cause names. How many endpoints each has is no other cause.
func services(cause string) []string { return named.FindAllString(cause, -1) }

var named = regexp.MustCompile(`\bService \S+`)

// sooner of two times, of which zero is never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
