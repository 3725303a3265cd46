package swap

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/ownership"
)

const (
	setA  = "maintenance-00000000000000aa"
	setB  = "maintenance-00000000000000bb"
	roomy = 200 << 10
)

// slot is one of a made-up kind: a named backend under spec.slots.
func slot(at int, id ID, backend string) Slot {
	s := Slot{
		ID: id, Path: ownership.Path{"spec", "slots", at, "to"}, Value: backend,
		Page: func(set string, _ any) any { return set },
		Check: func(value any) error {
			if s, ok := value.(string); !ok || strings.HasPrefix(s, "maintenance-") {
				return errors.New("no backend")
			}
			return nil
		},
	}
	if strings.HasPrefix(backend, "maintenance-") {
		s.PageSet = backend
	}
	return s
}

func path(host, p string) ID { return ID{Host: host, Path: p, Type: "Prefix"} }

func double(n int) ID { return ID{Host: "a", Path: "/", Type: "Prefix", N: n} }

func record(originals ...Original) Record { return Record{Version: Version, Slots: originals} }

func original(at int, id ID, backend string) Original {
	raw, _ := json.Marshal(backend)
	return Original{ID: id, At: at, Value: raw}
}

// written is what a plan writes, by the position of the slot.
func written(p Plan) map[int]string {
	out := map[int]string{}
	for _, w := range p.Writes {
		out[w.Path[2].(int)] = fmt.Sprint(w.Value)
	}
	return out
}

func ids(slots []Slot) []string {
	var out []string
	for _, s := range slots {
		out = append(out, s.ID.String())
	}
	return out
}

