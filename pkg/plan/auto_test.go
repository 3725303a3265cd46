package plan

import (
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

const downCause = "Service shop/app-a has no ready endpoint"

// autoScene is a settled target with automatic maintenance whose app is up.
func autoScene(t *testing.T, annotate ...string) *scene {
	t.Helper()
	s := newScene(t, "a")
	s.annotate(annotations.Auto, annotations.AutoBackends)
	for i := 0; i < len(annotate); i += 2 {
		s.annotate(annotate[i], annotate[i+1])
	}
	s.observe(wanted.Up)
	s.settle()
	return s
}

// observe sets the verdict from now on.
func (s *scene) observe(v wanted.Verdict) {
	s.auto = wanted.Observed{Verdict: v, Since: s.now, For: time.Second, Recovery: wanted.Recovery}
	if v == wanted.Down {
		s.auto.Causes = []string{downCause}
	}
}

// stored is the object without the resourceVersion, which each write changes.
func (s *scene) stored() map[string]any {
	u := unstructured.Unstructured{Object: runtime.DeepCopyJSON(s.object)}
	u.SetResourceVersion("")
	return u.Object
}

func TestAutoBeginsAndEndsMaintenance(t *testing.T) {
	t.Parallel()
	s := autoScene(t)
	before := s.stored()
	require.Equal(t, []string{setA}, s.claims, "its page is kept ready")

	s.observe(wanted.Down)
	require.Equal(t, time.Second, s.step().After, "terminating Pods may still serve")
	require.Equal(t, before, s.stored(), "nothing is written for it")
	s.later(999 * time.Millisecond)
	require.Equal(t, "app-a", s.backends())
	s.later(time.Millisecond)
	require.Equal(t, setA, s.backends())
	assert.Equal(t, annotations.Switching, s.state())
	s.later(3 * time.Second)
	assert.Equal(t, annotations.Active, s.state())
	assert.Equal(t, "began automatically because "+downCause, s.annotations()[annotations.Message])
	require.Equal(t, 1, s.eventCount(MaintenanceStarted))
	assert.Contains(t, s.events[0].Message, downCause)

	s.observe(wanted.Up)
	require.Equal(t, wanted.Recovery, s.step().After)
	s.later(wanted.Recovery - 1)
	require.Equal(t, setA, s.backends())
	s.later(1)
	require.Equal(t, before, s.stored(), "to the byte, and nothing is left")
	require.Equal(t, 1, s.eventCount(MaintenanceEnded))
	assert.Contains(t, s.events[len(s.events)-1].Message, downCause)
	assert.Equal(t, []string{setA}, s.claims, "its page is kept ready for the next time")
}

func TestPersonOverridesAuto(t *testing.T) {
	t.Parallel()
	s := autoScene(t)
	s.observe(wanted.Down)
	s.later(time.Second)
	s.later(time.Minute)
	require.Contains(t, s.annotations()[annotations.Message], "began automatically")

	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	assert.Equal(t, annotations.Active, s.state())
	assert.Contains(t, s.annotations()[annotations.Message], "requested by annotation")
	assert.Empty(t, s.annotations()[annotations.Cause], "it is the person's now")
	s.observe(wanted.Up)
	s.later(time.Hour)
	require.Equal(t, setA, s.backends(), "a person's goes on, whatever the app says")

	s.observe(wanted.Down)
	s.later(time.Minute)
	s.annotate(annotations.DefaultEnabled, "")
	s.settle()
	require.Equal(t, setA, s.backends(), "absent lets the controller decide")
	assert.Contains(t, s.annotations()[annotations.Message], "began automatically")

	s.annotate(annotations.DefaultEnabled, "false")
	s.settle()
	require.Equal(t, "app-a", s.backends(), "false switches it off")
	assert.Empty(t, s.claims)
	s.later(time.Hour)
	require.Equal(t, "app-a", s.backends())
}

// TestAutoTakesOverAtUntilIfTheAppIsDown: the end concerns the person's request, and
// visitors keep the page.
func TestAutoTakesOverAtUntilIfTheAppIsDown(t *testing.T) {
	t.Parallel()
	s := autoScene(t)
	s.annotate(annotations.DefaultEnabled, "true")
	s.annotate(annotations.Until, s.now.Add(time.Hour).Format(time.RFC3339))
	s.settle()
	s.observe(wanted.Down)
	s.later(time.Hour)
	require.Equal(t, setA, s.backends())
	require.Empty(t, s.annotations()[annotations.DefaultEnabled])
	require.Empty(t, s.annotations()[annotations.Until])
	require.Contains(t, s.annotations()[annotations.Message], "began automatically")
	require.Zero(t, s.eventCount(MaintenanceEnded))
	s.observe(wanted.Up)
	s.later(wanted.Recovery)
	require.Equal(t, "app-a", s.backends())
}

// TestRestartKeepsAutomaticMaintenance: a restart after any write neither ends nor begins
// it.
func TestRestartKeepsAutomaticMaintenance(t *testing.T) {
	t.Parallel()
	for writes := range 4 {
		for _, after := range []wanted.Verdict{wanted.Unknown, wanted.Down} {
			s := autoScene(t)
			before := s.stored()
			s.observe(wanted.Down)
			s.now = s.now.Add(time.Minute)
			s.crashAfter(writes)
			begun := swap.OnPage(slotsOf(t, s))
			s.auto = wanted.Observed{}
			s.settle()
			require.Equal(t, begun, swap.OnPage(slotsOf(t, s)), "%d writes: unknown holds", writes)
			s.observe(after)
			s.later(5 * time.Minute)
			require.Equal(t, begun || after == wanted.Down, swap.OnPage(slotsOf(t, s)))

			s.observe(wanted.Up)
			s.now = s.now.Add(wanted.Recovery)
			s.crashAfter(writes)
			s.auto = wanted.Observed{}
			s.settle()
			s.observe(wanted.Up)
			s.later(wanted.Recovery)
			require.Equal(t, before, s.stored(), "%d writes", writes)
			require.Nil(t, s.backup)
		}
	}
}

func TestNoSwapIfTheAppRecoversBeforeThePageServes(t *testing.T) {
	t.Parallel()
	s := autoScene(t)
	s.sets[setA] = pageset.Status{Phase: pageset.Starting, Message: "its Pods start"}
	s.observe(wanted.Down)
	s.later(time.Second)
	assert.Equal(t, annotations.Pending, s.state())
	assert.Equal(t, "its Pods start; began automatically because "+downCause, s.annotations()[annotations.Message])
	s.observe(wanted.Up)
	s.settle()
	assert.Empty(t, s.state())
	s.sets[setA] = pageset.Status{Phase: pageset.Serving}
	s.settle()
	assert.Equal(t, "app-a", s.backends())
}

// TestAutoGivesUpAfterTheRestoreTimeout, once: some apps never become ready behind a page.
func TestAutoGivesUpAfterTheRestoreTimeout(t *testing.T) {
	t.Parallel()
	for name, gate := range map[string]string{"without a gate": "", "the gate does not hold it": annotations.RestoreReady} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := autoScene(t, annotations.RestoreTimeout, "5m", annotations.RestoreWhen, gate)
			s.gateBackends = []Backend{{Name: "Service shop/app-a", Why: "has no ready endpoint"}}
			before := s.stored()
			s.observe(wanted.Down)
			s.later(time.Second)
			require.Equal(t, setA, s.backends())
			s.later(5*time.Minute - 1)
			require.Equal(t, setA, s.backends())
			s.later(1)
			require.Equal(t, "app-a", s.backends(), "the app, whatever it says")
			require.Equal(t, 1, s.eventCount(RestoreTimedOut))
			require.Equal(t, 1, s.eventCount(MaintenanceEnded))
			require.Nil(t, s.backup)
			assert.Equal(t, []string{setA}, s.claims)
			for range 3 {
				writes := s.writes
				s.memory = Memory{} // a restart
				s.later(time.Hour)
				require.Equal(t, "app-a", s.backends(), "and not again")
				require.Equal(t, writes, s.writes)
			}
			s.observe(wanted.Up)
			s.later(wanted.Recovery - 1)
			s.observe(wanted.Down)
			s.later(time.Minute)
			require.Equal(t, "app-a", s.backends(), "it was not ready for long")
			s.observe(wanted.Up)
			s.later(wanted.Recovery)
			require.Equal(t, before, s.stored())
			s.observe(wanted.Down)
			s.later(time.Second)
			require.Equal(t, setA, s.backends(), "it is armed again")
		})
	}
}

func TestProblemsOfThePrewarmedPageAreReported(t *testing.T) {
	t.Parallel()
	s := autoScene(t)
	s.sets[setA] = pageset.Status{Phase: pageset.Blocked, Message: "no room"}
	s.page.Problem = "there is no page \"spring\""
	s.settle()
	assert.Equal(t, 1, s.eventCount(PageNotReady))
	assert.Equal(t, 1, s.eventCount(PageNotFound))
	assert.Empty(t, s.state(), "nothing is written for it")
	s.sets[setA] = pageset.Status{Phase: pageset.Conflict, Message: "in the way"}
	s.settle()
	assert.Equal(t, 1, s.eventCount(NameConflict))
}

func TestAutoWithNothingToSwap(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.annotate(annotations.Auto, annotations.AutoChecker)
	s.annotate(annotations.Checker, "shop")
	s.observe(wanted.Down)
	s.later(time.Minute)
	assert.Equal(t, 1, s.eventCount(NothingToSwap))
	assert.Empty(t, s.annotations()[annotations.Cause])
	assert.Empty(t, s.claims)
}
