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
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

// serviceState is a Service with what a controller gathers.
func serviceState(t *testing.T, request string, spec map[string]any) State {
	t.Helper()
	object := map[string]any{"apiVersion": "v1", "kind": "Service",
		"metadata": map[string]any{"name": "my-app", "annotations": map[string]any{annotations.DefaultEnabled: request}}, "spec": spec}
	return refresh(t, State{
		Now: epoch, Settings: Settings{Settle: 3 * time.Second}, Kind: target.Service(), Object: object,
		Page: Page{Set: setA, Name: annotations.DefaultPage}, Sets: map[string]pageset.Status{setA: {Phase: pageset.Serving}},
	})
}

// refresh reads the object again.
func refresh(t *testing.T, s State) State {
	t.Helper()
	var err error
	s.Slots, err = s.Kind.Slots(s.Object)
	require.NoError(t, err)
	s.Notes = s.Kind.Note(s.Object)
	u := unstructured.Unstructured{Object: s.Object}
	s.Request, s.Problems = annotations.DefaultKeys().Parse(u.GetAnnotations())
	s.Wanted = wanted.Decide(s.Request, wanted.Facts{}, s.Now)
	return s
}

func web() map[string]any {
	return map[string]any{"selector": map[string]any{"app": "a"}, "ports": []any{map[string]any{"port": int64(80), "protocol": "TCP", "targetPort": int64(9000)}}}
}

// swapped does the first decision about a Service that asks for maintenance.
func swapped(t *testing.T) State {
	t.Helper()
	s := serviceState(t, "true", web())
	d := Decide(s)
	require.NotNil(t, d.Update)
	require.NotNil(t, d.WriteOrigin, "the way to the app is there before the swap")
	s.Object, s.Backup, s.Origin, s.Memory = d.Update, d.WriteBackup, d.WriteOrigin, d.Memory
	return refresh(t, s)
}

// merged is what a merge patch of the app's selector leaves.
func merged(t *testing.T, s State) State {
	t.Helper()
	s.Object = runtime.DeepCopyJSON(s.Object)
	s.Object["spec"].(map[string]any)["selector"].(map[string]any)["app"] = "a"
	return refresh(t, s)
}

func selector(object map[string]any) map[string]any {
	return object["spec"].(map[string]any)["selector"].(map[string]any)
}

func targetPort(object map[string]any) any {
	return object["spec"].(map[string]any)["ports"].([]any)[0].(map[string]any)["targetPort"]
}

func TestHalfRevertedServiceServesTheAppUntilThePageServes(t *testing.T) {
	s := swapped(t)
	assert.Equal(t, page.PortName, targetPort(s.Object))
	s = merged(t, s)
	s.Sets = map[string]pageset.Status{setA: {Phase: pageset.Starting, Message: "starting"}}
	d := Decide(s)
	require.NotNil(t, d.Update)
	assert.Equal(t, map[string]any{"app": "a"}, selector(d.Update))
	assert.Equal(t, int64(9000), targetPort(d.Update))
	s.Object, s.Memory = d.Update, d.Memory
	s = refresh(t, s)
	assert.Nil(t, Decide(s).Update, "and rests")
	s.Sets = map[string]pageset.Status{setA: {Phase: pageset.Serving}}
	d = Decide(s)
	require.NotNil(t, d.Update)
	assert.Equal(t, map[string]any{annotations.PageSetLabel: setA}, selector(d.Update))
}

