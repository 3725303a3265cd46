package plan

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/wanted"
)

const down = "Service shop/app-a has no ready endpoint"

// itself is a target that maintenance is to begin for by itself, at rest with its app up.
func itself(t *testing.T, annotate ...string) *scene {
	t.Helper()
	s := newScene(t, "a")
	s.annotate(annotations.Auto, annotations.AutoBackends)
	for i := 0; i < len(annotate); i += 2 {
		s.annotate(annotate[i], annotate[i+1])
	}
	s.see(wanted.Up)
	s.settle()
	return s
}

// see has auto see something from now on.
func (s *scene) see(v wanted.Verdict) {
	s.auto = wanted.Seen{Verdict: v, Since: s.now, For: time.Second, Recovery: wanted.Recovery}
	if v == wanted.Down {
		s.auto.Causes = []string{down}
	}
}

// stored is the object but for the version that each write gives it.
func (s *scene) stored() map[string]any {
	u := unstructured.Unstructured{Object: runtime.DeepCopyJSON(s.object)}
	u.SetResourceVersion("")
	return u.Object
}

func TestMaintenanceBeginsAndEndsByItself(t *testing.T) {
	t.Parallel()
	s := itself(t)
	before := s.stored()
	require.Equal(t, []string{setA}, s.claims, "its page is kept ready")

	s.see(wanted.Down)
	require.Equal(t, time.Second, s.step().After, "terminating Pods may still serve")
	require.Equal(t, before, s.stored(), "nothing is written for it")
	s.later(999 * time.Millisecond)
	require.Equal(t, "app-a", s.backends())
	s.later(time.Millisecond)
	require.Equal(t, setA, s.backends())
	assert.Equal(t, annotations.Switching, s.state())
	s.later(3 * time.Second)
	assert.Equal(t, annotations.Active, s.state())
	assert.Equal(t, "by itself, since "+down, s.annotations()[annotations.Message])
	require.Equal(t, 1, s.told(MaintenanceStarted))
	assert.Contains(t, s.events[0].Message, down)

	s.see(wanted.Up)
	require.Equal(t, wanted.Recovery, s.step().After)
	s.later(wanted.Recovery - 1)
	require.Equal(t, setA, s.backends())
	s.later(1)
	require.Equal(t, before, s.stored(), "to the byte, and nothing is left")
	require.Equal(t, 1, s.told(MaintenanceEnded))
	assert.Contains(t, s.events[len(s.events)-1].Message, down)
	assert.Equal(t, []string{setA}, s.claims, "its page is kept ready for the next time")
}

func TestWhoHasItInMaintenance(t *testing.T) {
	t.Parallel()
	s := itself(t)
	s.see(wanted.Down)
	s.later(time.Second)
	s.later(time.Minute)
	require.Contains(t, s.annotations()[annotations.Message], "by itself")

	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	assert.Equal(t, annotations.Active, s.state())
	assert.Contains(t, s.annotations()[annotations.Message], "asked for by annotation")
	assert.Empty(t, s.annotations()[annotations.Cause], "it is the person's now")
	s.see(wanted.Up)
	s.later(time.Hour)
	require.Equal(t, setA, s.backends(), "a person's goes on, whatever the app says")

	s.see(wanted.Down)
	s.later(time.Minute)
	s.annotate(annotations.DefaultEnabled, "")
	s.settle()
	require.Equal(t, setA, s.backends(), "absent lets the controller decide")
	assert.Contains(t, s.annotations()[annotations.Message], "by itself")

	s.annotate(annotations.DefaultEnabled, "false")
	s.settle()
	require.Equal(t, "app-a", s.backends(), "false switches it off")
	assert.Empty(t, s.claims)
	s.later(time.Hour)
	require.Equal(t, "app-a", s.backends())
}

// TestAnEndHandsOverWhereTheAppIsDown: it is that of what a person asked for, and visitors
// keep the page.
func TestAnEndHandsOverWhereTheAppIsDown(t *testing.T) {
	t.Parallel()
	s := itself(t)
	s.annotate(annotations.DefaultEnabled, "true")
	s.annotate(annotations.Until, s.now.Add(time.Hour).Format(time.RFC3339))
	s.settle()
	s.see(wanted.Down)
	s.later(time.Hour)
	require.Equal(t, setA, s.backends())
	require.Empty(t, s.annotations()[annotations.DefaultEnabled])
	require.Empty(t, s.annotations()[annotations.Until])
	require.Contains(t, s.annotations()[annotations.Message], "by itself")
	require.Zero(t, s.told(MaintenanceEnded))
	s.see(wanted.Up)
	s.later(wanted.Recovery)
	require.Equal(t, "app-a", s.backends())
}

