package plan

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/wanted"
)

// lastMessage gives the last message with a reason.
func (s *scene) lastMessage(reason Reason) (last string) {
	for _, e := range s.events {
		if e.Reason == reason {
			last = e.Message
		}
	}
	return last
}

// sceneWithEnd is in maintenance for two hours.
func sceneWithEnd(t *testing.T) *scene {
	t.Helper()
	s := newScene(t, "a.example")
	s.annotate("team", "shop")
	s.annotate(annotations.DefaultCustomPage, "default")
	s.annotate(annotations.Until, epoch.Add(2*time.Hour).Format(time.RFC3339))
	s.annotate(annotations.Reason, "database migration")
	s.annotate(annotations.By, "alice")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	s.later(3 * time.Second)
	require.Equal(t, annotations.Active, s.state())
	return s
}

func TestUntilEndsMaintenance(t *testing.T) {
	s := sceneWithEnd(t)
	assert.Equal(t, 2*time.Hour-3*time.Second, s.decide().After, "it is looked at again when it ends")
	assert.Contains(t, s.lastMessage(MaintenanceStarted), "until 2026-01-01T02:00:00Z; reason: database migration; by: alice")

	s.later(2*time.Hour - 4*time.Second)
	assert.Equal(t, annotations.Active, s.state(), "a second before")
	s.later(-10 * time.Hour)
	assert.Equal(t, annotations.Active, s.state(), "the clock was set back")
	s.now = epoch.Add(2 * time.Hour)
	s.settle()
	assert.Equal(t, "app-a.example", s.backends())
	assert.Equal(t, map[string]string{"team": "shop", annotations.DefaultCustomPage: "default"}, s.annotations())
	assert.Contains(t, s.lastMessage(MaintenanceEnded), "after 2h0m0s of maintenance: annotation maintenance/until is 2026-01-01T02:00:00Z, which has passed; reason: database migration; by: alice")
	assert.Nil(t, s.backup)
	assert.Zero(t, s.memory)

	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	assert.Equal(t, setA, s.backends(), "the next request is one")
}

func TestUntilExtendedDuringTheRestore(t *testing.T) {
	s := sceneWithEnd(t)
	s.now = epoch.Add(2 * time.Hour)
	s.step()
	require.Equal(t, "app-a.example", s.backends(), "restored, and the annotations are still there")
	s.annotate(annotations.Until, epoch.Add(3*time.Hour).Format(time.RFC3339))
	s.settle()
	assert.Equal(t, setA, s.backends())
	assert.Equal(t, "database migration", s.annotations()[annotations.Reason])
}

func TestPersonEndsBeforeUntil(t *testing.T) {
	s := sceneWithEnd(t)
	s.annotate(annotations.DefaultEnabled, "false")
	s.settle()
	assert.Equal(t, "alice", s.annotations()[annotations.By], "what people write is theirs, until it ends by itself")
	assert.NotContains(t, s.lastMessage(MaintenanceEnded), annotations.Until)
	assert.Contains(t, s.lastMessage(MaintenanceEnded), "by: alice")
	events := len(s.events)
	s.later(10 * time.Hour)
	assert.Len(t, s.events, events, "who asks for nothing is told nothing")
}

func TestUntilIsPastAtTheStart(t *testing.T) {
	s := newScene(t, "a.example")
	s.annotate(annotations.Until, epoch.Format(time.RFC3339))
	s.annotate(annotations.DefaultEnabled, "true")
	before := s.object
	s.settle()
	assert.Equal(t, before, s.object, "the app is served, and nothing is written")
	assert.Equal(t, 1, s.eventCount(UntilPassed))
	assert.Zero(t, s.decide().After)
	s.annotate(annotations.Until, epoch.Add(time.Hour).Format(time.RFC3339))
	s.settle()
	assert.Equal(t, setA, s.backends())
}

func TestInvalidUntilIsNoEnd(t *testing.T) {
	s := newScene(t, "a.example")
	s.annotate(annotations.Until, "tomorrow")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	assert.Equal(t, setA, s.backends())
	assert.Contains(t, s.lastMessage(InvalidAnnotation), "maintenance has no end")
	s.later(100 * time.Hour)
	assert.Equal(t, setA, s.backends())
}

func TestUntilPassesBeforeThePageServes(t *testing.T) {
	s := newScene(t, "a.example")
	s.sets = nil
	s.annotate(annotations.Until, epoch.Add(time.Hour).Format(time.RFC3339))
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	require.Equal(t, annotations.Pending, s.state())
	s.later(time.Hour)
	assert.Empty(t, s.annotations())
	assert.Contains(t, s.lastMessage(UntilPassed), "visitors had the app all the time")
	assert.Zero(t, s.eventCount(MaintenanceEnded))
}

