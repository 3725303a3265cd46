package target_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// conformance is what every kind must pass: a new kind is a file of its own, a line in
// Kinds, and a line in examples.
var conformance = map[string]func(require.TestingT, example){
	"is well named":                         isWellNamed,
	"reads objects without changing them":   readsOnly,
	"has slots that can be told apart":      slotsAreDistinct,
	"has paths that lead to the values":     pathsLeadToValues,
	"knows its pages":                       pagesAreKnown,
	"admits only originals":                 originalsAreAdmitted,
	"survives odd objects":                  oddObjectsAreSurvived,
	"mends what is beside the page":         whatIsBesideThePageIsMended,
	"writes its slots and nothing else":     onlySlotsAreWritten,
	"gives back what it took":               swapThenUndoIsTheIdentity,
	"keeps edits":                           editsDuringMaintenanceAreKept,
	"restores part by part":                 partsAreWrittenBackOneByOne,
	"goes through maintenance and back":     lifeCycle,
	"says which hosts it serves":            hostsAreListed,
	"never leaves visitors with half of it": halvesAreMended,
	"has doors to its apps":                 doorsLeadToTheirApps,
	"knows its doors from others":           otherDoorsAreEdits,
	"says where visitors go":                backendsAreKnown,
}

func TestEveryKindConforms(t *testing.T) {
	t.Parallel()
	all := map[string]example{}
	for _, e := range examples() {
		all[e.kind.Name] = e
	}
	for _, k := range target.Kinds() {
		e, ok := all[k.Name]
		require.True(t, ok, "kind %s has no example: without one it is not tested", k.Name)
		for name, part := range conformance {
			t.Run(k.Name+" "+name, func(t *testing.T) {
				t.Parallel()
				part(t, e)
			})
		}
	}
	assert.Len(t, all, len(target.Kinds()))
}

func isWellNamed(t require.TestingT, e example) {
	k := e.kind
	object := e.generate(rand.New(rand.NewPCG(1, 0)))
	assert.Equal(t, object["kind"], k.Name)
	assert.Equal(t, object["apiVersion"], k.APIVersion())
	assert.NotEmpty(t, k.Resource.Resource)
	ref := target.Ref{Kind: k.Name, Namespace: "shop", Name: "my-app"}
	parsed, err := target.ParseUsedByEntry("shop", ref.UsedByEntry())
	require.NoError(t, err)
	assert.Equal(t, ref, parsed)
}

// objects calls look for random objects that have slots, and fails if there are none.
func (e example) objects(t require.TestingT, look func(rnd *rand.Rand, object map[string]any, slots []swap.Slot)) {
	found := 0
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 4))
		object := e.generate(rnd)
		slots, err := e.kind.Slots(object)
		require.NoError(t, err)
		if len(slots) > 0 {
			found++
			look(rnd, object, slots)
		}
	}
	require.Greater(t, found, 20, "the generator makes objects with slots")
}

func readsOnly(t require.TestingT, e example) {
	e.objects(t, func(_ *rand.Rand, object map[string]any, slots []swap.Slot) {
		before := text(t, object)
		again, err := e.kind.Slots(object)
		require.NoError(t, err)
		e.kind.Note(object)
		e.kind.Classes(object, noGateway)
		e.kind.Hosts(object)
		if e.kind.Followers != nil {
			e.kind.Followers(object)
		}
		if e.kind.Origin != nil {
			require.NotNil(t, e.kind.Origin(object), "an app has a way to it")
		}
		require.Equal(t, before, text(t, object))
		require.Len(t, again, len(slots))
		for i := range slots {
			require.Equal(t, slots[i].ID, again[i].ID)
			require.Equal(t, slots[i].Value, again[i].Value)
		}
		require.Empty(t, e.kind.Note(object).Refused, "an object with slots is not refused")
	})
}

func slotsAreDistinct(t require.TestingT, e example) {
	e.objects(t, func(_ *rand.Rand, _ map[string]any, slots []swap.Slot) {
		seen := map[swap.ID]bool{}
		for _, s := range slots {
			require.False(t, seen[s.ID], "%s is there twice", s.ID)
			require.NotEmpty(t, strings.TrimSpace(s.ID.String()), "people are told its name")
			seen[s.ID] = true
		}
	})
}

