package target_test

import (
	"math/rand/v2"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

var madeUp = schema.GroupVersion{Group: "example.com", Version: "v1"}

// life is an object whose decisions are carried out at once.
type life struct {
	t      require.TestingT
	kind   target.Kind
	now    time.Time
	object map[string]any
	backup *plan.Backup
	origin *corev1.ServiceSpec
	memory plan.Memory
}

func (l *life) slots() []swap.Slot {
	slots, err := l.kind.Slots(l.object)
	require.NoError(l.t, err)
	return slots
}

// decide does what is decided until nothing is left to do at this time.
func (l *life) decide() plan.Decision {
	for range 20 {
		u := unstructured.Unstructured{Object: l.object}
		state := plan.State{
			Now: l.now, Settings: plan.Settings{Settle: 3 * time.Second}, Kind: l.kind, Object: l.object, Slots: l.slots(), Notes: l.kind.Note(l.object),
			Page: plan.Page{Set: setA, Name: annotations.DefaultPage}, Sets: map[string]pageset.Status{setA: {Phase: pageset.Serving}},
			Backup: l.backup, Memory: l.memory, Origin: l.origin,
		}
		state.Request, _ = annotations.DefaultKeys().Parse(u.GetAnnotations())
		state.Wanted = wanted.Decide(state.Request, wanted.Facts{}, l.now)
		d := plan.Decide(state)
		l.memory = d.Memory
		if d.WriteBackup != nil {
			l.backup = d.WriteBackup
		}
		if d.WriteOrigin != nil {
			l.origin = d.WriteOrigin
		}
		if d.Update != nil {
			l.object = d.Update
		}
		if d.DropBackup {
			l.backup = nil
		}
		if d.DropOrigin {
			l.origin = nil
		}
		if d.Update == nil && d.WriteBackup == nil && d.WriteOrigin == nil && !d.DropBackup && !d.DropOrigin {
			return d
		}
	}
	require.Fail(l.t, "it never comes to rest")
	return plan.Decision{}
}

func (l *life) annotate(value string) {
	u := unstructured.Unstructured{Object: runtime.DeepCopyJSON(l.object)}
	all := u.GetAnnotations()
	if all == nil {
		all = map[string]string{}
	}
	if all[annotations.DefaultEnabled] = value; value == "" {
		delete(all, annotations.DefaultEnabled)
	}
	if u.SetAnnotations(all); len(all) == 0 {
		unstructured.RemoveNestedField(u.Object, "metadata", "annotations")
	}
	l.object = u.Object
}

func newLife(t require.TestingT, e example, object map[string]any) *life {
	return &life{t: t, kind: e.kind, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), object: object}
}

func (l *life) onPage() (on, off int) {
	for _, s := range l.slots() {
		if s.OnPage() {
			on++
		} else {
			off++
		}
	}
	return on, off
}

// lifeCycle: on, active, off, any number of times, and nothing is left behind.
func lifeCycle(t require.TestingT, e example) {
	e.objects(t, func(_ *rand.Rand, object map[string]any, slots []swap.Slot) {
		l := newLife(t, e, object)
		for range 2 {
			l.annotate("true")
			l.decide()
			l.now = l.now.Add(time.Minute)
			l.decide()
			u := unstructured.Unstructured{Object: l.object}
			require.Equal(t, annotations.Active, u.GetAnnotations()[annotations.State])
			on, _ := l.onPage()
			require.Len(t, slots, on)
			require.NotNil(t, l.backup)
			require.Equal(t, e.kind.Origin != nil, l.origin != nil)
			l.annotate("")
			l.decide()
			require.Equal(t, text(t, object), text(t, l.object))
			require.Nil(t, l.backup)
			require.Nil(t, l.origin)
		}
	})
}

// halvesAreMended reverts a slot again and again until the next swap is delayed: a kind
// that switches atomically is on the page or on the app at any time.
func halvesAreMended(t require.TestingT, e example) {
	e.objects(t, func(rnd *rand.Rand, object map[string]any, slots []swap.Slot) {
		l := newLife(t, e, object)
		l.annotate("true")
		l.decide()
		for range 6 {
			s := slots[rnd.IntN(len(slots))]
			var err error
			l.object, err = swap.Apply(l.object, []swap.Write{{Path: s.Path, Value: s.Value}})
			require.NoError(t, err)
			after := l.decide().After
			if on, off := l.onPage(); e.kind.SwitchesAtomically {
				require.True(t, on == 0 || off == 0, "%d slots on the page, %d on the app", on, off)
			}
			l.now = l.now.Add(after)
			l.decide()
			on, _ := l.onPage()
			require.Len(t, slots, on, "swapped again")
		}
		l.annotate("")
		l.decide()
		require.Equal(t, text(t, object), text(t, l.object))
	})
}
