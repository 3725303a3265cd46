package apiserver

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// TestWhoHealsItselfIsContested: a tool writes its backends back whenever it finds
// them changed. It gets its way for longer and longer, people are told who it is
// and where to read about it, and what it wrote is what is restored.
func TestWhoHealsItselfIsContested(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"like Argo CD", "like Flux", "like Terraform"} {
		for _, k := range target.Kinds() {
			t.Run(name+" "+k.Name, func(t *testing.T) {
				t.Parallel()
				hands()[name].heals(newWorld(t), k)
			})
		}
	}
}

func (h hand) heals(w *world, k target.Kind) {
	_, git := w.releases(k.Name, "my-app")
	h.write(w, git)
	want := w.shape(w.get(k.Resource, "my-app"))
	if h.whole { // then Git is the place for the switch
		git.SetAnnotations(map[string]string{annotations.DefaultEnabled: "true"})
	}
	w.start()
	w.on(k.Resource, "my-app")
	slots := len(setsOf(w.until(k.Resource, "my-app", "active", state(annotations.Active))))
	onPage := func(u *unstructured.Unstructured) bool { return len(setsOf(u)) == slots }
	var waited []time.Duration
	for range 5 {
		w.until(k.Resource, "my-app", "the page", onPage)
		h.write(w, git)
		healed := time.Now()
		w.until(k.Resource, "my-app", "the page again", onPage)
		waited = append(waited, time.Since(healed))
	}
	assert.GreaterOrEqual(w, waited[3], 800*time.Millisecond, "the fourth time it is a second, less what the hand takes to return")
	assert.GreaterOrEqual(w, waited[4], 1800*time.Millisecond, "and then two")

	section := "README.md#" + plan.ToolOf(h.manager).Section
	h.write(w, git)
	u := w.until(k.Resource, "my-app", "the app, contested", func(u *unstructured.Unstructured) bool {
		return len(setsOf(u)) == 0 && state(annotations.Contested)(u)
	})
	for _, told := range []string{u.GetAnnotations()[annotations.Message], message(w.untilEvent("my-app", "BackendReverted"))} {
		assert.Contains(w, told, fmt.Sprintf("field manager %q", h.manager))
		assert.Contains(w, told, section)
	}
	w.off(k.Resource, "my-app")
	assert.Equal(w, want, w.shape(w.until(k.Resource, "my-app", "restored", restored)))
}

// TestWhoStripsOurAnnotations takes them all away, or all but the switch.
func TestWhoStripsOurAnnotations(t *testing.T) {
	t.Parallel()
	for _, k := range target.Kinds() {
		for name, keep := range map[string]map[string]string{"all": nil, "all but the switch": {annotations.DefaultEnabled: "true"}} {
			t.Run(name+", "+k.Name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.apply(manifests[k.Name]("my-app"))
				before := w.shape(w.get(k.Resource, "my-app"))
				w.start()
				for range 5 {
					w.on(k.Resource, "my-app")
					set := allOn(t, w.until(k.Resource, "my-app", "active", state(annotations.Active)))
					w.edit(k.Resource, "my-app", func(u *unstructured.Unstructured) { u.SetAnnotations(keep) })
					if len(keep) == 0 {
						w.until(k.Resource, "my-app", "restored", restored)
						continue
					}
					u := w.until(k.Resource, "my-app", "annotated again", state(annotations.Active))
					assert.Equal(t, set, allOn(t, u))
				}
				w.off(k.Resource, "my-app")
				u := w.until(k.Resource, "my-app", "restored, and nothing the controller's", func(u *unstructured.Unstructured) bool {
					return restored(u) && !ownership.Owns(u.GetManagedFields())
				})
				assert.Equal(t, before, w.shape(u))
				w.untilClean()
			})
		}
	}
}

// lists are where people insert, remove, rename and reorder: an entry's field that
// names it, and names that are not there yet.
var lists = map[string]struct {
	list, field string
	fresh       func(n int) any
}{
	"Ingress":      {"rules", "host", func(n int) any { return fmt.Sprintf("h%d.example", n) }},
	"IngressRoute": {"routes", "match", func(n int) any { return fmt.Sprintf("Host(`h%d.example`)", n) }},
	"Service":      {"ports", "port", func(n int) any { return int64(9000 + n) }},
}

// TestWhoRenamesAndReorders makes the same random changes to a target and to a
// twin that is not in maintenance: in the end the specs are the same.
func TestWhoRenamesAndReorders(t *testing.T) {
	t.Parallel()
	for _, k := range target.Kinds() {
		for range 3 {
			seed := rand.Uint64()
			t.Run(fmt.Sprintf("%s, seed %d", k.Name, seed), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.apply(manifests[k.Name]("my-app"), manifests[k.Name]("twin"))
				w.start()
				w.on(k.Resource, "my-app")
				w.until(k.Resource, "my-app", "active", state(annotations.Active))
				rnd := rand.New(rand.NewPCG(seed, 0))
				for n := range 12 {
					change := w.randomChange(rnd, k, n)
					w.edit(k.Resource, "twin", change)
					w.edit(k.Resource, "my-app", change)
					// Of two changes that nobody saw between, it may not be known
					// what became of what.
					w.until(k.Resource, "my-app", "all on the page and recorded", recorded(k))
				}
				w.off(k.Resource, "my-app")
				u := w.until(k.Resource, "my-app", "restored", restored)
				assert.Equal(t, w.bare(w.get(k.Resource, "twin")), w.bare(u))
			})
		}
	}
}

// bare is the spec without what the API server assigns.
func (w *world) bare(u *unstructured.Unstructured) string {
	u = u.DeepCopy()
	unstructured.RemoveNestedField(u.Object, "spec", "clusterIP")
	unstructured.RemoveNestedField(u.Object, "spec", "clusterIPs")
	return spec(w, u)
}

// randomChange gives a change of the kind's list.
func (w *world) randomChange(rnd *rand.Rand, k target.Kind, n int) func(*unstructured.Unstructured) {
	where := lists[k.Name]
	what, pick, name := rnd.IntN(4), rnd.Uint64(), where.fresh(n)
	added := w.parse(manifests[k.Name]("x")).Object["spec"].(map[string]any)[where.list].([]any)[0]
	return func(u *unstructured.Unstructured) {
		entries, _, err := unstructured.NestedSlice(u.Object, "spec", where.list)
		require.NoError(w, err)
		at := int(pick % uint64(len(entries)))
		switch {
		case what == 0:
			entries[at].(map[string]any)[where.field] = name
		case what == 1:
			slices.Reverse(entries)
		case what == 2 && len(entries) > 2:
			entries = slices.Delete(entries, at, at+1)
		default:
			entry := runtime.DeepCopyJSONValue(added).(map[string]any)
			entry[where.field] = name
			if k.Name == "Service" { // names of ports are unique as well
				entry["name"] = fmt.Sprintf("p%d", n)
			}
			entries = slices.Insert(entries, at, any(entry))
		}
		require.NoError(w, unstructured.SetNestedSlice(u.Object, entries, "spec", where.list))
	}
}

// recorded says whether every slot is on a page, and the record of originals is
// of just these slots in this order.
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