func TestBack(t *testing.T) {
	for name, tc := range map[string]struct {
		slots []Slot
		known Record
		want  map[int]string
		lost  []string
	}{
		"by identity, wherever it is now": {
			slots: []Slot{slot(0, path("b", "/"), setA), slot(1, path("a", "/"), setA)},
			known: record(original(0, path("a", "/"), "app-a"), original(1, path("b", "/"), "app-b")),
			want:  map[int]string{0: "app-b", 1: "app-a"},
		},
		"only what is on a page set": {
			slots: []Slot{slot(0, path("a", "/"), "somebody's"), slot(1, path("b", "/"), setA)},
			known: record(original(0, path("a", "/"), "app-a"), original(1, path("b", "/"), "app-b")),
			want:  map[int]string{1: "app-b"},
		},
		"a renamed host keeps its paths' backends, though they moved": {
			slots: []Slot{slot(0, path("new", "/api"), setA), slot(1, path("new", "/"), setA)},
			known: record(original(0, path("old", "/"), "app"), original(1, path("old", "/api"), "api")),
			want:  map[int]string{0: "api", 1: "app"},
		},
		"a renamed path": {
			slots: []Slot{slot(0, path("a", "/"), setA), slot(1, path("a", "/v2"), setA)},
			known: record(original(0, path("a", "/"), "app"), original(1, path("a", "/v1"), "api")),
			want:  map[int]string{0: "app", 1: "api"},
		},
		"a renamed path, wherever it is now": {
			slots: []Slot{slot(0, path("a", "/v2"), setA), slot(1, path("a", "/new"), "new"), slot(2, path("a", "/"), setA)},
			known: record(original(0, path("a", "/"), "app"), original(1, path("a", "/v1"), "api")),
			want:  map[int]string{0: "api", 2: "app"},
		},
		"a renamed host": {
			slots: []Slot{slot(0, path("c", "/"), setA), slot(1, path("b", "/x"), setA)},
			known: record(original(0, path("a", "/"), "app"), original(1, path("b", "/x"), "other")),
			want:  map[int]string{0: "app", 1: "other"},
		},
		"a renamed host of which a match speaks": {
			slots: []Slot{slot(0, path("c", "Host(`c`) && Path(`/`)"), setA), slot(1, path("c", "Host(`c`)"), setA)},
			known: record(original(0, path("a", "Host(`a`)"), "app"), original(1, path("a", "Host(`a`) && Path(`/`)"), "api")),
			want:  map[int]string{0: "api", 1: "app"},
		},
		"a path of another host that went is none of this one's": {
			slots: []Slot{slot(0, path("shop", "/api"), setA)},
			known: record(original(0, path("shop", "/"), "shop-app"), original(1, path("api", "/api"), "api-app")),
			want:  map[int]string{0: "shop-app"}, // the host's only backend
		},
		"nor is it where the host has several": {
			slots: []Slot{slot(0, path("shop", "/api"), setA), slot(1, path("shop", "/x"), setA)},
			known: record(original(0, path("shop", "/"), "shop-app"), original(1, path("shop", "/x"), "x"), original(2, path("api", "/api"), "api-app")),
			want:  map[int]string{1: "x"},
			lost:  []string{"Prefix host shop /api"},
		},
		"of two that were renamed their places say nothing: a path was inserted before": {
			slots: []Slot{slot(0, path("a", "/new"), "new"), slot(1, path("a", "/v2"), setA), slot(2, path("a", "/v2/admin"), setA)},
			known: record(original(0, path("a", "/v1"), "api"), original(1, path("a", "/v1/admin"), "admin")),
			want:  map[int]string{},
			lost:  []string{"Prefix host a /v2", "Prefix host a /v2/admin"},
		},
		"a host that is another's path now": {
			slots: []Slot{slot(0, path("a", "/new"), setA), slot(1, path("a", "/"), setA)},
			known: record(original(0, path("a", "/"), "app"), original(1, path("b", "/x"), "other")),
			want:  map[int]string{0: "app", 1: "app"}, // the host's only backend
		},
		"the target's only backend": {
			slots: []Slot{slot(0, path("a", "/"), setA), slot(1, path("b", "/"), setA), slot(2, path("c", "/new"), setA)},
			known: record(original(0, path("a", "/"), "app"), original(1, path("b", "/"), "app")),
			want:  map[int]string{0: "app", 1: "app", 2: "app"},
		},
		"two went, and one of them was renamed": {
			slots: []Slot{slot(0, path("a", "/v2"), setA)},
			known: record(original(0, path("a", "/x"), "other"), original(1, path("a", "/v1"), "api")),
			want:  map[int]string{},
			lost:  []string{"Prefix host a /v2"},
		},
		"one went, and the app of another has its name now": {
			slots: []Slot{slot(0, path("a", "/"), "canary"), slot(1, path("a", "/old"), setA)},
			known: record(original(0, path("a", "/"), "app"), original(1, path("a", "/x"), "other")),
			want:  map[int]string{},
			lost:  []string{"Prefix host a /old"},
		},
		"its name was given to another": {
			slots: []Slot{slot(0, path("a", "/"), "canary"), slot(1, path("a", "/old"), setA), slot(2, path("a", "/x"), setA)},
			known: record(original(0, path("a", "/"), "app"), original(1, path("a", "/x"), "other")),
			want:  map[int]string{1: "app", 2: "other"},
		},
		"one that went before is not taken for the one that was renamed": {
			slots: []Slot{slot(0, path("c", "/"), setA)},
			known: record(original(0, path("b", "/"), "app"), original(goneAt, path("a", "/"), "other")),
			want:  map[int]string{0: "app"},
		},
		"one that was lost is not taken for one that was renamed": {
			slots: []Slot{slot(0, path("a", "/v2"), setA), slot(1, path("a", "/y"), setA)},
			known: record(Original{ID: path("a", "/v2"), Value: json.RawMessage("null")}, original(1, path("a", "/y"), "y"), original(2, path("a", "/z"), "z")),
			want:  map[int]string{1: "y"},
			lost:  []string{"Prefix host a /v2"},
		},
		"doubles, in their order": {
			slots: []Slot{slot(0, double(0), setA), slot(1, double(1), setA)},
			known: record(original(0, double(0), "app"), original(1, double(1), "canary")),
			want:  map[int]string{0: "app", 1: "canary"},
		},
		"one of two doubles went, and nobody knows which": {
			slots: []Slot{slot(0, double(0), setA)},
			known: record(original(0, double(0), "app"), original(1, double(1), "canary")),
			want:  map[int]string{},
			lost:  []string{"Prefix host a /"},
		},
		"one of two doubles went before": {
			slots: []Slot{slot(0, double(0), setA)},
			known: record(original(0, double(0), "app"), original(goneAt, double(1), "canary")),
			want:  map[int]string{0: "app"},
		},
		"a double of the app's was put before": {
			slots: []Slot{slot(0, double(0), "canary"), slot(1, double(1), setA), slot(2, path("b", "/"), setA)},
			known: record(original(0, double(0), "app"), original(1, path("b", "/"), "other")),
			want:  map[int]string{1: "app", 2: "other"},
		},
		"one of two doubles was written back": {
			slots: []Slot{slot(0, double(0), "app"), slot(1, double(1), setA)},
			known: record(original(0, double(0), "app"), original(1, double(1), "canary")),
			want:  map[int]string{1: "canary"},
		},
		"one of two doubles is new, or the other is": {
			slots: []Slot{slot(0, double(0), "new"), slot(1, double(1), setA)},
			known: record(original(0, double(0), "app"), original(1, double(1), "canary")),
			want:  map[int]string{},
			lost:  []string{"Prefix host a / (duplicate 1)"},
		},
		"nothing tells: lost, and left alone": {
			slots: []Slot{slot(0, path("a", "/"), setA), slot(1, path("b", "/"), setA), slot(2, path("c", "/new"), setA)},
			known: record(original(0, path("a", "/"), "app"), original(1, path("b", "/"), "other")),
			want:  map[int]string{0: "app", 1: "other"},
			lost:  []string{"Prefix host c /new"},
		},
		"an original that is a page set is none": {
			slots: []Slot{slot(0, path("a", "/"), setA)},
			known: record(original(0, path("a", "/"), setB)),
			want:  map[int]string{},
			lost:  []string{"Prefix host a /"},
		},
		"a forged value does not fit": {
			slots: []Slot{slot(0, path("a", "/"), setA)},
			known: Record{Slots: []Original{{ID: path("a", "/"), Value: json.RawMessage(`{"evil":1}`)}}},
			want:  map[int]string{},
			lost:  []string{"Prefix host a /"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := Back(tc.slots, tc.known)
			assert.Equal(t, tc.want, written(p))
			assert.Equal(t, tc.lost, ids(p.Lost))
		})
	}
}

