package annotations

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestAutomation(t *testing.T) {
	t.Parallel()
	const week = 7 * 24 * time.Hour
	for name, tc := range map[string]struct {
		give map[string]string
		want Automation
		bad  []string // the keys at fault
	}{
		"nothing":                     {},
		"backends":                    {give: map[string]string{Auto: " backends "}, want: Automation{Auto: "backends", RestoreTimeout: 10 * time.Minute}},
		"a checker":                   {give: map[string]string{Auto: "checker", Checker: "shop"}, want: Automation{Auto: "checker", Checker: "shop", RestoreTimeout: 10 * time.Minute}},
		"no checker":                  {give: map[string]string{Auto: "checker"}, bad: []string{Auto}},
		"a checker of another place":  {give: map[string]string{Auto: "checker", Checker: "other/shop"}, bad: []string{Checker}},
		"a checker without its mode":  {give: map[string]string{Checker: "shop"}, bad: []string{Checker}},
		"a checker beside backends":   {give: map[string]string{Auto: "backends", Checker: "shop"}, want: Automation{Auto: "backends", RestoreTimeout: 10 * time.Minute}, bad: []string{Checker}},
		"a typo":                      {give: map[string]string{Auto: "backend"}, bad: []string{Auto}},
		"true":                        {give: map[string]string{Auto: "true"}, bad: []string{Auto}},
		"a gate":                      {give: map[string]string{RestoreWhen: "ready"}, want: Automation{RestoreWhen: "ready", RestoreTimeout: 10 * time.Minute}},
		"a gate that does not exist":  {give: map[string]string{RestoreWhen: "healthy"}, bad: []string{RestoreWhen}},
		"a bound":                     {give: map[string]string{RestoreWhen: "ready", RestoreTimeout: "1h30m"}, want: Automation{RestoreWhen: "ready", RestoreTimeout: 90 * time.Minute}},
		"no bound":                    {give: map[string]string{RestoreWhen: "ready", RestoreTimeout: "0"}, want: Automation{RestoreWhen: "ready"}},
		"the smallest":                {give: map[string]string{RestoreWhen: "ready", RestoreTimeout: "1s"}, want: Automation{RestoreWhen: "ready", RestoreTimeout: time.Second}},
		"the largest":                 {give: map[string]string{RestoreWhen: "ready", RestoreTimeout: "168h"}, want: Automation{RestoreWhen: "ready", RestoreTimeout: week}},
		"too small":                   {give: map[string]string{RestoreWhen: "ready", RestoreTimeout: "999ms"}, want: Automation{RestoreWhen: "ready", RestoreTimeout: 10 * time.Minute}, bad: []string{RestoreTimeout}},
		"too large":                   {give: map[string]string{RestoreWhen: "ready", RestoreTimeout: "168h1s"}, want: Automation{RestoreWhen: "ready", RestoreTimeout: 10 * time.Minute}, bad: []string{RestoreTimeout}},
		"below zero":                  {give: map[string]string{RestoreWhen: "ready", RestoreTimeout: "-1m"}, want: Automation{RestoreWhen: "ready", RestoreTimeout: 10 * time.Minute}, bad: []string{RestoreTimeout}},
		"no duration":                 {give: map[string]string{Auto: "backends", RestoreTimeout: "600"}, want: Automation{Auto: "backends", RestoreTimeout: 10 * time.Minute}, bad: []string{RestoreTimeout}},
		"a bound of nothing is fine":  {give: map[string]string{RestoreTimeout: "5m"}},
		"a wrong bound of nothing is": {give: map[string]string{RestoreTimeout: "soon"}, bad: []string{RestoreTimeout}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req, problems := DefaultKeys().Parse(tc.give)
			assert.Equal(t, tc.want, req.Automation)
			var bad []string
			for _, p := range problems {
				assert.False(t, p.Unknown, "%s", p.Message)
				assert.Contains(t, p.Message, p.Key)
				bad = append(bad, p.Key)
			}
			assert.Equal(t, tc.bad, bad)
			_, asks := DefaultKeys().Remove(tc.give)
			assert.Equal(t, len(tc.give) > 0, asks, "all of it can be taken off")
		})
	}
}
