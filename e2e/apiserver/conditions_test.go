package apiserver

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/origin"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// condition checks an object; nil means that it does not exist.
type condition func(*unstructured.Unstructured) bool

func exists(u *unstructured.Unstructured) bool { return u != nil }

func absent(u *unstructured.Unstructured) bool { return u == nil }

func state(want string) condition {
	return func(u *unstructured.Unstructured) bool {
		return u != nil && u.GetAnnotations()[annotations.State] == want
	}
}

// restored: no trace of the controller is left.
func restored(u *unstructured.Unstructured) bool {
	if u == nil || annotations.HasWritten(u.GetAnnotations()) {
		return false
	}
	k, _ := target.KindByName(u.GetKind())
	slots, err := k.Slots(u.Object)
	return err == nil && !swap.OnPage(slots)
}

// restoredTo: restored, and the spec is that of the manifest, byte by byte.
func restoredTo(manifest string) condition {
	return func(u *unstructured.Unstructured) bool {
		if !restored(u) {
			return false
		}
		env := &testEnv{}
		want := env.parse(manifest)
		return spec(panickingT{}, want) == spec(panickingT{}, u)
	}
}

// restoredBare: restored to the manifest, without any annotation.
func restoredBare(manifest string) condition {
	return func(u *unstructured.Unstructured) bool {
		return restoredTo(manifest)(u) && len(u.GetAnnotations()) == 0
	}
}

// onPage: n slots, all on the page set that the annotation names, in this state.
func onPage(n int, want string) condition {
	return func(u *unstructured.Unstructured) bool {
		sets := pageSetsOf(u)
		for _, s := range sets {
			if s != u.GetAnnotations()[annotations.PageSet] {
				return false
			}
		}
		return len(sets) == n && state(want)(u)
	}
}

// namesSet: the annotation names this page set.
func namesSet(set string) condition {
	return func(u *unstructured.Unstructured) bool { return u.GetAnnotations()[annotations.PageSet] == set }
}

// entirelyOnPage: every slot is on a page and has no other backend.
func entirelyOnPage(u *unstructured.Unstructured) bool {
	k, _ := target.KindByName(u.GetKind())
	slots, err := k.Slots(u.Object)
	return err == nil && len(slots) > 0 && !slices.ContainsFunc(slots, func(s swap.Slot) bool { return !s.OnPage() || s.Merge != nil })
}

// recorded: every slot is on a page, and the record of originals has just these slots in
// this order.
func recorded(k target.Kind) condition {
	return func(u *unstructured.Unstructured) bool {
		record, err := swap.ParseRecord(u.GetAnnotations()[annotations.Original])
		slots, err2 := k.Slots(u.Object)
		if err != nil || err2 != nil {
			return false
		}
		at := map[swap.ID]int{}
		for _, o := range record.Slots {
			if o.At >= 0 {
				at[o.ID] = o.At
			}
		}
		for i, s := range slots {
			if there, ok := at[s.ID]; !ok || there != i || !s.OnPage() {
				return false
			}
		}
		return len(at) == len(slots)
	}
}

func usedBy(want string) condition {
	return func(u *unstructured.Unstructured) bool {
		return u != nil && u.GetAnnotations()[annotations.UsedBy] == want
	}
}

func and(all ...condition) condition {
	return func(u *unstructured.Unstructured) bool {
		for _, ok := range all {
			if !ok(u) {
				return false
			}
		}
		return true
	}
}

// leadsToApp: the Service leads where the manifest's does.
func leadsToApp(manifest string) condition {
	want := routing(toService((&testEnv{}).parse(manifest)))
	return func(u *unstructured.Unstructured) bool { return u != nil && routing(toService(u)) == want }
}

// leadsToPage: the selector and all TCP ports lead to the page set.
func leadsToPage(set string) condition {
	return func(u *unstructured.Unstructured) bool {
		svc := toService(u)
		if len(svc.Spec.Selector) != 1 || svc.Spec.Selector[annotations.PageSetLabel] != set {
			return false
		}
		for _, p := range svc.Spec.Ports {
			if p.Protocol == corev1.ProtocolTCP && p.TargetPort.String() != page.PortName {
				return false
			}
		}
		return true
	}
}

func anyPod(*unstructured.Unstructured) bool { return true }

// pageSetsOf lists the page sets of the slots that lead to one and to nothing else.
func pageSetsOf(u *unstructured.Unstructured) []string {
	k, ok := target.KindByName(u.GetKind())
	if !ok {
		return nil
	}
	slots, err := k.Slots(u.Object)
	if err != nil {
		return []string{err.Error()}
	}
	var sets []string
	for _, s := range slots {
		if s.PageSet != "" && s.Merge == nil {
			sets = append(sets, s.PageSet)
		}
	}
	return sets
}

// requireOnPage: every slot leads to the page set that the annotation names. It returns the set.
func requireOnPage(t require.TestingT, u *unstructured.Unstructured) string {
	k, _ := target.KindByName(u.GetKind())
	slots, err := k.Slots(u.Object)
	require.NoError(t, err)
	for _, s := range slots {
		if !s.AnyPage {
			require.Equal(t, u.GetAnnotations()[annotations.PageSet], s.PageSet, "%s", s.ID)
		}
	}
	return u.GetAnnotations()[annotations.PageSet]
}

// setOfPage is the name of the page set of a page with this HTML and the built-in page's
// other formats.
func setOfPage(html string) string {
	p, err := page.Parse(map[string]string{"page.html": html})
	if err != nil {
		panic(err) // the test's own page
	}
	return page.SetName(p.WithDefaults(pages.Default()).Hash())
}

func defaultSet() string { return page.SetName(pages.Default().Hash()) }

func originOf(name string) string { return origin.Name(target.Ref{Kind: "Service", Name: name}) }

// spec is the object's spec as canonical JSON.
func spec(t require.TestingT, u *unstructured.Unstructured) string {
	raw, err := json.Marshal(u.Object["spec"])
	require.NoError(t, err)
	return string(raw)
}

// toService decodes a Service.
func toService(u *unstructured.Unstructured) *corev1.Service {
	svc := &corev1.Service{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, svc); err != nil {
		panic(err) // the API server sent it
	}
	return svc
}

// routing is where a Service leads: its selector, and the targetPort of each port.
func routing(svc *corev1.Service) string {
	ports := map[string]string{}
	for _, p := range svc.Spec.Ports {
		ports[p.Name] = p.TargetPort.String()
	}
	raw, err := json.Marshal([]any{svc.Spec.Selector, ports})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func podReady(u *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Ready" {
			return m["status"] == "True" && u.GetDeletionTimestamp() == nil
		}
	}
	return false
}

// panickingT stands in for a test where there is none.
type panickingT struct{}

func (panickingT) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (panickingT) FailNow() { panic("failed") }