// TestAppliedRequestIsNotRemoved: a tool that applies the request would write it again. It
// stays, and asks for nothing once its end has passed.
func TestAppliedRequestIsNotRemoved(t *testing.T) {
	for name, tc := range map[string]struct {
		mark func(*testing.T, *unstructured.Unstructured)
		want string
	}{
		"on the server": {func(_ *testing.T, u *unstructured.Unstructured) {
			u.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "argocd-controller", Operation: metav1.ManagedFieldsOperationApply, APIVersion: "networking.k8s.io/v1", FieldsType: "FieldsV1",
				FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:metadata":{"f:annotations":{"f:maintenance/enabled":{}}}}`)}}})
		}, `annotation maintenance/enabled comes from field manager "argocd-controller" (Argo CD)`},
		"by the client": {func(t *testing.T, u *unstructured.Unstructured) {
			t.Helper()
			applied, err := json.Marshal(map[string]any{"kind": "Ingress", "metadata": map[string]any{"annotations": map[string]any{annotations.DefaultEnabled: "true"}}})
			require.NoError(t, err)
			all := u.GetAnnotations()
			all[corev1.LastAppliedConfigAnnotation] = string(applied)
			u.SetAnnotations(all)
		}, "comes from the applied manifest"},
	} {
		t.Run(name, func(t *testing.T) {
			s := sceneWithEnd(t)
			u := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(s.object)}
			tc.mark(t, u)
			s.object = u.Object
			s.now = epoch.Add(2 * time.Hour)
			s.settle()
			assert.Equal(t, "app-a.example", s.backends())
			assert.Equal(t, "true", s.annotations()[annotations.DefaultEnabled])
			assert.Equal(t, "2026-01-01T02:00:00Z", s.annotations()[annotations.Until], "without it there would be no end")
			assert.False(t, annotations.HasWritten(s.annotations()))
			assert.Equal(t, 1, s.eventCount(MaintenanceEnded))
			assert.Equal(t, 1, s.eventCount(UntilPassed))
			assert.Contains(t, s.lastMessage(UntilPassed), tc.want)

			writes := s.writes
			s.memory = Memory{} // as after a restart
			s.later(1000 * time.Hour)
			assert.Equal(t, writes, s.writes, "nothing is written any more")
			assert.Equal(t, "app-a.example", s.backends())
		})
	}
}

func TestLastLeaseEndsMaintenance(t *testing.T) {
	s := newScene(t, "a.example")
	lease := func(at time.Time) wanted.Lease {
		return wanted.Lease{Since: at, Renewed: true, Duration: time.Minute}
	}
	s.leases = map[string]wanted.Lease{"run-1": lease(epoch), "run-2": lease(epoch)}
	s.annotate(annotations.Lease, "run-1,run-2")
	s.annotate(annotations.Reason, "run")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	require.Equal(t, setA, s.backends())
	assert.Contains(t, s.lastMessage(MaintenanceStarted), "for as long as a Lease is renewed (run-1, run-2); reason: run")
	s.leases["run-2"] = lease(epoch.Add(30 * time.Second))
	s.later(time.Minute)
	assert.Equal(t, setA, s.backends(), "one of two is enough")
	assert.Equal(t, 24*time.Hour-time.Minute, s.decide().After, "who watches Leases tells: nobody asks each time one is renewed")
	s.later(30 * time.Second)
	assert.Equal(t, "app-a.example", s.backends())
	assert.Empty(t, s.annotations())
	assert.Contains(t, s.lastMessage(MaintenanceEnded), "none of Leases run-1, run-2 has been renewed")
}

func TestMissingLeaseIsReported(t *testing.T) {
	s := newScene(t, "a.example")
	s.leases = map[string]wanted.Lease{"run-1": {Problem: "which is not there", Since: epoch}}
	s.annotate(annotations.Lease, "run-1")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	assert.Equal(t, "app-a.example", s.backends(), "it does not begin")
	assert.Contains(t, s.lastMessage(LeaseNotHeld), `annotation maintenance/lease names Lease "run-1", which is not there`)
	s.leases["run-1"] = wanted.Lease{Since: epoch, Written: epoch, Duration: time.Minute}
	s.settle()
	assert.Equal(t, setA, s.backends())
	assert.Equal(t, 1, strings.Count(s.lastMessage(MaintenanceStarted), "run-1"))
}

// TestCrashDuringTheEndConverges after any write of the end.
func TestCrashDuringTheEndConverges(t *testing.T) {
	for writes := range 5 {
		s := sceneWithEnd(t)
		s.now = epoch.Add(2 * time.Hour)
		s.crashAfter(writes)
		s.settle()
		assert.Equal(t, "app-a.example", s.backends())
		assert.Equal(t, map[string]string{"team": "shop", annotations.DefaultCustomPage: "default"}, s.annotations(), "after %d writes", writes)
		assert.Nil(t, s.backup)
	}
}
