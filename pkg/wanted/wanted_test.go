package wanted

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"maintenance-controller.io/pkg/annotations"
)

var now = time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)

// TestDecide is the table above Decide, line by line, and cases next to it.
func TestDecide(t *testing.T) {
	past, soon, late := now.Add(-time.Second), now.Add(time.Hour), now.Add(-48*time.Hour)
	lease := func(age time.Duration) Lease {
		return Lease{Since: now.Add(-age), Renewed: true, Written: late, Duration: time.Minute}
	}
	first := func(written time.Duration) Lease { // observed for the first time just now
		return Lease{Since: now, Written: now.Add(-written), Duration: time.Minute}
	}
	missing := func(age time.Duration) Lease { return Lease{Problem: "which is not there", Since: now.Add(-age)} }
	for name, tc := range map[string]struct {
		enabled  annotations.Enabled
		until    time.Time
		leases   map[string]Lease // of a and b
		only     bool             // only a is named
		begun    bool
		want     Answer // an Ended here stands for any text
		problems []ProblemKind
	}{
		"absent":                                   {enabled: annotations.Unset},
		"absent, with an end":                      {enabled: annotations.Unset, until: past, begun: true},
		"absent, with leases":                      {enabled: annotations.Unset, leases: map[string]Lease{"a": lease(time.Hour)}, begun: true},
		"off":                                      {enabled: annotations.Off, until: soon, begun: true},
		"on":                                       {enabled: annotations.On, want: Answer{On: true, By: Person}},
		"on until later":                           {enabled: annotations.On, until: soon, want: Answer{On: true, By: Person, Next: soon}},
		"on until now":                             {enabled: annotations.On, until: now, begun: true, want: Answer{Ended: "yes"}},
		"past, begun":                              {enabled: annotations.On, until: past, begun: true, want: Answer{Ended: "yes"}},
		"past at the start":                        {enabled: annotations.On, until: past, problems: []ProblemKind{UntilPassed}},
		"past, whatever Leases hold":               {enabled: annotations.On, until: past, begun: true, leases: map[string]Lease{"a": lease(0)}, want: Answer{Ended: "yes"}},
		"year 9999":                                {enabled: annotations.On, until: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), want: Answer{On: true, By: Person, Next: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}},
		"one holds":                                {enabled: annotations.On, leases: map[string]Lease{"a": lease(time.Hour), "b": lease(59 * time.Second)}, begun: true, want: Answer{On: true, By: Person}},
		"the last has expired":                     {enabled: annotations.On, leases: map[string]Lease{"a": lease(time.Hour), "b": lease(time.Minute)}, begun: true, want: Answer{Ended: "yes"}},
		"one holds, until later":                   {enabled: annotations.On, until: soon, leases: map[string]Lease{"a": lease(0), "b": lease(time.Hour)}, begun: true, want: Answer{On: true, By: Person, Next: soon}},
		"one holds, one is missing":                {enabled: annotations.On, leases: map[string]Lease{"a": lease(0), "b": missing(time.Hour)}, begun: true, want: Answer{On: true, By: Person}, problems: []ProblemKind{LeaseNotHeld}},
		"one is not known, begun":                  {enabled: annotations.On, leases: map[string]Lease{"a": lease(time.Hour)}, begun: true, want: Answer{On: true, By: Person}},
		"one is not known, not begun":              {enabled: annotations.On, leases: map[string]Lease{"a": lease(time.Hour)}},
		"one is not known, one holds":              {enabled: annotations.On, leases: map[string]Lease{"a": lease(0)}, want: Answer{On: true, By: Person}},
		"missing, not begun":                       {enabled: annotations.On, only: true, leases: map[string]Lease{"a": missing(0)}, problems: []ProblemKind{LeaseNotHeld}},
		"missing, begun, for less than Chance":     {enabled: annotations.On, only: true, begun: true, leases: map[string]Lease{"a": missing(MissingLeaseGrace - 1)}, want: Answer{On: true, By: Person}, problems: []ProblemKind{LeaseNotHeld}},
		"missing, begun, for Chance":               {enabled: annotations.On, only: true, begun: true, leases: map[string]Lease{"a": missing(MissingLeaseGrace)}, want: Answer{Ended: "yes"}, problems: []ProblemKind{LeaseNotHeld}},
		"fresh at first sight":                     {enabled: annotations.On, only: true, leases: map[string]Lease{"a": first(5 * time.Second)}, want: Answer{On: true, By: Person}},
		"left over at first sight":                 {enabled: annotations.On, only: true, leases: map[string]Lease{"a": first(3 * time.Minute)}, problems: []ProblemKind{LeaseNotHeld}},
		"left over, renewed since":                 {enabled: annotations.On, only: true, leases: map[string]Lease{"a": lease(0)}, want: Answer{On: true, By: Person}},
		"left over at first sight, begun":          {enabled: annotations.On, only: true, begun: true, leases: map[string]Lease{"a": first(3 * time.Minute)}, want: Answer{On: true, By: Person}},
		"left over long ago, begun":                {enabled: annotations.On, only: true, begun: true, leases: map[string]Lease{"a": first(2 * time.Hour)}, want: Answer{Ended: "yes"}},
		"written in the future of this clock":      {enabled: annotations.On, only: true, leases: map[string]Lease{"a": first(-2 * time.Hour)}, want: Answer{On: true, By: Person}},
		"expired before it began, and not renewed": {enabled: annotations.On, only: true, leases: map[string]Lease{"a": lease(time.Minute)}, problems: []ProblemKind{LeaseNotHeld}},
	} {
		t.Run(name, func(t *testing.T) {
			r := annotations.Request{Enabled: tc.enabled, Limits: annotations.Limits{Until: tc.until}}
			switch {
			case tc.only:
				r.Leases = []string{"a"}
			case tc.leases != nil:
				r.Leases = []string{"a", "b"}
			}
			got := Decide(r, Facts{Begun: tc.begun, Leases: tc.leases}, now)
			var sorts []ProblemKind
			for _, p := range got.Problems {
				sorts = append(sorts, p.Kind)
				assert.Contains(t, p.Message, annotations.Prefix, "the message names the annotation")
			}
			assert.Equal(t, tc.problems, sorts)
			if tc.want.Ended != "" {
				assert.True(t, strings.HasPrefix(got.Ended, "annotation "+annotations.Prefix), "%q", got.Ended)
				tc.want.Ended = got.Ended
			}
			tc.want.Problems = got.Problems
			assert.Equal(t, tc.want, got)
		})
	}
}

