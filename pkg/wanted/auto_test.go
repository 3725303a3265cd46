package wanted

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/annotations"
)

// TestAutomatic is the table above automatic, line by line and for each request of a
// person.
func TestAutomatic(t *testing.T) {
	t.Parallel()
	const app = "Service shop/my-app has no ready endpoint"
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	seen := func(v Verdict, lasted time.Duration) Observed {
		s := Observed{Verdict: v, Since: ago(lasted), For: time.Second, Recovery: Recovery}
		if v == Down {
			s.Causes = []string{app}
		}
		return s
	}
	on := Episode{Cause: app, Since: ago(time.Minute)}
	old := Episode{Cause: app, Since: ago(10 * time.Minute)}
	spent := Episode{Cause: app, Since: ago(time.Hour), GivenUp: true}
	gaveUp := Episode{Cause: app, Since: old.Since, GivenUp: true}
	end := on.Since.Add(10 * time.Minute)
	for name, tc := range map[string]struct {
		enabled annotations.Enabled
		seen    Observed
		kept    Episode
		hidden  bool // nobody is on the page
		never   bool // restore-timeout is 0
		on      bool
		spell   Episode
		next    time.Time
		givenUp bool
	}{
		"nothing is known yet":             {seen: Observed{}, hidden: true},
		"a person's ends, and unknown":     {seen: Observed{}, on: true, spell: Episode{Cause: causeUnknown, Since: now}, next: now.Add(10 * time.Minute)},
		"a person's ends, and up":          {seen: seen(Up, 0)},
		"up":                               {seen: seen(Up, time.Hour)},
		"there is no checker":              {seen: seen(Gone, time.Hour)},
		"a person's ends, and down":        {seen: seen(Down, 0), on: true, spell: Episode{Cause: app, Since: now}, next: now.Add(10 * time.Minute)},
		"down for less than that":          {seen: seen(Down, 999*time.Millisecond), hidden: true, next: now.Add(time.Millisecond)},
		"down for that":                    {seen: seen(Down, time.Second), on: true, spell: Episode{Cause: app, Since: now}, next: now.Add(10 * time.Minute)},
		"down from the start":              {seen: Observed{Verdict: Down, Causes: []string{app}}, on: true, spell: Episode{Cause: app, Since: now}, next: now.Add(10 * time.Minute)},
		"down, without a bound":            {seen: seen(Down, time.Second), never: true, on: true, spell: Episode{Cause: app, Since: now}},
		"on, and still down":               {seen: seen(Down, time.Minute), kept: on, on: true, spell: on, next: end},
		"on, and another is down":          {seen: Observed{Verdict: Down, Causes: []string{"Service b is down"}}, kept: on, on: true, spell: Episode{Cause: "Service b is down", Since: on.Since}, next: end},
		"on, and down in another way":      {seen: Observed{Verdict: Down, Causes: []string{"Service shop/my-app has no ready endpoint, of 7"}}, kept: on, on: true, spell: on, next: end},
		"on, and unknown":                  {seen: Observed{}, kept: on, on: true, spell: on, next: end},
		"on, and unknown for ever":         {seen: Observed{}, kept: old, spell: gaveUp, givenUp: true},
		"on, and up for less than that":    {seen: seen(Up, Recovery-1), kept: on, on: true, spell: on, next: now.Add(1)},
		"on, and up for that":              {seen: seen(Up, Recovery), kept: on},
		"on, up, and nobody has seen it":   {seen: seen(Up, 0), kept: on, hidden: true},
		"on, down, and nobody has seen it": {seen: seen(Down, 0), kept: on, hidden: true, on: true, spell: on, next: end},
		"on, and the checker has gone":     {seen: seen(Gone, Recovery-1), kept: on, on: true, spell: on, next: now.Add(1)},
		"on, and it stays gone":            {seen: seen(Gone, Recovery), kept: on},
		"down for the timeout":             {seen: seen(Down, time.Hour), kept: old, spell: gaveUp, givenUp: true},
		"down for longer, without a bound": {seen: seen(Down, time.Hour), kept: old, never: true, on: true, spell: old},
		"up, but not for long, at the end": {seen: seen(Up, time.Second), kept: old, spell: gaveUp, givenUp: true, next: now.Add(9 * time.Second)},
		"up at last, at the end":           {seen: seen(Up, Recovery), kept: old},
		"given up, and still down":         {seen: seen(Down, time.Hour), kept: spent, spell: spent, givenUp: true},
		"given up, and unknown":            {seen: Observed{}, kept: spent, spell: spent, givenUp: true},
		"given up, and the checker gone":   {seen: seen(Gone, time.Hour), kept: spent, spell: spent, givenUp: true},
		"given up, and up for a moment":    {seen: seen(Up, time.Second), kept: spent, spell: spent, givenUp: true, next: now.Add(9 * time.Second)},
		"given up, and up for that":        {seen: seen(Up, Recovery), kept: spent},
		"the clock was set back":           {seen: seen(Down, 0), kept: Episode{Cause: app, Since: now.Add(time.Hour)}, on: true, spell: Episode{Cause: app, Since: now}, next: now.Add(10 * time.Minute)},
		"a time of change in the future":   {seen: seen(Up, -time.Hour), kept: on, on: true, spell: on, next: now.Add(Recovery)},

		"off, and down":              {enabled: annotations.Off, seen: seen(Down, time.Hour)},
		"off, on before":             {enabled: annotations.Off, seen: seen(Down, time.Hour), kept: on},
		"off, given up before":       {enabled: annotations.Off, seen: seen(Down, time.Hour), kept: spent},
		"a person, and up":           {enabled: annotations.On, seen: seen(Up, time.Hour), on: true},
		"a person, and down":         {enabled: annotations.On, seen: seen(Down, time.Hour), on: true},
		"a person takes over":        {enabled: annotations.On, seen: seen(Down, time.Hour), kept: old, on: true},
		"a person, given up before":  {enabled: annotations.On, seen: seen(Down, time.Hour), kept: spent, on: true, spell: spent},
		"a person, up again by then": {enabled: annotations.On, seen: seen(Up, Recovery), kept: spent, on: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := annotations.Request{Enabled: tc.enabled, Automation: annotations.Automation{Auto: annotations.AutoBackends, RestoreTimeout: 10 * time.Minute}}
			if tc.never {
				r.RestoreTimeout = 0
			}
			got := Decide(r, Facts{Begun: !tc.hidden, Auto: Automatic{Observed: tc.seen, Kept: tc.kept, Shown: !tc.hidden}}, now)
			by := Nobody
			switch {
			case tc.on && tc.enabled == annotations.On:
				by = Person
			case tc.on:
				by = Auto
			}
			assert.Equal(t, tc.on, got.On)
			assert.Equal(t, by, got.By)
			assert.Equal(t, tc.spell, got.Episode)
			assert.Equal(t, tc.next, got.Next)
			assert.Equal(t, tc.givenUp, len(got.Problems) == 1 && got.Problems[0].Kind == GivenUp, "%v", got.Problems)
			if by == Auto {
				assert.Equal(t, tc.spell.Cause, got.Cause)
			}
			if got.Next != (time.Time{}) {
				assert.True(t, got.Next.After(now), "it would be looked at again at once, for ever")
			}
		})
	}
}

