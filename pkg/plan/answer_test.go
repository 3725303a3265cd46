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
	"maintenance-controller.io/pkg/target"
)

// TestAWebhookThatPutsTheBackendBack is met as any tool that does: what it changes is
// booked on the controller, whose request it was.
func TestAWebhookThatPutsTheBackendBack(t *testing.T) {
	s := newScene(t, "a")
	s.annotate(annotations.DefaultEnabled, "true")
	insists := func(sent map[string]any) map[string]any {
		u := unstructured.Unstructured{Object: runtime.DeepCopyJSON(sent)}
		require.NoError(t, unstructured.SetNestedSlice(u.Object, []any{rule("a", "app-a")}, "spec", "rules"))
		at := metav1.NewTime(s.now)
		u.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: ownership.Manager, Operation: "Update", APIVersion: "networking.k8s.io/v1", Time: &at,
			FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:spec":{"f:rules":{}}}`)}}})
		return u.Object
	}
	s.stores = insists
	sent := 0
	for range 60 { // seconds
		for range 20 { // as often as it is looked again at once
			d := s.step()
			if d.Update == nil {
				break
			}
			sent++
		}
		s.now = s.now.Add(time.Second)
	}
	assert.Less(t, sent, 20, "in a minute")
	assert.Greater(t, sent, 5)
	assert.Equal(t, annotations.Contested, s.state())
	assert.Contains(t, s.annotations()[annotations.Message], "an admission webhook keeps writing the backends back")
	assert.Contains(t, s.events[len(s.events)-1].Message, "admission webhook")
	assert.NotContains(t, s.events[len(s.events)-1].Message, ownership.Manager)
	assert.Zero(t, s.told(MaintenanceStarted), "it has not")

	s.stores = nil
	s.later(maxDelay)
	assert.Equal(t, setA, s.backends(), "the webhook has gone")
	s.annotate(annotations.DefaultEnabled, "false")
	s.settle()
	assert.Equal(t, "app-a", s.backends())
}

// TestAnUpdateThatChangesNothingIsAnError: to send it again would change as much.
func TestAnUpdateThatChangesNothingIsAnError(t *testing.T) {
	object := newScene(t, "a").object
	at := func(version string) map[string]any {
		u := unstructured.Unstructured{Object: runtime.DeepCopyJSON(object)}
		u.SetResourceVersion(version)
		return u.Object
	}
	d := Decision{Update: at("7")}
	_, err := d.Answered(target.Ingress(), at("7"))
	require.ErrorIs(t, err, ErrNoProgress)
	_, err = d.Answered(target.Ingress(), at("8"))
	assert.NoError(t, err)
}

// TestMemoryIsOfTheObject and not of its name: one that is made anew began when it
// began, and nobody has reverted it.
func TestMemoryIsOfTheObject(t *testing.T) {
	s := newScene(t, "a")
	s.uid("one")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	s.later(time.Minute)
	require.Equal(t, annotations.Active, s.state())
	require.EqualValues(t, "one", s.memory.UID)

	// kubectl replace --force, of a manifest that asks for maintenance.
	s.object = newScene(t, "a").object
	s.uid("two")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	assert.Equal(t, setA, s.backends())
	assert.Equal(t, s.now.Format(time.RFC3339), s.annotations()[annotations.Since])
	assert.Zero(t, s.told(BackendReverted))
	assert.Equal(t, 2, s.told(MaintenanceStarted))
}