func pathsLeadToValues(t require.TestingT, e example) {
	e.objects(t, func(_ *rand.Rand, object map[string]any, slots []swap.Slot) {
		for _, s := range slots {
			require.Equal(t, s.Value, follow(object, s.Path), "%s", s.ID)
			require.Len(t, s.OwnershipPath(), len(s.Path), "%s: managedFields have the same place", s.ID)
		}
	})
}

func follow(at any, path []any) any {
	for _, step := range path {
		switch node := at.(type) {
		case map[string]any:
			at = node[fmt.Sprint(step)]
		case []any:
			i, ok := step.(int)
			if !ok || i >= len(node) {
				return nil
			}
			at = node[i]
		default:
			return nil
		}
	}
	return at
}

// pagesAreKnown: a swapped slot keeps its identity, points at just this set or at any, and
// is the app's again after it was written back.
func pagesAreKnown(t require.TestingT, e example) {
	e.objects(t, func(_ *rand.Rand, object map[string]any, slots []swap.Slot) {
		require.False(t, swap.OnPage(slots))
		swapped, _ := swapTo(t, e.kind, object, swap.Record{}, setA)
		after, err := e.kind.Slots(swapped)
		require.NoError(t, err)
		require.Len(t, after, len(slots))
		named := false
		for i, s := range after {
			require.Equal(t, slots[i].ID, s.ID)
			require.True(t, s.AnyPage || s.PageSet == setA, "%s points at %q", s.ID, s.PageSet)
			require.False(t, s.AnyPage && s.PageSet != "", "%s: the set is known, or any", s.ID)
			named = named || s.PageSet != ""
		}
		require.True(t, named, "the object says which page set it is on")
	})
}

// whatIsBesideThePageIsMended: a value that names a page set need not be the page's.
// Anything else in it is overwritten, and never changes the original.
func whatIsBesideThePageIsMended(t require.TestingT, e example) {
	mended := 0
	e.objects(t, func(rnd *rand.Rand, object map[string]any, slots []swap.Slot) {
		swapped, record := swapTo(t, e.kind, object, swap.Record{}, setA)
		at := rnd.IntN(len(slots))
		if reflect.DeepEqual(slots[at].Page(setA, slots[at].Value), slots[at].Page(setB, slots[at].Value)) {
			return // the same for every page
		}
		spoilt, did := spoilBeside(rnd, slots[at].Page(setA, slots[at].Value))
		if !did {
			return
		}
		spoiltObject, err := swap.Apply(swapped, []swap.Write{{Path: slots[at].Path, Value: spoilt}})
		require.NoError(t, err)
		there, err := e.kind.Slots(spoiltObject)
		require.NoError(t, err)
		require.Len(t, there, len(slots))
		require.Equal(t, setA, there[at].PageSet, "it still names the set: %v", spoilt)
		plan, err := swap.To(setA, there, record, roomy)
		require.NoError(t, err)
		require.Len(t, plan.Reverted, 1, "it is somebody's edit: %v", spoilt)
		after, err := swap.Apply(spoiltObject, plan.Writes)
		require.NoError(t, err)
		require.Equal(t, text(t, swapped), text(t, after), "as it was on the page")
		if there[at].Merge == nil {
			require.Equal(t, text(t, object), text(t, undo(t, e.kind, spoiltObject, record)), "seen or not")
			require.Equal(t, text(t, object), text(t, undo(t, e.kind, after, plan.Record)))
		}
		mended++
	})
	require.Positive(t, mended)
}

// onlySlotsAreWritten: with each slot written back, a swapped object is what it was before.
// An ingress controller that knows rules by their position loses visitors when one is
// added, removed or moved.
func onlySlotsAreWritten(t require.TestingT, e example) {
	e.objects(t, func(_ *rand.Rand, object map[string]any, slots []swap.Slot) {
		swapped, _ := swapTo(t, e.kind, object, swap.Record{}, setA)
		var back []swap.Write
		for _, s := range slots {
			back = append(back, swap.Write{Path: s.Path, Value: s.Value})
		}
		again, err := swap.Apply(swapped, back)
		require.NoError(t, err)
		require.Equal(t, text(t, object), text(t, again))
	})
}

