package plan

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/pageset"
)

// setPort changes the port of the first backend and keeps its name.
func (s *scene) setPort(number int64) {
	s.object = withBackend(s.object, func(service map[string]any) { service["port"] = map[string]any{"number": number} })
}

func withBackend(object map[string]any, change func(service map[string]any)) map[string]any {
	out := runtime.DeepCopyJSON(object)
	rules := out["spec"].(map[string]any)["rules"].([]any)
	path := rules[0].(map[string]any)["http"].(map[string]any)["paths"].([]any)[0].(map[string]any)
	change(path["backend"].(map[string]any)["service"].(map[string]any))
	return out
}

func (s *scene) port() any {
	var port any
	withBackend(s.object, func(service map[string]any) { port = service["port"].(map[string]any)["number"] })
	return port
}

// writtenBy attributes the rules to a field manager.
func (s *scene) writtenBy(manager string, object map[string]any) map[string]any {
	u := unstructured.Unstructured{Object: object}
	at := metav1.NewTime(s.now)
	u.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: manager, Operation: "Update", APIVersion: "networking.k8s.io/v1", Time: &at,
		FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:spec":{"f:rules":{}}}`)}}})
	return u.Object
}

// TestWrongPortCountsAsARevert: a port where nothing listens is not the page, whatever the
// backend's name.
func TestWrongPortCountsAsARevert(t *testing.T) {
	s := newScene(t, "a", "b")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	s.later(time.Minute)
	require.Equal(t, annotations.Active, s.state())

	s.setPort(8080)
	s.settle()
	assert.EqualValues(t, 80, s.port())
	assert.Equal(t, setA+" "+setA, s.backends())
	assert.Equal(t, annotations.Switching, s.state())
	assert.Equal(t, 1, s.eventCount(BackendReverted))

	// If it is repeated, visitors get the app in between instead of nothing.
	for range 3 {
		s.setPort(8080)
		s.settle()
	}
	assert.Equal(t, annotations.Contested, s.state())
	assert.Equal(t, "app-a "+setA, s.backends(), "only what leads nowhere")
	s.later(time.Second)
	assert.Equal(t, setA+" "+setA, s.backends())
	s.annotate(annotations.DefaultEnabled, "false")
	s.settle()
	assert.Equal(t, "app-a app-b", s.backends())
	assert.EqualValues(t, 80, s.port())
}

// TestWrongPortWhileThePageIsAwayRestoresTheApp: the app is better than nothing.
func TestWrongPortWhileThePageIsAwayRestoresTheApp(t *testing.T) {
	s := newScene(t, "a", "b")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	s.sets[setA] = pageset.Status{Phase: pageset.Starting}
	s.setPort(8080)
	s.settle()
	assert.Equal(t, "app-a "+setA, s.backends())
	assert.Equal(t, annotations.Pending, s.state())
	s.sets[setA] = pageset.Status{Phase: pageset.Serving}
	s.settle()
	assert.Equal(t, setA+" "+setA, s.backends())
}

// TestWebhookThatAddsAFieldIsTolerated if the page is shown all the same; a webhook that
// sends visitors elsewhere is treated like any other tool.
func TestWebhookThatAddsAFieldIsTolerated(t *testing.T) {
	s := newScene(t, "a")
	s.annotate(annotations.DefaultEnabled, "true")
	s.onUpdate = func(sent map[string]any) map[string]any {
		return s.writtenBy(ownership.Manager, withBackend(sent, func(service map[string]any) { service["weight"] = int64(1) }))
	}
	s.settle()
	s.later(time.Minute)
	assert.Equal(t, annotations.Active, s.state())
	assert.Equal(t, setA, s.backends())
	assert.Zero(t, s.eventCount(BackendReverted))
	assert.Less(t, s.writes, 4)

	// After a restart this is found out again, by one write that changes nothing.
	s.memory = Memory{}
	before := s.writes
	s.settle()
	assert.LessOrEqual(t, s.writes, before+2)
	assert.Zero(t, s.eventCount(BackendReverted))
	s.later(time.Minute)
	assert.Equal(t, annotations.Active, s.state())

	// A person's edit is not a webhook's.
	s.onUpdate = nil
	s.object = s.writtenBy("kubectl-edit", withBackend(s.object, func(service map[string]any) { service["weight"] = int64(2) }))
	s.settle()
	assert.Equal(t, 1, s.eventCount(BackendReverted))
	withBackend(s.object, func(service map[string]any) { assert.NotContains(t, service, "weight") })

	s.onUpdate = func(sent map[string]any) map[string]any {
		return withBackend(sent, func(service map[string]any) { service["port"] = map[string]any{"number": int64(8080)} })
	}
	s.setPort(8080)
	for range 60 {
		s.step()
		s.now = s.now.Add(time.Second)
	}
	assert.Equal(t, annotations.Contested, s.state())
	assert.Less(t, s.writes, before+40)
}

// TestUnrestorableBackendIsSkipped and reported.
func TestUnrestorableBackendIsSkipped(t *testing.T) {
	s := newScene(t, "a", "b")
	s.object = withBackend(s.object, func(service map[string]any) { service["fallback"] = setB })
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	assert.Equal(t, "app-a "+setA, s.backends())
	assert.Equal(t, 1, s.eventCount(BackendSkipped))
	s.annotate(annotations.DefaultEnabled, "false")
	s.settle()
	assert.Equal(t, "app-a app-b", s.backends())

	s = newScene(t, "a")
	s.object = withBackend(s.object, func(service map[string]any) { service["fallback"] = setB })
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	assert.Equal(t, "app-a", s.backends())
	assert.Equal(t, 1, s.eventCount(NothingToSwap))
	assert.Empty(t, s.state())
}
