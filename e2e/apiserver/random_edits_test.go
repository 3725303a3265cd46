package apiserver

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/target"
)

// TestStrippedAnnotations removes all annotations, or all except maintenance/enabled.
func TestStrippedAnnotations(t *testing.T) {
	t.Parallel()
	for _, k := range target.Kinds() {
		for name, keep := range map[string]map[string]string{"all": nil, "all but the switch": {annotations.DefaultEnabled: "true"}} {
			t.Run(name+", "+k.Name, func(t *testing.T) {
				t.Parallel()
				env := newTestEnv(t)
				env.apply(manifests[k.Name]("my-app"))
				before := env.authoredState(env.get(k.Resource, "my-app"))
				env.startController()
				for range 5 {
					env.enable(k.Resource, "my-app")
					set := requireOnPage(t, env.waitFor(k.Resource, "my-app", "active", state(annotations.Active)))
					env.edit(k.Resource, "my-app", func(u *unstructured.Unstructured) { u.SetAnnotations(keep) })
					if len(keep) == 0 {
						env.waitFor(k.Resource, "my-app", "restored", restored)
						continue
					}
					u := env.waitFor(k.Resource, "my-app", "annotations written again", state(annotations.Active))
					assert.Equal(t, set, requireOnPage(t, u))
				}
				env.disable(k.Resource, "my-app")
				u := env.waitFor(k.Resource, "my-app", "restored, without fields of the controller", func(u *unstructured.Unstructured) bool {
					return restored(u) && !ownership.ControllerOwnsAny(u.GetManagedFields())
				})
				assert.Equal(t, before, env.authoredState(u))
				env.waitForCleanup()
			})
		}
	}
}

// editableList is a list in a spec that people edit.
type editableList struct {
	list, field string          // field names an entry
	newName     func(n int) any // a name that does not exist yet
	perRule     bool            // the list is in each of the spec's rules
}

// editableLists are the lists of each kind.
var editableLists = map[string][]editableList{
	"Ingress": {
		{list: "rules", field: "host", newName: func(n int) any { return fmt.Sprintf("h%d.example", n) }},
		{list: "paths", field: "path", newName: func(n int) any { return fmt.Sprintf("/p%d", n) }, perRule: true},
	},
	"IngressRoute": {{list: "routes", field: "match", newName: func(n int) any { return fmt.Sprintf("Host(`h%d.example`)", n) }}},
	"HTTPRoute":    {{list: "rules", field: "name", newName: func(n int) any { return fmt.Sprintf("r%d", n) }}},
	"GRPCRoute":    {{list: "rules", field: "name", newName: func(n int) any { return fmt.Sprintf("r%d", n) }}},
	"Service":      {{list: "ports", field: "port", newName: func(n int) any { return int64(9000 + n) }}},
}

// in returns the object that has the list: the spec, or one of its rules.
func (p editableList) in(spec map[string]any, pick uint64) map[string]any {
	if !p.perRule {
		return spec
	}
	list := spec["rules"].([]any)
	return list[pick%uint64(len(list))].(map[string]any)["http"].(map[string]any)
}

// TestRandomRenamesAndReorders makes the same random changes to a target and to a twin that
// is not in maintenance: in the end the specs are equal.
func TestRandomRenamesAndReorders(t *testing.T) {
	t.Parallel()
	for _, k := range target.Kinds() {
		for n := range uint64(3) {
			seed := randomSeed() + n
			t.Run(fmt.Sprintf("%s, seed %d", k.Name, seed), func(t *testing.T) {
				t.Parallel()
				env := newTestEnv(t)
				env.apply(manifests[k.Name]("my-app"), manifests[k.Name]("twin"))
				env.startController()
				env.enable(k.Resource, "my-app")
				env.waitFor(k.Resource, "my-app", "active", state(annotations.Active))
				rnd := rand.New(rand.NewPCG(seed, 0))
				for n := range 16 {
					change := env.randomChange(rnd, k, n)
					env.edit(k.Resource, "twin", change)
					env.edit(k.Resource, "my-app", change)
					// After two edits that the controller has not seen separately, the
					// originals can be ambiguous.
					env.waitFor(k.Resource, "my-app", "all on the page and recorded", recorded(k))
				}
				env.disable(k.Resource, "my-app")
				u := env.waitFor(k.Resource, "my-app", "restored", restored)
				assert.Equal(t, env.authoredSpec(env.get(k.Resource, "twin")), env.authoredSpec(u))
			})
		}
	}
}

// randomChange returns a random change of one of the kind's lists.
func (env *testEnv) randomChange(rnd *rand.Rand, k target.Kind, n int) func(*unstructured.Unstructured) {
	where := editableLists[k.Name][rnd.IntN(len(editableLists[k.Name]))]
	what, pick, name := rnd.IntN(4), rnd.Uint64(), where.newName(n)
	added := where.in(env.parse(manifests[k.Name]("x")).Object["spec"].(map[string]any), 0)[where.list].([]any)[0]
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
			if k.Name == "Service" { // names of ports must be unique as well
				entry["name"] = fmt.Sprintf("p%d", n)
			}
			if matches := uniqueMatches(k.Name, n); matches != nil { // rules with equal matches can only be told apart by name
				entry["matches"] = matches
			}
			entries = slices.Insert(entries, at, any(entry))
		}
		holder[where.list] = entries
	}
}
