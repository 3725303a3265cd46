package apiserver

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

var handsSeed = flag.Uint64("hands-seed", 0, "seed of the tests in which random hands write; 0 is a new one each time")

// seedOfHands is printed by who uses it.
func seedOfHands() uint64 {
	if *handsSeed != 0 {
		return *handsSeed
	}
	return rand.Uint64()
}

// TestWhoHealsItselfIsContested: a tool writes its backends back whenever it finds
// them changed. It gets its way for longer and longer, people are told who it is
// and where to read about it, and what it wrote is what is restored.
func TestWhoHealsItselfIsContested(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"like Argo CD", "like Flux", "like Terraform", "kubectl apply", "helm upgrade"} {
		for _, k := range target.Kinds() {
			if name == "helm upgrade" && k.Custom {
				continue // see TestHelmLeavesCustomResources
			}
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
	var times []time.Duration
	for range 5 {
		writing := time.Now()
		h.write(w, git)
		w.until(k.Resource, "my-app", "the page again", onPage)
		times = append(times, time.Since(writing))
	}
	assert.GreaterOrEqual(w, times[3], time.Second, "the fourth time it waits for a second")
	assert.GreaterOrEqual(w, times[4], 2*time.Second, "and then for two")

	section := "README.md#" + plan.ToolOf(h.manager).Section
	h.write(w, git)
	u := w.until(k.Resource, "my-app", "the app, contested", func(u *unstructured.Unstructured) bool {
		return len(setsOf(u)) == 0 && state(annotations.Contested)(u)
	})
	event := w.untilTold("my-app", "BackendReverted", "the state is contested")
	assert.Contains(w, event, "the 4th time in a row")
	for _, told := range []string{u.GetAnnotations()[annotations.Message], event} {
		assert.Contains(w, told, fmt.Sprintf("field manager %q", h.manager))
		assert.Contains(w, told, section)
	}
	w.off(k.Resource, "my-app")
	assert.Equal(w, want, w.shape(w.until(k.Resource, "my-app", "restored", restored)))
}

// TestHelmLeavesCustomResources: for these, Helm compares with its own last release
// alone, so that an upgrade that changes nothing leaves the page.
func TestHelmLeavesCustomResources(t *testing.T) {
	t.Parallel()
	w, k := newWorld(t), target.IngressRoute()
	release, _ := w.releases(k.Name, "my-app")
	helm(w, release)
	w.start()
	w.on(k.Resource, "my-app")
	before := w.until(k.Resource, "my-app", "active", state(annotations.Active))
	helm(w, release)
	assert.Equal(t, before.GetResourceVersion(), w.get(k.Resource, "my-app").GetResourceVersion())
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

// place is a list of a spec in which people insert, remove, rename and reorder.
type place struct {
	list, field string          // field is what names an entry
	fresh       func(n int) any // a name that is not there yet
	rule        bool            // the list is in each of the spec's rules
}

// places are those of each kind.
var places = map[string][]place{
	"Ingress": {
		{list: "rules", field: "host", fresh: func(n int) any { return fmt.Sprintf("h%d.example", n) }},
		{list: "paths", field: "path", fresh: func(n int) any { return fmt.Sprintf("/p%d", n) }, rule: true},
	},
	"IngressRoute": {{list: "routes", field: "match", fresh: func(n int) any { return fmt.Sprintf("Host(`h%d.example`)", n) }}},
	"HTTPRoute":    {{list: "rules", field: "name", fresh: func(n int) any { return fmt.Sprintf("r%d", n) }}},
	"GRPCRoute":    {{list: "rules", field: "name", fresh: func(n int) any { return fmt.Sprintf("r%d", n) }}},
	"Service":      {{list: "ports", field: "port", fresh: func(n int) any { return int64(9000 + n) }}},
}

// in gives what has the list: the spec, or one of its rules.
func (p place) in(spec map[string]any, pick uint64) map[string]any {
	if !p.rule {
		return spec
	}
	list := spec["rules"].([]any)
	return list[pick%uint64(len(list))].(map[string]any)["http"].(map[string]any)
}

// TestWhoRenamesAndReorders makes the same random changes to a target and to a
// twin that is not in maintenance: in the end the specs are the same.
func TestWhoRenamesAndReorders(t *testing.T) {
	t.Parallel()
	for _, k := range target.Kinds() {
		for n := range uint64(3) {
			seed := seedOfHands() + n
			t.Run(fmt.Sprintf("%s, seed %d", k.Name, seed), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.apply(manifests[k.Name]("my-app"), manifests[k.Name]("twin"))
				w.start()
				w.on(k.Resource, "my-app")
				w.until(k.Resource, "my-app", "active", state(annotations.Active))
				rnd := rand.New(rand.NewPCG(seed, 0))
				for n := range 16 {
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

// randomChange gives a change of one of the kind's lists.
func (w *world) randomChange(rnd *rand.Rand, k target.Kind, n int) func(*unstructured.Unstructured) {
	where := places[k.Name][rnd.IntN(len(places[k.Name]))]
	what, pick, name := rnd.IntN(4), rnd.Uint64(), where.fresh(n)
	added := where.in(w.parse(manifests[k.Name]("x")).Object["spec"].(map[string]any), 0)[where.list].([]any)[0]
	return func(u *unstructured.Unstructured) {
		holder := where.in(u.Object["spec"].(map[string]any), pick)
		entries := holder[where.list].([]any)
		at := int(pick / 7 % uint64(len(entries)))
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
			if matches := matchesOf(k.Name, n); matches != nil { // of two rules that are matched alike, a name alone tells
				entry["matches"] = matches
			}
			entries = slices.Insert(entries, at, any(entry))
		}
		holder[where.list] = entries
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