func TestTo(t *testing.T) {
	for name, tc := range map[string]struct {
		slots    []Slot
		known    Record
		budget   int
		want     map[int]string
		record   map[string]string // identity → original
		lost     []string
		reverted []string
		unfit    []string
	}{
		"from the app": {
			slots:  []Slot{slot(0, path("a", "/"), "app"), slot(1, path("b", "/"), "api")},
			want:   map[int]string{0: setA, 1: setA},
			record: map[string]string{"Prefix host a /": `"app"`, "Prefix host b /": `"api"`},
		},
		"from another page: the originals stay": {
			slots:  []Slot{slot(0, path("a", "/"), setB)},
			known:  record(original(0, path("a", "/"), "app")),
			want:   map[int]string{0: setA},
			record: map[string]string{"Prefix host a /": `"app"`},
		},
		"already there": {
			slots:  []Slot{slot(0, path("a", "/"), setA)},
			known:  record(original(0, path("a", "/"), "app")),
			want:   map[int]string{},
			record: map[string]string{"Prefix host a /": `"app"`},
		},
		"a host that was added": {
			slots:  []Slot{slot(0, path("new", "/"), "fresh"), slot(1, path("a", "/"), setA)},
			known:  record(original(0, path("a", "/"), "app")),
			want:   map[int]string{0: setA},
			record: map[string]string{"Prefix host new /": `"fresh"`, "Prefix host a /": `"app"`},
		},
		"a backend that was written back is the new original": {
			slots:    []Slot{slot(0, path("a", "/"), "app-v2"), slot(1, path("b", "/"), setA)},
			known:    record(original(0, path("a", "/"), "app"), original(1, path("b", "/"), "api")),
			want:     map[int]string{0: setA},
			record:   map[string]string{"Prefix host a /": `"app-v2"`, "Prefix host b /": `"api"`},
			reverted: []string{"Prefix host a /"},
		},
		"a slot without an original is not touched": {
			slots:  []Slot{slot(0, path("a", "/"), setB), slot(1, path("b", "/"), "api")},
			want:   map[int]string{1: setA},
			record: map[string]string{"Prefix host a /": "null", "Prefix host b /": `"api"`},
			lost:   []string{"Prefix host a /"},
		},
		"a slot that went away is remembered while maintenance lasts": {
			slots:  []Slot{slot(0, path("a", "/"), setA)},
			known:  record(original(0, path("a", "/"), "app"), original(1, path("b", "/"), "api")),
			want:   map[int]string{},
			record: map[string]string{"Prefix host a /": `"app"`, "Prefix host b /": `"api"`},
		},
		"no room: the slot stays on the app": {
			slots:  []Slot{slot(0, path("a", "/"), setA), slot(1, path("b", "/"), strings.Repeat("x", 100))},
			known:  record(original(0, path("a", "/"), "app")),
			budget: 120,
			want:   map[int]string{},
			record: map[string]string{"Prefix host a /": `"app"`},
			unfit:  []string{"Prefix host b /"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.budget == 0 {
				tc.budget = roomy
			}
			p, err := To(setA, tc.slots, tc.known, tc.budget)
			require.NoError(t, err)
			assert.Equal(t, tc.want, written(p))
			got := map[string]string{}
			for _, o := range p.Record.Slots {
				got[o.ID.String()] = string(o.Value)
			}
			assert.Equal(t, tc.record, got)
			assert.Equal(t, tc.lost, ids(p.Lost))
			assert.Equal(t, tc.reverted, ids(p.Reverted))
			assert.Equal(t, tc.unfit, ids(p.NoRoom))
			assert.LessOrEqual(t, len(p.Record.String()), tc.budget)
		})
	}
}

