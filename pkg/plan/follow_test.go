package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

const follower = "example.com/gateway"

// routeScene is a route with two rules, on a Gateway whose controller has observed it.
func routeScene(t *testing.T) *scene {
	t.Helper()
	rule := func(path, app string) any {
		return map[string]any{"matches": []any{map[string]any{"path": map[string]any{"type": "PathPrefix", "value": path}}}, "backendRefs": []any{map[string]any{"name": app, "port": int64(80)}}}
	}
	s := newScene(t)
	s.kind = target.HTTPRoute()
	s.object = map[string]any{
		"metadata": map[string]any{"name": "my-app", "namespace": "shop", "generation": int64(4)},
		"spec":     map[string]any{"parentRefs": []any{map[string]any{"name": "web"}}, "rules": []any{rule("/a", "app-a"), rule("/b", "app-b")}},
	}
	s.observedByController(4, "")
	return s
}

// observedByController writes what the Gateway's controller has observed, and why it does
// not accept the route.
func (s *scene) observedByController(generation int64, refused string) {
	s.object = runtime.DeepCopyJSON(s.object)
	condition := map[string]any{"type": "ResolvedRefs", "status": "True", "observedGeneration": generation, "lastTransitionTime": s.now.UTC().Format(time.RFC3339)}
	if refused != "" {
		condition["status"], condition["reason"], condition["message"] = "False", "BackendNotFound", refused
	}
	s.object["status"] = map[string]any{"parents": []any{map[string]any{"parentRef": map[string]any{"name": "web"}, "controllerName": follower, "conditions": []any{condition}}}}
}

func (s *scene) generation() int64 {
	u := unstructured.Unstructured{Object: s.object}
	return u.GetGeneration()
}

func (s *scene) enabled() *scene {
	s.annotate(annotations.DefaultEnabled, "true")
	return s
}

// countGenerations gives the object a new generation whenever its spec changes.
func countGenerations(s *scene) *scene {
	last := s.object["spec"]
	s.onUpdate = func(sent map[string]any) map[string]any {
		u := unstructured.Unstructured{Object: runtime.DeepCopyJSON(sent)}
		if !assert.ObjectsAreEqual(last, u.Object["spec"]) {
			u.SetGeneration(u.GetGeneration() + 1)
			last = u.Object["spec"]
		}
		return u.Object
	}
	return s
}

// TestSettleTimeStartsWhenTheSwapIsObserved if the controller reports what it has observed.
func TestSettleTimeStartsWhenTheSwapIsObserved(t *testing.T) {
	s := countGenerations(routeScene(t)).enabled()
	s.settle()
	require.Equal(t, int64(5), s.generation())
	s.later(10 * time.Second)
	assert.Equal(t, annotations.Switching, s.state(), "it has not been seen")
	s.observedByController(5, "")
	s.settle()
	s.later(3*time.Second - time.Millisecond)
	assert.Equal(t, annotations.Switching, s.state(), "it may be following")
	s.later(time.Millisecond)
	assert.Equal(t, annotations.Active, s.state())
	assert.Zero(t, s.eventCount(SwapNotObserved))

	s.observedByController(4, "gone") // at rest, status is ignored
	s.later(time.Hour)
	assert.Equal(t, annotations.Active, s.state())
}

// TestControllerThatDoesNotObserveTheSwapIsNamed, and does not delay the state for ever.
func TestControllerThatDoesNotObserveTheSwapIsNamed(t *testing.T) {
	s := countGenerations(routeScene(t)).enabled()
	s.settle()
	s.later(30*time.Second - time.Millisecond)
	assert.Equal(t, annotations.Switching, s.state())
	s.later(time.Millisecond)
	assert.Equal(t, annotations.Active, s.state())
	require.Equal(t, 1, s.eventCount(SwapNotObserved))
	assert.Contains(t, s.events[len(s.events)-1].Message, follower)
}

