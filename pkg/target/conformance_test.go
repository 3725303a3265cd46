package target_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// conformance is what every kind must pass: a new kind is a file of its own, a
// line in Kinds, and a line in examples.
var conformance = map[string]func(require.TestingT, example){
	"is well named":                         isWellNamed,
	"reads objects without changing them":   readsOnly,
	"has slots that can be told apart":      slotsAreDistinct,
	"has paths that lead to the values":     pathsLeadToValues,
	"knows its pages":                       pagesAreKnown,
	"admits only originals":                 originalsAreAdmitted,
	"survives odd objects":                  oddObjectsAreSurvived,
	"gives back what it took":               swapThenUndoIsTheIdentity,
	"keeps edits":                           editsDuringMaintenanceAreKept,
	"restores part by part":                 partsAreWrittenBackOneByOne,
	"goes through maintenance and back":     lifeCycle,
	"never leaves visitors with half of it": halvesAreMended,
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
	parsed, err := target.ParseUser("shop", ref.User())
	require.NoError(t, err)
	assert.Equal(t, ref, parsed)
}

// objects calls look for random objects that have slots, and there must be some.
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
		e.kind.Class(object)
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
			require.Len(t, s.Owned(), len(s.Path), "%s: managedFields have the same place", s.ID)
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

// pagesAreKnown: a swapped slot keeps its identity, points at that very set or at
// any, and is an app's again when it is written back.
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

// originalsAreAdmitted: an annotation can be forged.
func originalsAreAdmitted(t require.TestingT, e example) {
	e.objects(t, func(_ *rand.Rand, _ map[string]any, slots []swap.Slot) {
		for _, s := range slots {
			require.NoError(t, s.Check(s.Value), "%s: its own value", s.ID)
			require.Error(t, s.Check(s.Page(setA)), "%s: a page is no original", s.ID)
			for _, forged := range []any{nil, map[string]any{}, []any{}, []any{nil}, map[string]any{"evil": map[string]any{}}, true, 1.5, int64(-1), "", "$(evil)"} {
				require.Error(t, s.Check(forged), "%s: %v", s.ID, forged)
			}
		}
	})
}

// oddObjectsAreSurvived replaces any value of an object by one of another type:
// the kind reads it or says why not.
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
	k.Class(object)
	if k.Origin != nil {
		k.Origin(object)
	}
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

// The suite is what finds faults, and not the kinds that happen to have none: a
// made-up kind passes, and each fault that is put into it is found.
func TestTheSuite(t *testing.T) {
	for name, part := range conformance {
		assert.False(t, fails(part, tunnels(tunnel())), "a kind in order fails in %q", name)
	}
	for fault, spoilt := range map[string]func(*target.Kind){
		"the slots have one identity": func(k *target.Kind) {
			eachSlot(k, func(s *swap.Slot) { s.ID = swap.ID{Type: "exit"} })
		},
		"an index is the identity": func(k *target.Kind) {
			eachSlot(k, func(s *swap.Slot) { s.ID = swap.ID{Type: "exit", N: s.Path[2].(int)} })
		},
		"pages are not recognised": func(k *target.Kind) { eachSlot(k, func(s *swap.Slot) { s.PageSet = "" }) },
		"everything is admitted":   func(k *target.Kind) { eachSlot(k, func(s *swap.Slot) { s.Check = func(any) error { return nil } }) },
		"nothing is admitted": func(k *target.Kind) {
			eachSlot(k, func(s *swap.Slot) { s.Check = func(any) error { return assert.AnError } })
		},
		"the page is another set's":  func(k *target.Kind) { eachSlot(k, func(s *swap.Slot) { s.Page = func(string) any { return setB } }) },
		"a path leads elsewhere":     func(k *target.Kind) { eachSlot(k, func(s *swap.Slot) { s.Path = []any{"spec", "exits", 0, "to"} }) },
		"the name is another kind's": func(k *target.Kind) { k.Name = "Pipe" },
		"reading writes": func(k *target.Kind) {
			slots := k.Slots
			k.Slots = func(object map[string]any) ([]swap.Slot, error) {
				found, err := slots(object)
				if err == nil {
					object["seen"] = fmt.Sprint(object["seen"], "x")
				}
				return found, err
			}
		},
		"odd objects are not survived": func(k *target.Kind) {
			slots := k.Slots
			k.Slots = func(object map[string]any) ([]swap.Slot, error) {
				_ = object["spec"].(map[string]any)["exits"].([]any)
				return slots(object)
			}
		},
	} {
		kind := tunnel()
		spoilt(&kind)
		found := false
		for _, part := range conformance {
			found = found || fails(part, tunnels(kind))
		}
		assert.True(t, found, "the suite does not find that %s", fault)
	}
}

// fails says whether a part of the suite fails, or panics.
func fails(part func(require.TestingT, example), e example) bool {
	r := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { r.failed = r.failed || recover() != nil }()
		part(r, e)
	}()
	<-done
	return r.failed
}

// recorder stands in for a test.
type recorder struct{ failed bool }

func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) FailNow()              { r.failed = true; runtime.Goexit() }

// tunnel is a made-up kind: exits, each to a Service by its name.
func tunnel() target.Kind {
	return target.Kind{
		Name: "Tunnel", Resource: madeUp.WithResource("tunnels"), Custom: true,
		Slots: tunnelSlots, Class: func(map[string]any) (string, bool) { return "", false },
	}
}

func tunnelSlots(object map[string]any) ([]swap.Slot, error) {
	exits, ok := follow(object, []any{"spec", "exits"}).([]any)
	if !ok {
		return nil, fmt.Errorf("exits are %s", reflect.TypeOf(follow(object, []any{"spec", "exits"})))
	}
	var slots []swap.Slot
	for i, exit := range exits {
		name, ok1 := follow(exit, []any{"name"}).(string)
		to, ok2 := follow(exit, []any{"to"}).(string)
		if !ok1 || !ok2 {
			return nil, fmt.Errorf("exit %d leads nowhere", i)
		}
		s := swap.Slot{ID: swap.ID{Type: "exit", Path: name}, Path: []any{"spec", "exits", i, "to"}, Value: to, Page: func(set string) any { return set }, Check: checkExit}
		if page.IsSetName(to) {
			s.PageSet = to
		}
		slots = append(slots, s)
	}
	return slots, nil
}

func checkExit(value any) error {
	if to, ok := value.(string); !ok || to == "" || strings.ContainsAny(to, "$()") || page.IsSetName(to) {
		return fmt.Errorf("%v is no exit", value)
	}
	return nil
}

func eachSlot(k *target.Kind, change func(*swap.Slot)) {
	slots := k.Slots
	k.Slots = func(object map[string]any) ([]swap.Slot, error) {
		found, err := slots(object)
		for i := range found {
			change(&found[i])
		}
		return found, err
	}
}

func tunnels(k target.Kind) example {
	return example{
		kind: k, list: "exits",
		fresh: func(_ *rand.Rand, name string) any { return map[string]any{"name": name, "to": "new"} },
		generate: func(rnd *rand.Rand) map[string]any {
			exits := []any{}
			for i := range rnd.IntN(4) {
				exits = append(exits, map[string]any{"name": fmt.Sprint("exit-", i), "to": fmt.Sprint("svc-", rnd.IntN(3))})
			}
			return map[string]any{"apiVersion": "example.com/v1", "kind": "Tunnel", "metadata": map[string]any{"name": "a"}, "spec": map[string]any{"exits": exits}}
		},
	}
}