// spoilBeside changes a number in a value, or adds a field or an entry to it.
func spoilBeside(rnd *rand.Rand, value any) (spoilt any, did bool) {
	switch value := value.(type) {
	case int64:
		return value + 1 + int64(rnd.IntN(1000)), true
	case []any:
		if rnd.IntN(3) == 0 {
			return append([]any{map[string]any{"name": "beside", "port": int64(80)}}, value...), true
		}
		below, did := spoilBeside(rnd, value[0])
		return append([]any{below}, value[1:]...), did
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			if below, did := spoilBeside(rnd, value[key]); did && rnd.IntN(2) == 0 {
				value[key] = below
				return value, true
			}
		}
		value["odd"] = "beside"
		return value, true
	}
	return value, false
}

// originalsAreAdmitted: an annotation can be forged.
func originalsAreAdmitted(t require.TestingT, e example) {
	e.objects(t, func(_ *rand.Rand, _ map[string]any, slots []swap.Slot) {
		for _, s := range slots {
			require.NoError(t, s.Check(s.Value), "%s: its own value", s.ID)
			require.Error(t, s.Check(s.Page(setA, s.Value)), "%s: a page is no original", s.ID)
			for _, forged := range []any{nil, map[string]any{}, []any{}, []any{nil}, map[string]any{"evil": map[string]any{}}, true, 1.5, int64(-1), "", "$(evil)"} {
				require.Error(t, s.Check(forged), "%s: %v", s.ID, forged)
			}
		}
	})
}

// oddObjectsAreSurvived replaces any value of an object by one of another type: the kind
// reads it or reports an error.
func oddObjectsAreSurvived(t require.TestingT, e example) {
	odd := []any{nil, "odd", int64(7), []any{}, []any{nil}, map[string]any{}, true}
	for _, object := range []map[string]any{{}, {"spec": nil}, {"spec": "odd"}, {"spec": []any{}}, {"metadata": nil, "spec": map[string]any{}}} {
		readAll(e.kind, object)
	}
	for seed := range uint64(500) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		object := e.generate(rnd)
		spoil(rnd, object["spec"], odd[rnd.IntN(len(odd))])
		readAll(e.kind, object)
	}
}

func readAll(k target.Kind, object map[string]any) {
	_, _ = k.Slots(object) // an error is an answer
	k.Note(object)
	k.Classes(object, noGateway)
	k.Hosts(object)
	if k.Followers != nil {
		k.Followers(object)
	}
	if k.Origin != nil {
		k.Origin(object)
	}
}

func noGateway(string, string) (string, bool) { return "", false }

// hostsAreListed: each once, the same on the page as on the app, and an additional host is
// listed too.
func hostsAreListed(t require.TestingT, e example) {
	e.objects(t, func(_ *rand.Rand, object map[string]any, _ []swap.Slot) {
		hosts := e.kind.Hosts(object)
		for i, h := range hosts {
			require.NotContains(t, hosts[i+1:], h, "each host is there once")
			require.Contains(t, []target.HostForm{target.ExactHost, target.WildcardHost, target.RegexpHost, target.NoHost}, h.Form)
			require.Equal(t, h.Form == target.NoHost, h.Name == "", "%v: what has a form has a name", h)
		}
		swapped, _ := swapTo(t, e.kind, object, swap.Record{}, setA)
		require.Equal(t, hosts, e.kind.Hosts(swapped), "on the page as on the app")
		if e.serve == nil {
			require.Empty(t, hosts)
			return
		}
		e.serve(object, "More.example.")
		more := e.kind.Hosts(object)
		require.Contains(t, more, target.Host{Form: target.ExactHost, Name: "more.example"})
		for _, h := range hosts {
			require.Contains(t, more, h)
		}
	})
}

// spoil writes a value somewhere below a node.
func spoil(rnd *rand.Rand, at, value any) {
	switch node := at.(type) {
	case map[string]any:
		for key, below := range node {
			if rnd.IntN(3) == 0 {
				node[key] = value
				return
			}
			spoil(rnd, below, value)
		}
	case []any:
		for i, below := range node {
			if rnd.IntN(3) == 0 {
				node[i] = value
				return
			}
			spoil(rnd, below, value)
		}
	}
}