// TestEndsAndLeasesApplyToPeopleOnly: whatever is down stays in maintenance all the same.
func TestEndsAndLeasesApplyToPeopleOnly(t *testing.T) {
	t.Parallel()
	r := annotations.Request{
		Enabled: annotations.On, Limits: annotations.Limits{Until: now.Add(-time.Second)},
		Automation: annotations.Automation{Auto: annotations.AutoBackends, RestoreTimeout: time.Hour},
	}
	down := Observed{Verdict: Down, Since: now.Add(-time.Minute), Causes: []string{"it is down"}}
	got := Decide(r, Facts{Begun: true, Auto: Automatic{Observed: down, Shown: true}}, now)
	assert.True(t, got.On)
	assert.Equal(t, Auto, got.By)
	assert.NotEmpty(t, got.Ended, "the request is to be taken off")
	got = Decide(r, Facts{Begun: true, Auto: Automatic{Observed: Observed{Verdict: Up}, Shown: true}}, now)
	assert.False(t, got.On)
	assert.NotEmpty(t, got.Ended)

	r.Enabled = annotations.Unset
	got = Decide(r, Facts{Begun: true, Auto: Automatic{Observed: down, Shown: true}}, now)
	assert.True(t, got.On, "an end that is past is not auto's")
	assert.Empty(t, got.Ended)
}

func TestRestoringDoesNotBeginAutomatically(t *testing.T) {
	t.Parallel()
	r := annotations.Request{Automation: annotations.Automation{Auto: annotations.AutoBackends}}
	assert.False(t, Decide(r, Facts{Begun: true, Auto: Automatic{Shown: true, Restoring: true}}, now).On)
}

func TestNothingIsRequested(t *testing.T) {
	t.Parallel()
	down := Observed{Verdict: Down, Causes: []string{"it is down"}, Notes: []string{"one is an ExternalName"}}
	kept := Episode{Cause: "it is down", Since: now}
	assert.Equal(t, Answer{}, Decide(annotations.Request{}, Facts{Begun: true, Auto: Automatic{Observed: down, Kept: kept, Shown: true}}, now))
}

func TestUnknownReadinessIsReported(t *testing.T) {
	t.Parallel()
	r := annotations.Request{Automation: annotations.Automation{Auto: annotations.AutoBackends}}
	got := Decide(r, Facts{Auto: Automatic{Observed: Observed{Verdict: Up, Notes: []string{"one is an ExternalName"}}}}, now)
	assert.Equal(t, []Problem{{Kind: ReadinessUnknown, Message: "one is an ExternalName"}}, got.Problems)
}

func TestEpisodeRoundTrip(t *testing.T) {
	t.Parallel()
	for _, s := range []Episode{{}, {Cause: "Service shop/\"a\" has no ready endpoint", Since: now}, {Cause: "a", Since: now, GivenUp: true}} {
		assert.Equal(t, s, ParseEpisode(s.String()))
	}
	for _, bad := range []string{"", "{", "[]", `{"cause":"a"}`, `{"cause":"a","since":"yesterday"}`, `{"cause":1,"since":"2026-01-01T00:00:00Z"}`} {
		assert.Equal(t, Episode{}, ParseEpisode(bad), bad)
	}
	long := Episode{Cause: cause(Observed{Causes: []string{string(make([]byte, 2000))}}), Since: now}
	require.Less(t, len(long.String()), 4*maxCause, "it can be read back")
	assert.Equal(t, long, ParseEpisode(long.String()))
	assert.Equal(t, "a, and b, and c, and 2 more", cause(Observed{Causes: []string{"a", "b", "c", "d", "e"}}))
}