// TestUntilIsAnInstant: the offset only says which instant is meant, also in the hour that
// daylight saving time skips.
func TestUntilIsAnInstant(t *testing.T) {
	for text, on := range map[string]bool{
		"2026-03-29T02:00:00+01:00": false, // now, in the winter time of Berlin
		"2026-03-29T03:00:00+02:00": false, // now, in its summer time
		"2026-03-29T02:30:00+01:00": true,  // no watch has shown this one
		"2026-03-28T14:00:01-11:00": true,
		"2026-03-29T14:59:59+14:00": false,
	} {
		r, problems := annotations.DefaultKeys().Parse(map[string]string{annotations.DefaultEnabled: "true", annotations.Until: text})
		assert.Empty(t, problems)
		assert.Equal(t, on, Decide(r, Facts{Begun: true}, now).On, text)
	}
}

func TestBegun(t *testing.T) {
	t.Parallel()
	on := Episode{Cause: "Service shop/a has no ready endpoint", Since: now}
	spent := on
	spent.GivenUp = true
	for name, tc := range map[string]struct {
		all         map[string]string
		shown, want bool
	}{
		"nothing":                      {},
		"a request":                    {all: map[string]string{annotations.DefaultEnabled: "true", annotations.Until: "u"}},
		"it waits for its page":        {all: map[string]string{annotations.State: annotations.Pending}, want: true},
		"its annotations were removed": {shown: true, want: true},
		"since":                        {all: map[string]string{annotations.Since: "s"}, want: true},
		"its page set":                 {all: map[string]string{annotations.PageSet: "s"}, want: true},
		"originals":                    {all: map[string]string{annotations.Original: "o"}, want: true},
		"by itself":                    {all: map[string]string{annotations.State: annotations.Active, annotations.Cause: on.String()}, shown: true},
		"given up":                     {all: map[string]string{annotations.Cause: spent.String(), annotations.Installation: "i"}},
		"given up before":              {all: map[string]string{annotations.State: annotations.Active, annotations.Cause: spent.String()}, shown: true, want: true},
	} {
		assert.Equal(t, tc.want, Begun(tc.all, tc.shown), name)
	}
}