// TestOwnerOfAMergeIsRecorded: whenever a value that somebody merged into a page's selector
// is written, to end maintenance or to wait for the page, the record names the owner of
// that field.
func TestOwnerOfAMergeIsRecorded(t *testing.T) {
	for name, change := range map[string]func(s *State){
		"at the end": func(s *State) { s.Wanted.On = false },
		"until the page can": func(s *State) {
			s.Sets = map[string]pageset.Status{setA: {Phase: pageset.Starting, Message: "starting"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := merged(t, swapped(t))
			u := unstructured.Unstructured{Object: s.Object}
			u.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "kubectl-patch", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1",
				FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:spec":{"f:selector":{}}}`)}}})
			s = refresh(t, s)
			change(&s)
			d := Decide(s)
			require.NotNil(t, d.Update)
			assert.Equal(t, map[string]any{"app": "a"}, selector(d.Update))
			after := unstructured.Unstructured{Object: d.Update}
			record, err := swap.ParseRecord(after.GetAnnotations()[annotations.Original])
			require.NoError(t, err)
			require.Len(t, record.Owners, 1)
			assert.Equal(t, "kubectl-patch", record.Owners[0].Manager)
		})
	}
}

// TestNewPortLeavesVisitorsOnThePage: nothing was reverted.
func TestNewPortLeavesVisitorsOnThePage(t *testing.T) {
	s := swapped(t)
	s.Object = runtime.DeepCopyJSON(s.Object)
	spec := s.Object["spec"].(map[string]any)
	spec["ports"] = append(spec["ports"].([]any), map[string]any{"port": int64(81), "protocol": "TCP", "targetPort": int64(81)})
	s.Sets = map[string]pageset.Status{setA: {Phase: pageset.Starting, Message: "starting"}}
	s = refresh(t, s)
	d := Decide(s)
	require.NotNil(t, d.Update)
	assert.Equal(t, spec, d.Update["spec"])
	after := unstructured.Unstructured{Object: d.Update}
	assert.Equal(t, annotations.Pending, after.GetAnnotations()[annotations.State], "nobody answers on it yet")
}

func TestOriginIsRepairedAndDeletedLast(t *testing.T) {
	s := swapped(t)
	s.Now = s.Now.Add(time.Minute)
	assert.Nil(t, Decide(s).WriteOrigin, "it is as it should be")
	bent := s.Origin.DeepCopy()
	bent.Selector["app"] = "evil"
	lost := s
	lost.Origin = bent
	assert.NotNil(t, Decide(lost).WriteOrigin)
	lost.Origin = nil
	assert.NotNil(t, Decide(lost).WriteOrigin)

	u := unstructured.Unstructured{Object: runtime.DeepCopyJSON(s.Object)}
	all := u.GetAnnotations()
	all[annotations.DefaultEnabled] = "false"
	u.SetAnnotations(all)
	s.Object = u.Object
	for range 2 { // the spec, then the annotations
		d := Decide(refresh(t, s))
		require.NotNil(t, d.Update)
		assert.False(t, d.DropOrigin)
		s.Object = d.Update
	}
	d := Decide(refresh(t, s))
	assert.True(t, d.DropOrigin)
	assert.True(t, d.DropBackup)
}

func TestEventsOfAService(t *testing.T) {
	spec := web()
	spec["ports"] = append(spec["ports"].([]any), map[string]any{"port": int64(53), "protocol": "UDP"})
	reasons := func(d Decision) (all []Reason) {
		for _, e := range d.Events {
			all = append(all, e.Reason)
		}
		return all
	}
	assert.Equal(t, []Reason{BackendSkipped, MaintenanceStarted}, reasons(Decide(serviceState(t, "true", spec))))
	assert.Empty(t, reasons(Decide(serviceState(t, "false", spec))), "nothing is asked")
	spec["clusterIP"] = "None"
	d := Decide(serviceState(t, "true", spec))
	assert.Equal(t, []Reason{NothingToSwap}, reasons(d))
	assert.Contains(t, d.Events[0].Message, "headless")
	assert.Nil(t, d.Update)
}

// TestHalfRevertedServiceWithUnreadableCopyServesTheApp: a partly reverted Service leads
// nowhere, and the other copy says where it should lead.
func TestHalfRevertedServiceWithUnreadableCopyServesTheApp(t *testing.T) {
	s := merged(t, swapped(t))
	s.Backup = &Backup{Set: setA, ReadError: unreadBackup}
	d := Decide(s)
	require.NotNil(t, d.Update)
	assert.Nil(t, d.WriteBackup)
	assert.Equal(t, map[string]any{"app": "a"}, selector(d.Update))
	assert.Equal(t, int64(9000), targetPort(d.Update))
	before, after := unstructured.Unstructured{Object: s.Object}, unstructured.Unstructured{Object: d.Update}
	assert.Equal(t, before.GetAnnotations()[annotations.Original], after.GetAnnotations()[annotations.Original])
	assert.Equal(t, annotations.Blocked, after.GetAnnotations()[annotations.State])
}
