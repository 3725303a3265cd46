package plan

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/wanted"
)

// TestGate is the table above gateHolds.
func TestGate(t *testing.T) {
	t.Parallel()
	ready := func(d time.Duration) Backend {
		return Backend{Name: "Service shop/b", Ready: true, Since: epoch.Add(-d)}
	}
	not := Backend{Name: "Service shop/a", Why: "has no ready endpoint"}
	for name, tc := range map[string]struct {
		backends []Backend
		lasts    time.Duration
		timeout  string
		waits    bool
		warned   bool
		after    time.Duration
	}{
		"none to judge":                     {},
		"all ready for long":                {backends: []Backend{ready(time.Hour), ready(time.Second)}},
		"one has just become ready":         {backends: []Backend{ready(time.Hour), ready(300 * time.Millisecond)}, waits: true, after: 700 * time.Millisecond},
		"one is not":                        {backends: []Backend{ready(time.Hour), not}, waits: true, after: 10 * time.Minute},
		"one is not, for less than that":    {backends: []Backend{not}, lasts: 10*time.Minute - time.Second, waits: true, after: time.Second},
		"one is not, for that":              {backends: []Backend{not}, lasts: 10 * time.Minute, warned: true},
		"one is not, for a time of its own": {backends: []Backend{not}, lasts: 5 * time.Second, timeout: "5s", warned: true},
		"one is not, without a bound":       {backends: []Backend{not}, lasts: 1000 * time.Hour, timeout: "0", waits: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, "a")
			before := s.stored()
			s.annotate(annotations.DefaultEnabled, "true")
			s.annotate(annotations.RestoreWhen, annotations.RestoreReady)
			s.annotate(annotations.RestoreTimeout, tc.timeout)
			s.lead, s.now = time.Second, epoch.Add(-tc.lasts-time.Minute)
			s.settle()
			s.later(time.Minute)
			require.Equal(t, annotations.Active, s.state())
			s.annotate(annotations.DefaultEnabled, "")
			s.gateBackends = []Backend{not}
			if tc.lasts == 0 {
				s.gateBackends = tc.backends
			}
			s.settle()
			s.now, s.gateBackends = epoch, tc.backends
			d := s.step()
			if tc.waits {
				assert.Equal(t, annotations.Restoring, s.state())
				assert.Equal(t, tc.after, d.After)
				assert.Equal(t, setA, s.backends())
				assert.Contains(t, s.annotations()[annotations.Message], tc.backends[len(tc.backends)-1].Name)
				assert.Equal(t, []string{setA}, s.claims)
				writes := s.writes
				s.memory = Memory{}
				s.settle()
				assert.Equal(t, writes, s.writes, "nothing changed")
				s.gateBackends = nil
			}
			s.settle()
			assert.Equal(t, tc.warned, s.eventCount(RestoreTimedOut) == 1)
			assert.Equal(t, before["spec"], s.stored()["spec"])
			left, _ := annotations.DefaultKeys().Remove(s.annotations())
			assert.Empty(t, left)
			assert.Equal(t, 1, s.eventCount(MaintenanceEnded))
			assert.Nil(t, s.backup)
		})
	}
}