// TestControllersThatAreNotWaitedFor: those that report nothing, had not observed the route
// before, or are no longer a parent.
func TestControllersThatAreNotWaitedFor(t *testing.T) {
	for name, change := range map[string]func(*scene){
		"nobody says anything": func(s *scene) { delete(s.object, "status") },
		"behind before":        func(s *scene) { s.observedByController(3, "") },
	} {
		t.Run(name, func(t *testing.T) {
			s := countGenerations(routeScene(t))
			change(s)
			s.enabled().settle()
			s.later(3 * time.Second)
			assert.Equal(t, annotations.Active, s.state())
			assert.Zero(t, s.eventCount(SwapNotObserved))
		})
	}
	t.Run("no parent any more", func(t *testing.T) {
		s := countGenerations(routeScene(t)).enabled()
		s.settle()
		s.object = runtime.DeepCopyJSON(s.object)
		s.object["spec"].(map[string]any)["parentRefs"] = []any{map[string]any{"name": "other"}}
		s.settle()
		s.later(3 * time.Second)
		assert.Equal(t, annotations.Active, s.state())
	})
	t.Run("the settle time is nothing", func(t *testing.T) {
		s := countGenerations(routeScene(t)).enabled()
		s.classes, s.byClass = []string{"quick"}, map[string]time.Duration{"quick": 0}
		s.settle()
		s.later(time.Millisecond)
		assert.Equal(t, annotations.Active, s.state())
		assert.Zero(t, s.eventCount(SwapNotObserved))
	})
}

// TestRouteRejectedOnThePage is blocked with the controller's message, stays swapped, and
// continues once it is accepted.
func TestRouteRejectedOnThePage(t *testing.T) {
	s := countGenerations(routeScene(t)).enabled()
	s.settle()
	s.later(time.Second)
	s.observedByController(5, "no such Service")
	s.settle()
	assert.Equal(t, annotations.Blocked, s.state())
	assert.Contains(t, s.annotations()[annotations.Message], "ResolvedRefs is False: no such Service")
	assert.Equal(t, 1, s.eventCount(RouteRejected))
	s.later(time.Hour)
	assert.Equal(t, annotations.Blocked, s.state())
	slots, err := s.kind.Slots(s.object)
	require.NoError(t, err)
	assert.True(t, slots[0].OnPage() && slots[1].OnPage())
	s.observedByController(5, "")
	s.settle()
	assert.NotEqual(t, annotations.Active, s.state(), "it follows now")
	s.later(3 * time.Second)
	assert.Equal(t, annotations.Active, s.state())
	assert.Empty(t, s.annotations()[annotations.Message])
}

// TestRouteRejectedBeforeTheSwap is not rejected because of the page, whether that is
// remembered or forgotten in a restart.
func TestRouteRejectedBeforeTheSwap(t *testing.T) {
	for _, forgets := range []bool{false, true} {
		s := countGenerations(routeScene(t))
		s.observedByController(4, "no such Service")
		old := s.object["status"]
		s.later(time.Minute)
		s.enabled().settle()
		s.object = runtime.DeepCopyJSON(s.object)
		s.object["status"] = runtime.DeepCopyJSON(old.(map[string]any))
		follow := s.object["status"].(map[string]any)["parents"].([]any)[0].(map[string]any)["conditions"].([]any)[0].(map[string]any)
		follow["observedGeneration"] = int64(5)
		if forgets {
			s.memory = Memory{}
		}
		s.settle()
		s.later(3 * time.Second)
		assert.Equal(t, annotations.Active, s.state(), "forgets: %v", forgets)
		assert.Zero(t, s.eventCount(RouteRejected))
	}
}

// TestObservationIsWaitedForAfterARestart although the new process does not know who had
// observed the route before the swap.
func TestObservationIsWaitedForAfterARestart(t *testing.T) {
	s := countGenerations(routeScene(t)).enabled()
	s.settle()
	s.memory = Memory{}
	s.settle()
	s.later(4 * time.Second)
	assert.Equal(t, annotations.Switching, s.state())
	s.observedByController(5, "")
	s.settle()
	s.later(3 * time.Second)
	assert.Equal(t, annotations.Active, s.state())
}

