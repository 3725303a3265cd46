package annotations

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestLimits(t *testing.T) {
	evening := time.Date(2026, 1, 31, 17, 0, 0, 0, time.UTC)
	var many []string
	for i := range MaxLeases + 1 {
		many = append(many, fmt.Sprintf("run-%d", i))
	}
	for name, tc := range map[string]struct {
		give     map[string]string
		want     Limits
		problems int
	}{
		"none":                    {},
		"empty":                   {give: map[string]string{Reason: " ", By: "", Until: " ", Lease: " , "}},
		"why and who":             {give: map[string]string{Reason: " database\nmigration ", By: "\x1b[31malice"}, want: Limits{Reason: `database\nmigration`, By: `\x1b[31malice`}},
		"until":                   {give: map[string]string{Until: "2026-01-31T18:00:00+01:00"}, want: Limits{Until: evening}},
		"until in UTC":            {give: map[string]string{Until: " 2026-01-31T17:00:00Z\n"}, want: Limits{Until: evening}},
		"until without offset":    {give: map[string]string{Until: "2026-01-31T18:00:00"}, problems: 1},
		"until of a person":       {give: map[string]string{Until: "tomorrow"}, problems: 1},
		"until in seconds":        {give: map[string]string{Until: "1769878800"}, problems: 1},
		"until that never is":     {give: map[string]string{Until: "2026-02-30T18:00:00Z"}, problems: 1},
		"until of the first year": {give: map[string]string{Until: "0001-01-01T00:00:00Z"}, want: Limits{Until: time.Unix(0, 0)}},
		"a lease":                 {give: map[string]string{Lease: "run-1"}, want: Limits{Leases: []string{"run-1"}}},
		"leases":                  {give: map[string]string{Lease: "run-1,run-2, run-1\nrun-3,"}, want: Limits{Leases: []string{"run-1", "run-2", "run-3"}}},
		"one of them is no name":  {give: map[string]string{Lease: "run-1,Run_2"}, want: Limits{Leases: []string{"run-1"}}, problems: 1},
		"none of them is a name":  {give: map[string]string{Lease: "../x"}, problems: 1},
		"too many":                {give: map[string]string{Lease: strings.Join(many, ",")}, problems: 1},
		"as many as there may be": {give: map[string]string{Lease: strings.Join(many[1:], ",")},
			want: Limits{Leases: many[1:]}},
	} {
		t.Run(name, func(t *testing.T) {
			on := map[string]string{DefaultEnabled: "true"}
			for key, value := range tc.give {
				on[key] = value
			}
			got, problems := DefaultKeys().Parse(on)
			require.Len(t, problems, tc.problems)
			for _, p := range problems {
				assert.Contains(t, p.Message, p.Key)
				assert.Contains(t, tc.give, p.Key)
			}
			assert.True(t, tc.want.Until.Equal(got.Until), "%s", got.Until)
			tc.want.Until = got.Until
			assert.Equal(t, tc.want, got.Limits)

			_, problems = DefaultKeys().Parse(tc.give)
			assert.Empty(t, problems, "who asks for nothing is told nothing")
		})
	}
}

// TestListsAreBounded: little is reported about a list that is as long as annotations may
// be, and no Lease that may count is left out.
func TestListsAreBounded(t *testing.T) {
	t.Parallel()
	var wrong []string
	for i := range 50_000 {
		wrong = append(wrong, fmt.Sprint("_", i))
	}
	list := strings.Join(wrong, ",")
	got, problems := DefaultKeys().Parse(map[string]string{DefaultEnabled: "true", Lease: "run-1," + list + ",run-2", OpenPaths: list})
	assert.Empty(t, got.Leases)
	assert.Len(t, problems, 1+maxReported+1)
	size := 0
	for _, p := range problems {
		size += len(p.Message)
	}
	assert.Less(t, size, 4<<10)
}

func TestReasonAndByAreBounded(t *testing.T) {
	got, _ := DefaultKeys().Parse(map[string]string{Reason: strings.Repeat("ü\u202e", 1000), By: strings.Repeat("x\n", 1000)})
	assert.LessOrEqual(t, len(got.Reason), MaxReason)
	assert.LessOrEqual(t, len(got.By), MaxBy)
	assert.False(t, strings.ContainsFunc(got.Reason+got.By, func(r rune) bool { return !unicode.IsPrint(r) }))
}

func TestRemoveEnded(t *testing.T) {
	all := map[string]string{DefaultEnabled: "true", DefaultCustomPage: "spring", Reason: "r", By: "b", Until: "u", Lease: "l", "a": "b"}
	assert.Equal(t, map[string]string{DefaultCustomPage: "spring", "a": "b"}, DefaultKeys().RemoveEnded(all))
	removed, _ := DefaultKeys().Remove(all)
	assert.Equal(t, map[string]string{"a": "b"}, removed)
	assert.Len(t, all, 7, "the caller's map stays as it was")
	own := Keys{Enabled: "acme.io/down", EnabledValue: "yes", CustomPage: "acme.io/page"}
	assert.Equal(t, map[string]string{"acme.io/page": "p"}, own.RemoveEnded(map[string]string{"acme.io/down": "yes", "acme.io/page": "p", Until: "u"}))
}