// TestARestartDoesNotEndWhatBeganByItself, at whatever write it comes, nor begin it.
func TestARestartDoesNotEndWhatBeganByItself(t *testing.T) {
	t.Parallel()
	for writes := range 4 {
		for _, after := range []wanted.Verdict{wanted.Unknown, wanted.Down} {
			s := itself(t)
			before := s.stored()
			s.see(wanted.Down)
			s.now = s.now.Add(time.Minute)
			s.crashing(writes)
			begun := swap.OnPage(slotsOf(t, s))
			s.auto = wanted.Seen{}
			s.settle()
			require.Equal(t, begun, swap.OnPage(slotsOf(t, s)), "%d writes: unknown holds", writes)
			s.see(after)
			s.later(5 * time.Minute)
			require.Equal(t, begun || after == wanted.Down, swap.OnPage(slotsOf(t, s)))

			s.see(wanted.Up)
			s.now = s.now.Add(wanted.Recovery)
			s.crashing(writes)
			s.auto = wanted.Seen{}
			s.settle()
			s.see(wanted.Up)
			s.later(wanted.Recovery)
			require.Equal(t, before, s.stored(), "%d writes", writes)
			require.Nil(t, s.backup)
		}
	}
}

func TestAPageThatIsOnItsWayIsNotShownForAnAppThatIsBack(t *testing.T) {
	t.Parallel()
	s := itself(t)
	s.sets[setA] = pageset.Status{Phase: pageset.Starting, Message: "its Pods start"}
	s.see(wanted.Down)
	s.later(time.Second)
	assert.Equal(t, annotations.Pending, s.state())
	assert.Equal(t, "its Pods start; by itself, since "+down, s.annotations()[annotations.Message])
	s.see(wanted.Up)
	s.settle()
	assert.Empty(t, s.state())
	s.sets[setA] = pageset.Status{Phase: pageset.Serving}
	s.settle()
	assert.Equal(t, "app-a", s.backends())
}

// TestItIsGivenUpAfterTheTimeout, once: some apps never become ready behind a page.
func TestItIsGivenUpAfterTheTimeout(t *testing.T) {
	t.Parallel()
	for name, gate := range map[string]string{"without a gate": "", "the gate does not hold it": annotations.RestoreReady} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := itself(t, annotations.RestoreTimeout, "5m", annotations.RestoreWhen, gate)
			s.behind = []Backend{{Name: "Service shop/app-a", Why: "has no ready endpoint"}}
			before := s.stored()
			s.see(wanted.Down)
			s.later(time.Second)
			require.Equal(t, setA, s.backends())
			s.later(5*time.Minute - 1)
			require.Equal(t, setA, s.backends())
			s.later(1)
			require.Equal(t, "app-a", s.backends(), "the app, whatever it says")
			require.Equal(t, 1, s.told(RestoreTimedOut))
			require.Equal(t, 1, s.told(MaintenanceEnded))
			require.Nil(t, s.backup)
			assert.Equal(t, []string{setA}, s.claims)
			for range 3 {
				writes := s.writes
				s.memory = Memory{} // a restart
				s.later(time.Hour)
				require.Equal(t, "app-a", s.backends(), "and not again")
				require.Equal(t, writes, s.writes)
			}
			s.see(wanted.Up)
			s.later(wanted.Recovery - 1)
			s.see(wanted.Down)
			s.later(time.Minute)
			require.Equal(t, "app-a", s.backends(), "it was not ready for long")
			s.see(wanted.Up)
			s.later(wanted.Recovery)
			require.Equal(t, before, s.stored())
			s.see(wanted.Down)
			s.later(time.Second)
			require.Equal(t, setA, s.backends(), "it is armed again")
		})
	}
}