// TestLongestSettleTimeCounts among all classes of a target.
func TestLongestSettleTimeCounts(t *testing.T) {
	s := Settings{Settle: 3 * time.Second, SettleByClass: map[string]time.Duration{"alb": time.Minute, "quick": time.Second}}
	for want, classes := range map[time.Duration][]string{3 * time.Second: nil, time.Minute: {"quick", "alb"}, time.Second: {"quick"}} {
		assert.Equal(t, want, s.SettleOf(classes), "%v", classes)
	}
	assert.Equal(t, 3*time.Second, s.SettleOf([]string{"quick", "traefik"}))
}

// TestIngressSettlesByItsClass as well.
func TestIngressSettlesByItsClass(t *testing.T) {
	s := newScene(t, "a")
	s.classes, s.byClass = []string{"alb"}, map[string]time.Duration{"alb": time.Minute}
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	s.later(time.Minute - time.Millisecond)
	assert.Equal(t, annotations.Switching, s.state())
	s.later(time.Millisecond)
	assert.Equal(t, annotations.Active, s.state())
}

// TestPartlyRefusedRestore: rules that the API server does not refuse get their app, and
// the others stay on the page and say why until they are fixed.
func TestPartlyRefusedRestore(t *testing.T) {
	s := countGenerations(routeScene(t)).enabled()
	s.settle()
	s.annotate(annotations.DefaultEnabled, "false")
	invalid := apierrors.NewInvalid(s.kind.Resource.GroupVersion().WithKind("HTTPRoute").GroupKind(), "my-app", nil)
	invalid.ErrStatus.Details.Causes = []metav1.StatusCause{{Field: "spec.rules[1]", Message: "exactly one PathPrefix match"}, {Field: "spec.rules[10]", Message: "another"}, {Field: "metadata.name", Message: "odd"}}
	slots, err := s.kind.Slots(s.object)
	require.NoError(t, err)
	state, fewer := ExcludeRefused(State{Kind: s.kind, Slots: slots}, invalid)
	require.True(t, fewer)
	assert.Equal(t, map[string]string{"spec.rules[1].backendRefs": "exactly one PathPrefix match"}, state.RefusedFields)
	_, fewer = ExcludeRefused(state, invalid)
	assert.False(t, fewer, "nothing new")
	_, fewer = ExcludeRefused(State{Slots: slots, Wanted: wanted.Answer{On: true}}, invalid)
	assert.False(t, fewer, "no restore")

	s.refused = state.RefusedFields
	s.settle()
	slots, err = s.kind.Slots(s.object)
	require.NoError(t, err)
	assert.Equal(t, []bool{false, true}, []bool{slots[0].OnPage(), slots[1].OnPage()})
	assert.Equal(t, annotations.Blocked, s.state())
	assert.Contains(t, s.annotations()[annotations.Message], "exactly one PathPrefix match")
	assert.NotEmpty(t, s.annotations()[annotations.Original], "of what is still on the page")
	assert.Equal(t, 1, s.eventCount(RestoreFailed))

	s.refused = nil
	s.settle()
	slots, err = s.kind.Slots(s.object)
	require.NoError(t, err)
	assert.False(t, swap.OnPage(slots))
	assert.Empty(t, s.state())
	assert.Nil(t, s.backup)
}

func TestFieldsOverlap(t *testing.T) {
	for fields, same := range map[[2]string]bool{
		{"spec.rules[1].backendRefs", "spec.rules[1]"}:                        true,
		{"spec.rules[1].backendRefs", "spec.rules[1].backendRefs[0].filters"}: true,
		{"spec.rules[1].backendRefs", "spec.rules[1].backendRefs"}:            true,
		{"spec.rules[1].backendRefs", "spec.rules[10].backendRefs"}:           false,
		{"spec.rules[1].backendRefs", "spec.rules[1].back"}:                   false,
		{"spec.rules[1].backendRefs", "spec.rules"}:                           true,
		{"spec.rules[1].backendRefs", ""}:                                     false,
	} {
		assert.Equal(t, same, fieldsOverlap(fields[0], fields[1]), "%v", fields)
	}
}
