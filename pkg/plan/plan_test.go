package plan

import (
	"fmt"
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
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

func TestOnAndOff(t *testing.T) {
	s := newScene(t, "a", "b")
	before := fmt.Sprint(s.object)
	s.settle()
	assert.Equal(t, before, fmt.Sprint(s.object), "nothing asked, nothing done")

	s.annotate(annotations.DefaultEnabled, "true")
	d := s.step()
	require.NotNil(t, d.WriteBackup, "the backup comes with, and is written before, the swap")
	require.NotNil(t, d.Update)
	assert.Equal(t, d.WriteBackup.Record.String(), s.annotations()[annotations.Original], "both copies are the same")
	assert.Equal(t, setA+" "+setA, s.backends())
	assert.Equal(t, annotations.Switching, s.state())
	assert.Equal(t, "2026-01-01T00:00:00Z", s.annotations()[annotations.Since])
	assert.Equal(t, []string{setA}, s.claims)
	assert.Equal(t, 3*time.Second, d.After)

	s.later(2 * time.Second)
	assert.Equal(t, annotations.Switching, s.state())
	s.later(time.Second)
	assert.Equal(t, annotations.Active, s.state())

	s.annotate(annotations.DefaultEnabled, "false")
	s.step()
	assert.Equal(t, "app-a app-b", s.backends())
	assert.NotEmpty(t, s.annotations()[annotations.Original], "the first update puts the spec back and nothing else")
	require.NotNil(t, s.backup)
	s.step()
	assert.False(t, annotations.HasWritten(s.annotations()))
	require.NotNil(t, s.backup, "it stays until it is seen that nothing is on a page")
	s.settle()
	assert.Nil(t, s.backup)
	assert.Empty(t, s.claims)
	assert.Equal(t, 1, s.eventCount(MaintenanceStarted))
	assert.Equal(t, 1, s.eventCount(MaintenanceEnded))
}

func TestPageThatDoesNotServe(t *testing.T) {
	s := newScene(t, "a")
	s.annotate(annotations.DefaultEnabled, "true")
	s.sets[setA] = pageset.Status{Phase: pageset.Starting, Message: "the page Pods are starting"}
	s.settle()
	assert.Equal(t, annotations.Pending, s.state())
	assert.Equal(t, "app-a", s.backends())
	s.sets[setA] = pageset.Status{Phase: pageset.Blocked, Message: "quota"}
	s.settle()
	assert.Equal(t, annotations.Blocked, s.state())
	assert.Equal(t, "quota", s.annotations()[annotations.Message])
	assert.Equal(t, 1, s.eventCount(PageNotReady), "told when it became so, and not again")
	s.sets[setA] = pageset.Status{Phase: pageset.Serving}
	s.settle()
	assert.Equal(t, setA, s.backends())
	assert.Empty(t, s.annotations()[annotations.Message])

	// If another page does not serve, visitors keep the one they have.
	s.later(time.Minute)
	s.page.Set, s.sets[setB] = setB, pageset.Status{Phase: pageset.Blocked, Message: "quota"}
	s.settle()
	assert.Equal(t, setA, s.backends())
	assert.Equal(t, annotations.Active, s.state())
	assert.ElementsMatch(t, []string{setA, setB}, s.claims)
	s.sets[setB] = pageset.Status{Phase: pageset.Serving}
	s.settle()
	assert.Equal(t, setB, s.backends())
	assert.Equal(t, []string{setB}, s.claims)
	assert.Equal(t, 1, s.eventCount(PageChanged))
}

// TestLeadTime: an ingress controller may hear of the endpoints later than of the swap.
// Nothing is written during this wait.
func TestLeadTime(t *testing.T) {
	s := newScene(t, "a")
	s.lead = time.Second
	s.annotate(annotations.DefaultEnabled, "true")
	s.sets[setA] = pageset.Status{Phase: pageset.Starting, Message: "the page Pods are starting"}
	s.settle()
	before := s.object
	s.sets[setA] = pageset.Status{Phase: pageset.Serving, Since: s.now}
	s.later(400 * time.Millisecond)
	assert.Equal(t, before, s.object)
	assert.Equal(t, 600*time.Millisecond, s.decide().After, "when it is looked at again")
	s.later(600 * time.Millisecond)
	assert.Equal(t, setA, s.backends())

	// The same for the next page: visitors keep the one they have.
	s.later(time.Minute)
	before = s.object
	s.page.Set, s.sets[setB] = setB, pageset.Status{Phase: pageset.Serving, Since: s.now}
	s.later(999 * time.Millisecond)
	assert.Equal(t, before, s.object)
	s.later(time.Millisecond)
	assert.Equal(t, setB, s.backends())

	// A page that others already use is known.
	other := newScene(t, "b")
	other.lead, other.sets[setA] = time.Second, pageset.Status{Phase: pageset.Serving, Since: epoch.Add(-time.Second)}
	other.annotate(annotations.DefaultEnabled, "true")
	other.settle()
	assert.Equal(t, setA, other.backends())
}

func TestOffBeforeThePageServes(t *testing.T) {
	s := newScene(t, "a")
	s.annotate(annotations.DefaultEnabled, "true")
	s.sets[setA] = pageset.Status{Phase: pageset.Starting}
	s.settle()
	s.annotate(annotations.DefaultEnabled, "")
	s.settle()
	assert.False(t, annotations.HasWritten(s.annotations()))
	assert.Zero(t, s.eventCount(MaintenanceEnded), "what has not begun does not end")
	assert.Empty(t, s.claims)
}

func TestReadyTimeout(t *testing.T) {
	slots, err := target.Ingress().Slots(newScene(t, "a").object)
	require.NoError(t, err)
	give := State{
		Now: epoch, Settings: Settings{ReadyTimeout: time.Minute}, Request: annotations.Request{Page: "default"}, Wanted: wanted.Answer{On: true},
		Object: newScene(t, "a").object, Slots: slots, Page: Page{Set: setA},
	}
	d := Decide(give)
	assert.Equal(t, time.Minute, d.After)
	give.Now, give.Memory = epoch.Add(time.Minute), d.Memory
	d = Decide(give)
	require.NotNil(t, d.WriteBackup)
	give.Sets = map[string]pageset.Status{setA: {Phase: pageset.Conflict}}
	assert.Nil(t, Decide(give).WriteBackup, "a Service that is not ours is never pointed at")
}

func TestBrokenPageLeavesItsLastGoodVersion(t *testing.T) {
	s := newScene(t, "a")
	s.annotate(annotations.DefaultEnabled, "true")
	s.annotate(annotations.DefaultCustomPage, "spring")
	s.page = Page{Set: setB, Name: "spring"}
	s.settle()
	require.Equal(t, setB, s.backends())
	broken := Page{Set: setA, Name: annotations.DefaultPage, Problem: `page "spring" cannot be used`}
	s.page = broken
	s.settle()
	assert.Equal(t, setB, s.backends())
	assert.Equal(t, []string{setB}, s.claims, "no set is made of the default page")
	assert.Equal(t, 1, s.eventCount(PageNotFound))
	// Another missing name is another page: visitors get the default one.
	s.annotate(annotations.DefaultCustomPage, "sprnig")
	s.settle()
	assert.Equal(t, setA, s.backends())
}

func TestBrokenFormatAndSecondConfigMapAreReported(t *testing.T) {
	s := newScene(t, "a")
	s.annotate(annotations.DefaultEnabled, "true")
	s.page = Page{Set: setB, Name: "spring", Broken: `page "spring" is shown without its own json`, Rivals: `page "spring" is in 2 ConfigMaps`}
	s.settle()
	assert.Equal(t, setB, s.backends(), "what is not broken is shown")
	assert.Equal(t, 1, s.eventCount(PageNotFound))
	assert.Equal(t, 1, s.eventCount(NameConflict))
}

func TestRepeatedRevertsAreDelayed(t *testing.T) {
	s := newScene(t, "a", "b")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	s.later(time.Minute)
	revert := func(manager string) {
		s.setRules(rule("a", "app-a"), rule("b", "app-b2"))
		u := unstructured.Unstructured{Object: s.object}
		at := metav1.NewTime(s.now)
		u.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: manager, Operation: "Apply", APIVersion: "networking.k8s.io/v1", Time: &at,
			FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:spec":{"f:rules":{}}}`)}}})
	}
	for i := range 3 {
		s.later(time.Second)
		revert("argocd")
		s.settle()
		assert.Equal(t, setA+" "+setA, s.backends(), "answered at once")
		assert.Equal(t, i+1, s.eventCount(BackendReverted))
	}
	// From the fourth on: 1 s, 2 s, 4 s … 60 s.
	for i, seconds := range []int{1, 2, 4, 8, 16, 32, 60, 60} {
		want := time.Duration(seconds) * time.Second
		s.later(time.Second)
		revert("argocd")
		d := s.step()
		assert.Equal(t, want, d.After, "revert %d", i+4)
		assert.Equal(t, annotations.Contested, s.state())
		assert.Contains(t, s.annotations()[annotations.Message], `"argocd"`)
		s.later(want - time.Millisecond)
		assert.Equal(t, "app-a app-b2", s.backends())
		s.later(time.Millisecond)
		assert.Equal(t, setA+" "+setA, s.backends())
		assert.Equal(t, annotations.Contested, s.state())
	}
	assert.Equal(t, 11, s.eventCount(BackendReverted))
	s.later(revertWindow)
	assert.Equal(t, annotations.Active, s.state(), "left in peace for a minute")
	s.later(time.Second)
	revert("argocd")
	s.settle()
	assert.Equal(t, setA+" "+setA, s.backends(), "and patient again")

	s.annotate(annotations.DefaultEnabled, "false")
	s.settle()
	assert.Equal(t, "app-a app-b2", s.backends(), "what it wrote is the original now")
	u := unstructured.Unstructured{Object: s.object}
	require.Len(t, u.GetManagedFields(), 1)
	assert.Equal(t, "argocd", u.GetManagedFields()[0].Manager)
}

// TestReplacedObjectCountsAsARevert: a tool whose manifest has the switch removes all other
// annotations with each write.
func TestReplacedObjectCountsAsARevert(t *testing.T) {
	s := newScene(t, "a")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	s.later(time.Minute)
	for i := range 4 {
		s.later(time.Second)
		s.setRules(rule("a", "app-a"))
		u := unstructured.Unstructured{Object: s.object}
		u.SetAnnotations(map[string]string{annotations.DefaultEnabled: "true"})
		s.step()
		assert.Equal(t, i+1, s.eventCount(BackendReverted))
	}
	assert.Equal(t, annotations.Contested, s.state())
	assert.Equal(t, "app-a", s.backends())
	s.later(time.Second)
	assert.Equal(t, setA, s.backends())
	assert.Equal(t, annotations.Contested, s.state())
	assert.NotEmpty(t, s.annotations()[annotations.Message])
	assert.Equal(t, "2026-01-01T00:00:00Z", s.annotations()[annotations.Since], "it goes on, it does not begin anew")
	assert.Equal(t, 1, s.eventCount(MaintenanceStarted))
}

func TestOnAgainDuringTheRestoreIsNoRevert(t *testing.T) {
	s := newScene(t, "a")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	s.annotate(annotations.DefaultEnabled, "false")
	s.step() // the spec is back, the annotations are not
	u := unstructured.Unstructured{Object: s.object}
	at := metav1.NewTime(s.now)
	u.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: ownership.Manager, Operation: "Update", Time: &at, FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:spec":{"f:rules":{}}}`)}}})
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	assert.Equal(t, setA, s.backends())
	assert.Zero(t, s.eventCount(BackendReverted))
}

func TestRemovedAnnotationsAreRecoveredFromTheBackup(t *testing.T) {
	s := newScene(t, "a", "b")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	original := s.annotations()[annotations.Original]
	s.object = runtime.DeepCopyJSON(s.object)
	unstructured.RemoveNestedField(s.object, "metadata", "annotations")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	assert.Equal(t, original, s.annotations()[annotations.Original])
	s.annotate(annotations.Original, "{garbage")
	s.annotate(annotations.DefaultEnabled, "false")
	s.settle()
	assert.Equal(t, "app-a app-b", s.backends())
	assert.Equal(t, 1, s.eventCount(RestoreFailed), "the annotation that could not be read")
}

// TestFieldsAreGivenBackWithoutAnnotations: the backup says what was there and who owned
// it.
func TestFieldsAreGivenBackWithoutAnnotations(t *testing.T) {
	s := newScene(t, "a")
	own := func(manager string) {
		u := unstructured.Unstructured{Object: s.object}
		u.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: manager, Operation: "Update", APIVersion: "networking.k8s.io/v1",
			FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:spec":{"f:rules":{}}}`)}}})
	}
	own("author")
	s.annotate(annotations.DefaultEnabled, "true")
	s.step()
	own(ownership.Manager) // as the API server records it
	s.settle()
	s.object = runtime.DeepCopyJSON(s.object)
	unstructured.RemoveNestedField(s.object, "metadata", "annotations")
	s.settle()
	assert.Equal(t, "app-a", s.backends())
	u := unstructured.Unstructured{Object: s.object}
	require.Len(t, u.GetManagedFields(), 1)
	assert.Equal(t, "author", u.GetManagedFields()[0].Manager)
	assert.Nil(t, s.backup)
	assert.Equal(t, 1, s.eventCount(MaintenanceEnded))
	assert.Zero(t, s.memory)
}

// TestInvalidOriginalIsReplacedFromTheBackup: the original of one slot in the annotation is
// forged or garbled, during maintenance and before its end.
func TestInvalidOriginalIsReplacedFromTheBackup(t *testing.T) {
	for name, value := range map[string]string{
		"a page set": `{"service":{"name":"` + setB + `","port":{"number":80}}}`, "a field of nobody's": `{"evil":1}`, "nothing": `null`,
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, "a", "b")
			s.annotate(annotations.DefaultEnabled, "true")
			s.settle()
			for _, on := range []string{"true", "false"} {
				s.annotate(annotations.Original, `{"v":1,"slots":[{"host":"a","path":"/","type":"Prefix","at":0,"value":`+value+`}]}`)
				s.annotate(annotations.DefaultEnabled, on)
				s.settle()
			}
			assert.Equal(t, "app-a app-b", s.backends())
			assert.Zero(t, s.eventCount(BackendLost))
		})
	}
}