// TestChangesWhileRestoring: somebody writes backends back or adds new ones, the page
// changes, or maintenance is asked for again.
func TestChangesWhileRestoring(t *testing.T) {
	t.Parallel()
	restoring := func(t *testing.T) *scene {
		t.Helper()
		s := newScene(t, "a", "b")
		s.annotate(annotations.RestoreWhen, annotations.RestoreReady)
		s.annotate(annotations.DefaultEnabled, "true")
		s.settle()
		s.later(time.Minute)
		s.gateBackends = []Backend{{Name: "Service shop/app-a", Why: "has no ready endpoint"}}
		s.annotate(annotations.DefaultEnabled, "false")
		s.settle()
		require.Equal(t, annotations.Restoring, s.state())
		require.Equal(t, setA+" "+setA, s.backends())
		return s
	}
	t.Run("a revert stays", func(t *testing.T) {
		t.Parallel()
		s := restoring(t)
		s.setRules(rule("a", "app-x"), rule("b", setA))
		s.settle()
		require.Equal(t, "app-x "+setA, s.backends())
		require.Equal(t, annotations.Restoring, s.state())
		require.Zero(t, s.eventCount(BackendReverted))
		s.setRules(rule("a", "app-x"), rule("b", "app-y"))
		s.settle()
		require.Equal(t, "app-x app-y", s.backends())
		require.Empty(t, s.state(), "nobody is on the page any more")
	})
	t.Run("a new host stays on its app", func(t *testing.T) {
		t.Parallel()
		s := restoring(t)
		s.setRules(rule("a", setA), rule("b", setA), rule("c", "app-c"))
		s.later(time.Minute)
		require.Equal(t, setA+" "+setA+" app-c", s.backends())
		s.gateBackends = nil
		s.settle()
		require.Equal(t, "app-a app-b app-c", s.backends())
	})
	t.Run("the page does not change", func(t *testing.T) {
		t.Parallel()
		s := restoring(t)
		s.page.Set = setB
		s.later(time.Minute)
		require.Equal(t, setA+" "+setA, s.backends())
		require.Equal(t, []string{setA}, s.claims)
	})
	t.Run("on again just stays", func(t *testing.T) {
		t.Parallel()
		s := restoring(t)
		s.annotate(annotations.DefaultEnabled, "true")
		s.settle()
		require.Equal(t, annotations.Active, s.state())
		require.Empty(t, s.annotations()[annotations.RestoringSince])
		require.Zero(t, s.eventCount(PageChanged)+s.eventCount(BackendReverted)+s.eventCount(MaintenanceEnded))
		require.Equal(t, 1, s.eventCount(MaintenanceStarted))
	})
	t.Run("what is lost is told and not waited for", func(t *testing.T) {
		t.Parallel()
		s := restoring(t)
		s.annotate(annotations.Original, "")
		s.backup = nil
		s.settle()
		require.Equal(t, annotations.Blocked, s.state())
		require.Equal(t, 1, s.eventCount(BackendLost))
	})
	t.Run("the time is kept through restarts", func(t *testing.T) {
		t.Parallel()
		s := restoring(t)
		for range 10 {
			s.memory = Memory{}
			s.later(59 * time.Second)
		}
		require.Equal(t, annotations.Restoring, s.state())
		s.memory = Memory{}
		s.later(10 * time.Second)
		require.Equal(t, "app-a app-b", s.backends())
		require.Equal(t, 1, s.eventCount(RestoreTimedOut))
	})
}

// TestAutoAndGate: any backend may end the maintenance, but all of them are waited for.
func TestAutoAndGate(t *testing.T) {
	t.Parallel()
	s := autoScene(t, annotations.RestoreWhen, annotations.RestoreReady)
	s.observe(wanted.Down)
	s.later(time.Minute)
	require.Equal(t, setA, s.backends())
	s.gateBackends = []Backend{{Name: "Service shop/app-b", Why: "has no ready endpoint"}}
	s.observe(wanted.Up)
	s.later(wanted.Recovery)
	require.Equal(t, annotations.Restoring, s.state())
	require.Empty(t, s.annotations()[annotations.Cause])
	s.auto = wanted.Observed{}
	s.memory = Memory{}
	s.later(time.Minute)
	require.Equal(t, annotations.Restoring, s.state(), "unknown begins nothing")
	s.observe(wanted.Down)
	s.later(time.Second)
	require.Equal(t, setA, s.backends())
	require.Contains(t, []string{annotations.Switching, annotations.Active}, s.state(), "down again: it stays")
	s.observe(wanted.Up)
	s.gateBackends = nil
	s.later(wanted.Recovery)
	require.Equal(t, "app-a", s.backends(), fmt.Sprint(s.annotations()))
	require.Zero(t, s.eventCount(RestoreTimedOut))
}
