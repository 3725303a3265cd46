package plan

import (
	"reflect"
	"strconv"
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
	"maintenance-controller.io/pkg/refusal"
	"maintenance-controller.io/pkg/target"
)

// TestWebhookThatRestoresTheBackendIsContested: the API server attributes what a webhook
// changes to the controller, which sent the request.
func TestWebhookThatRestoresTheBackendIsContested(t *testing.T) {
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
	s.onUpdate = insists
	sent := 0
	for range 60 { // seconds
		for range 20 { // reconciles that follow at once
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
	assert.Zero(t, s.eventCount(MaintenanceStarted), "it has not")

	s.onUpdate = nil
	s.later(maxSwapDelay)
	assert.Equal(t, setA, s.backends(), "the webhook has gone")
	s.annotate(annotations.DefaultEnabled, "false")
	s.settle()
	assert.Equal(t, "app-a", s.backends())
}

// TestAnUpdateThatChangesNothingIsAnError: sending it again would change just as little.
func TestAnUpdateThatChangesNothingIsAnError(t *testing.T) {
	object := newScene(t, "a").object
	at := func(version string) map[string]any {
		u := unstructured.Unstructured{Object: runtime.DeepCopyJSON(object)}
		u.SetResourceVersion(version)
		return u.Object
	}
	d := Decision{Update: at("7")}
	_, err := d.Answered(target.Ingress(), at("7"))
	require.ErrorIs(t, err, refusal.ErrNoProgress)
	_, err = d.Answered(target.Ingress(), at("8"))
	assert.NoError(t, err)
}

// TestMemoryBelongsToTheObjectNotTheName: an object that is created anew began when it was
// created, and nobody has reverted it.
func TestMemoryBelongsToTheObjectNotTheName(t *testing.T) {
	s := newScene(t, "a")
	s.uid("one")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	s.later(time.Minute)
	require.Equal(t, annotations.Active, s.state())
	require.EqualValues(t, "one", s.memory.UID)

	// kubectl replace --force with a manifest that asks for maintenance.
	s.object = newScene(t, "a").object
	s.uid("two")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	assert.Equal(t, setA, s.backends())
	assert.Equal(t, s.now.Format(time.RFC3339), s.annotations()[annotations.Since])
	assert.Zero(t, s.eventCount(BackendReverted))
	assert.Equal(t, 2, s.eventCount(MaintenanceStarted))
}

// stamped is what a webhook makes of an object if it stamps every write.
func (s *scene) stamped(sent map[string]any, without string) map[string]any {
	u := unstructured.Unstructured{Object: runtime.DeepCopyJSON(sent)}
	all := u.GetAnnotations()
	if all == nil {
		all = map[string]string{}
	}
	all["stamp"] = strconv.Itoa(s.writes)
	delete(all, without)
	delete(all, annotations.Installation)
	u.SetAnnotations(all)
	return u.Object
}

// updatesInAMinute counts the updates of one minute in which each write is followed by
// another reconcile.
func (s *scene) updatesInAMinute() (sent int) {
	s.Helper()
	for range 60 {
		for range 20 {
			if s.step().Update == nil {
				break
			}
			sent++
		}
		s.now = s.now.Add(time.Second)
	}
	return sent
}

// TestWebhookThatRemovesAnAnnotation, and also stamps the object: each write changes it
// without being progress.
func TestWebhookThatRemovesAnAnnotation(t *testing.T) {
	for _, key := range []string{annotations.State, annotations.Message, annotations.Since, annotations.PageSet} {
		t.Run(key, func(t *testing.T) {
			s := newScene(t, "a")
			s.installation = "blue"
			s.onUpdate = func(sent map[string]any) map[string]any { return s.stamped(sent, key) }
			s.annotate(annotations.DefaultEnabled, "true")
			s.sets[setA] = pageset.Status{Phase: pageset.Blocked, Message: "quota"}
			assert.Less(t, s.updatesInAMinute(), 5)
			s.sets[setA] = pageset.Status{Phase: pageset.Serving}
			assert.Less(t, s.updatesInAMinute(), 8)
			assert.Equal(t, setA, s.backends())
			if key != annotations.Since {
				assert.Positive(t, s.eventCount(InvalidAnnotation))
			}
			s.onUpdate = nil
			s.later(rewriteInterval)
			s.later(time.Minute)
			assert.Equal(t, annotations.Active, s.state(), "the webhook has gone")
			s.onUpdate = func(sent map[string]any) map[string]any {
				u := unstructured.Unstructured{Object: s.stamped(sent, "")}
				u.SetAnnotations(annotations.Status{State: annotations.Active}.Write(u.GetAnnotations()))
				return u.Object
			}
			s.annotate(annotations.DefaultEnabled, "false")
			assert.Less(t, s.updatesInAMinute(), 5, "one that puts one back")
			assert.Equal(t, "app-a", s.backends())
		})
	}
}

// TestWebhookThatAddsABackend: it adds its own backend to each object without one. That
// backend is swapped, and the webhook adds the next.
func TestWebhookThatAddsABackend(t *testing.T) {
	s := newScene(t, "a")
	s.onUpdate = func(sent map[string]any) map[string]any {
		u := unstructured.Unstructured{Object: runtime.DeepCopyJSON(sent)}
		rules, _, _ := unstructured.NestedSlice(u.Object, "spec", "rules")
		for _, r := range rules {
			if reflect.DeepEqual(r, rule("login", "login")) {
				return u.Object
			}
		}
		require.NoError(t, unstructured.SetNestedSlice(u.Object, append(rules, rule("login", "login")), "spec", "rules"))
		return u.Object
	}
	s.annotate(annotations.DefaultEnabled, "true")
	assert.Less(t, s.updatesInAMinute(), 20)
	assert.Equal(t, annotations.Contested, s.state())
	assert.Contains(t, s.annotations()[annotations.Message], "an admission webhook")
}