func TestLostBackend(t *testing.T) {
	s := newScene(t, "a", "b")
	s.setRules(rule("a", setA), rule("b", "app-b")) // somebody points at a page set by hand
	s.settle()
	assert.Equal(t, annotations.Blocked, s.state())
	assert.Equal(t, []string{setA}, s.claims, "what it points at is not collected")
	assert.Equal(t, 1, s.eventCount(BackendLost))
	s.setRules(rule("a", "app-a"), rule("b", "app-b"))
	s.settle()
	assert.False(t, annotations.HasWritten(s.annotations()))
}

func TestNothingToSwap(t *testing.T) {
	s := newScene(t)
	s.setRules(map[string]any{"host": "a"})
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	assert.Equal(t, 1, s.eventCount(NothingToSwap))
	assert.Empty(t, s.state())
	assert.Empty(t, s.claims)
}

func TestLongMaintenance(t *testing.T) {
	s := newScene(t, "a")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	s.later(time.Hour)
	assert.Equal(t, 23*time.Hour, s.step().After)
	s.later(23 * time.Hour)
	assert.Equal(t, 24*time.Hour, s.step().After)
	assert.Contains(t, s.events[len(s.events)-1].Message, "24 h")
	s.later(24 * time.Hour)
	assert.Contains(t, s.events[len(s.events)-1].Message, "48 h")
	assert.Zero(t, s.step().After)
}

// TestCrashAfterAnyWriteConverges stops after every single write, as a crash does, forgets
// what was in memory, and goes on.
func TestCrashAfterAnyWriteConverges(t *testing.T) {
	for stop := range 8 {
		s := newScene(t, "a", "b")
		s.annotate(annotations.DefaultEnabled, "true")
		s.crashAfter(stop)
		s.later(time.Minute)
		s.later(time.Minute)
		require.Equal(t, setA+" "+setA, s.backends())
		require.Equal(t, annotations.Active, s.state())
		s.annotate(annotations.DefaultEnabled, "false")
		s.crashAfter(stop)
		s.settle()
		assert.Equal(t, "app-a app-b", s.backends())
		assert.Nil(t, s.backup)
	}
}