func TestThePageThatIsKeptReadyIsLookedAt(t *testing.T) {
	t.Parallel()
	s := itself(t)
	s.sets[setA] = pageset.Status{Phase: pageset.Blocked, Message: "no room"}
	s.page.Problem = "there is no page \"spring\""
	s.settle()
	assert.Equal(t, 1, s.told(PageNotReady))
	assert.Equal(t, 1, s.told(PageNotFound))
	assert.Empty(t, s.state(), "nothing is written for it")
	s.sets[setA] = pageset.Status{Phase: pageset.Conflict, Message: "in the way"}
	s.settle()
	assert.Equal(t, 1, s.told(NameConflict))
}

func TestNothingCanBeginWhereNothingCanBeSwapped(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.annotate(annotations.Auto, annotations.AutoChecker)
	s.annotate(annotations.Checker, "shop")
	s.see(wanted.Down)
	s.later(time.Minute)
	assert.Equal(t, 1, s.told(NothingToSwap))
	assert.Empty(t, s.annotations()[annotations.Cause])
	assert.Empty(t, s.claims)
}

// TestTheGate is the table above waits.
func TestTheGate(t *testing.T) {
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
			s.behind = []Backend{not}
			if tc.lasts == 0 {
				s.behind = tc.backends
			}
			s.settle()
			s.now, s.behind = epoch, tc.backends
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
				s.behind = nil
			}
			s.settle()
			assert.Equal(t, tc.warned, s.told(RestoreTimedOut) == 1)
			assert.Equal(t, before["spec"], s.stored()["spec"])
			left, _ := annotations.DefaultKeys().Remove(s.annotations())
			assert.Empty(t, left)
			assert.Equal(t, 1, s.told(MaintenanceEnded))
			assert.Nil(t, s.backup)
		})
	}
}

// TestWhileItRestores somebody writes backends back and adds new ones, the page changes,
// and maintenance is asked for again.
func TestWhileItRestores(t *testing.T) {
	t.Parallel()
	restoring := func(t *testing.T) *scene {
		t.Helper()
		s := newScene(t, "a", "b")
		s.annotate(annotations.RestoreWhen, annotations.RestoreReady)
		s.annotate(annotations.DefaultEnabled, "true")
		s.settle()
		s.later(time.Minute)
		s.behind = []Backend{{Name: "Service shop/app-a", Why: "has no ready endpoint"}}
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
		require.Zero(t, s.told(BackendReverted))
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
		s.behind = nil
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
		require.Zero(t, s.told(PageChanged)+s.told(BackendReverted)+s.told(MaintenanceEnded))
		require.Equal(t, 1, s.told(MaintenanceStarted))
	})
	t.Run("what is lost is told and not waited for", func(t *testing.T) {
		t.Parallel()
		s := restoring(t)
		s.annotate(annotations.Original, "")
		s.backup = nil
		s.settle()
		require.Equal(t, annotations.Blocked, s.state())
		require.Equal(t, 1, s.told(BackendLost))
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
		require.Equal(t, 1, s.told(RestoreTimedOut))
	})
}

// TestAutoAndGate: what any backend has ended, all are waited for.
func TestAutoAndGate(t *testing.T) {
	t.Parallel()
	s := itself(t, annotations.RestoreWhen, annotations.RestoreReady)
	s.see(wanted.Down)
	s.later(time.Minute)
	require.Equal(t, setA, s.backends())
	s.behind = []Backend{{Name: "Service shop/app-b", Why: "has no ready endpoint"}}
	s.see(wanted.Up)
	s.later(wanted.Recovery)
	require.Equal(t, annotations.Restoring, s.state())
	require.Empty(t, s.annotations()[annotations.Cause])
	s.auto = wanted.Seen{}
	s.memory = Memory{}
	s.later(time.Minute)
	require.Equal(t, annotations.Restoring, s.state(), "unknown begins nothing")
	s.see(wanted.Down)
	s.later(time.Second)
	require.Equal(t, setA, s.backends())
	require.Contains(t, []string{annotations.Switching, annotations.Active}, s.state(), "down again: it stays")
	s.see(wanted.Up)
	s.behind = nil
	s.later(wanted.Recovery)
	require.Equal(t, "app-a", s.backends(), fmt.Sprint(s.annotations()))
	require.Zero(t, s.told(RestoreTimedOut))
}