func TestApplyRefusesAMissingPath(t *testing.T) {
	object := map[string]any{"spec": map[string]any{"slots": []any{map[string]any{"to": "app"}}}}
	for _, p := range []ownership.Path{{}, {"spec", "slots", 1, "to"}, {"spec", 0}, {"spec", "slots", "to"}, {"spec", "none", "to"}} {
		_, err := Apply(object, []Write{{Path: p, Value: "x"}})
		assert.Error(t, err, "%v", p)
	}
	out, err := Apply(object, []Write{{Path: ownership.Path{"spec", "slots", 0, "to"}, Value: "x"}})
	require.NoError(t, err)
	assert.Contains(t, fmt.Sprint(out), "to:x")
	assert.Contains(t, fmt.Sprint(object), "to:app", "the caller's object stays as it was")
}

func TestFillGaps(t *testing.T) {
	annotation := record(original(0, path("a", "/"), "from the annotation"))
	backup := record(original(0, path("a", "/"), "from the backup"), original(1, path("b", "/"), "api"))
	backup.Page = "spring"
	got := annotation.FillGaps(backup)
	require.Len(t, got.Slots, 2)
	assert.Equal(t, `"from the annotation"`, string(got.Slots[0].Value), "per slot the annotation wins")
	assert.Equal(t, `"api"`, string(got.Slots[1].Value))
	assert.Equal(t, "spring", got.Page)
	assert.Len(t, annotation.Slots, 1, "the caller's record stays as it was")
}

func TestParseRecordRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":            "originals",
		"a version to come":  `{"v":2,"slots":[]}`,
		"no version":         `{"slots":[]}`,
		"more than there is": `{"v":1,"slots":[` + strings.Repeat(" ", maxRecord) + `]}`,
	} {
		_, err := ParseRecord(text)
		assert.Error(t, err, name)
	}
}

// FuzzParseRecord: any annotation is refused or read, a record that was read can be planned
// with, and only backends are ever written.
func FuzzParseRecord(f *testing.F) {
	f.Add(record(original(0, path("a", "/"), "app")).String())
	f.Add(`{"v":1,"slots":[{"host":"a","path":"/","type":"Prefix","at":-1,"value":null}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRecord(text)
		if err != nil {
			return
		}
		slots := []Slot{slot(0, path("a", "/"), setA), slot(1, path("b", "/"), setB), slot(2, path("c", "/"), "app")}
		for at, value := range written(Back(slots, r)) {
			if at == 2 || strings.HasPrefix(value, "maintenance-") {
				t.Fatalf("wrote %q to slot %d", value, at)
			}
		}
		if _, err := To(setA, slots, r, roomy); err != nil {
			t.Fatal(err)
		}
	})
}

// TestMergedSlot has the app's value next to the page's, which leads nowhere. It becomes
// what was meant, on the way to the page and back.
func TestMergedSlot(t *testing.T) {
	merged := slot(0, path("a", "/"), "part")
	merged.PageSet = setA
	merged.Check = func(any) error { return nil }
	merged.Merge = func(original, _ any) any { return fmt.Sprint(original, "+part") }
	slots := []Slot{merged, slot(1, path("b", "/"), setA)}
	known := record(original(0, path("a", "/"), "app"), original(1, path("b", "/"), "api"))
	assert.True(t, OnPage(slots[:1]), "something of the page is left in it")
	assert.Equal(t, map[int]string{0: "app+part", 1: "api"}, written(Back(slots, known)))
	p, err := To(setA, slots, known, roomy)
	require.NoError(t, err)
	assert.Equal(t, map[int]string{0: setA}, written(p))
	assert.Equal(t, `"app+part"`, string(p.Record.Slots[0].Value), "the new original")
	assert.Equal(t, []string{"Prefix host a /"}, ids(p.Reverted))
	assert.Equal(t, map[int]string{0: "<nil>+part"}, written(Back(slots[:1], Record{})), "no original is known")
}

// TestSlotWithOneValueForEveryPage is not written when the page changes.
func TestSlotWithOneValueForEveryPage(t *testing.T) {
	port := slot(1, path("a", "/port"), "the page's port")
	port.AnyPage = true
	slots := []Slot{slot(0, path("a", "/"), setA), port}
	known := record(original(0, path("a", "/"), "app"), original(1, path("a", "/port"), "http"))
	p, err := To(setB, slots, known, roomy)
	require.NoError(t, err)
	assert.Equal(t, map[int]string{0: setB}, written(p))
	assert.Len(t, p.Record.Slots, 2)
	assert.Equal(t, map[int]string{0: "app", 1: "http"}, written(Back(slots, known)))
}
