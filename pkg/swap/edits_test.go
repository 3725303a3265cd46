package swap_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

const (
	set   = "maintenance-00000000000000aa"
	roomy = 200 << 10
)

// entry is a rule with one path, or a route: whoever edits it thinks of it as one thing,
// whatever its name and position.
type entry struct {
	host, path string
	app        string // where it leads outside maintenance
	onPage     bool
	// wasHost and wasPath are its name at the last reconcile.
	wasHost, wasPath string
}

// shape makes objects of a kind from such entries.
type shape struct {
	kind target.Kind
	// object leads to the page where an entry is on it.
	object func(entries []entry) map[string]any
	// slot gives the path of an entry's slot, and name the app that a value leads to.
	slot func(at int) []any
	name func(value any) string
	// named reads the name of a slot.
	named func(id swap.ID) entry
}

func shapes() []shape {
	services := func(name string) any { return []any{map[string]any{"name": name, "port": int64(80)}} }
	backend := func(name string) any {
		return map[string]any{"service": map[string]any{"name": name, "port": map[string]any{"number": int64(80)}}}
	}
	return []shape{
		{kind: target.Ingress(),
			named: func(id swap.ID) entry { return entry{host: id.Host, path: id.Path} },
			slot:  func(at int) []any { return []any{"spec", "rules", at, "http", "paths", 0, "backend"} },
			name: func(value any) string {
				return value.(map[string]any)["service"].(map[string]any)["name"].(string)
			},
			object: func(entries []entry) map[string]any {
				rules := []any{}
				for _, e := range entries {
					path := map[string]any{"path": e.path, "pathType": "Prefix", "backend": backend(e.leadsTo())}
					rules = append(rules, map[string]any{"host": e.host, "http": map[string]any{"paths": []any{path}}})
				}
				return map[string]any{"spec": map[string]any{"rules": rules}}
			}},
		{kind: target.IngressRoute(),
			named: func(id swap.ID) entry {
				_, path, _ := strings.Cut(id.Path, "PathPrefix(`")
				return entry{host: id.Host, path: strings.TrimSuffix(path, "`)")}
			},
			slot: func(at int) []any { return []any{"spec", "routes", at, "services"} },
			name: func(value any) string { return value.([]any)[0].(map[string]any)["name"].(string) },
			object: func(entries []entry) map[string]any {
				routes := []any{}
				for _, e := range entries {
					routes = append(routes, map[string]any{"match": fmt.Sprintf("Host(`%s`) && PathPrefix(`%s`)", e.host, e.path), "services": services(e.leadsTo())})
				}
				return map[string]any{"spec": map[string]any{"routes": routes}}
			}},
	}
}

func (e entry) leadsTo() string {
	if e.onPage {
		return set
	}
	return e.app
}

// editing is a target in maintenance that people edit.
type editing struct {
	*rand.Rand
	shape
	entries []entry
	record  swap.Record
	fresh   int
	story   string
	own     int // slots that were renamed and still recognised
	asked   int // slots that people must decide on
}

// TestNeverAnotherAppsBackend: people rename, insert, remove and reorder, several changes
// in one write, with or without a reconcile in between. A slot gets back its own app, or
// the only one of its host or of the target; or people are asked.
//
// A slot is known by its name: giving it the former name of another makes it that one. So
// no slot is renamed to a name that another one had.
func TestNeverAnotherAppsBackend(t *testing.T) {
	t.Parallel()
	for _, shape := range shapes() {
		t.Run(shape.kind.Name, func(t *testing.T) {
			t.Parallel()
			own, asked := 0, 0
			for seed := range uint64(5000) {
				e := &editing{Rand: rand.New(rand.NewPCG(seed, 6)), shape: shape, story: fmt.Sprintf("seed %d", seed)}
				e.live(t)
				own, asked = own+e.own, asked+e.asked
			}
			t.Logf("%d renamed slots got their own app back, of %d slots people were asked", own, asked)
			assert.Greater(t, own, 1500, "a renamed slot gets its own app where that can be told")
			assert.Greater(t, asked, 500, "there are edits after which nobody can tell")
		})
	}
}

// live edits a target a few times and ends its maintenance.
func (e *editing) live(t *testing.T) {
	t.Helper()
	for range 1 + e.IntN(5) {
		e.insert()
	}
	e.look(t)
	for range 1 + e.IntN(3) {
		for range 1 + e.IntN(3) {
			e.edit()
		}
		if e.IntN(2) == 0 {
			e.look(t)
		}
	}
	slots, err := e.kind.Slots(e.object(e.entries))
	require.NoError(t, err)
	plan := swap.Back(slots, e.record)
	back := map[string]string{}
	for _, w := range plan.Writes {
		back[fmt.Sprint(w.Path)] = e.name(w.Value)
	}
	e.judge(t, func(at int) (string, bool) {
		got, ok := back[fmt.Sprint(e.slot(at))]
		return got, ok
	})
	e.asked += len(plan.Lost)
}

// look is a reconcile: it swaps what is not on the page.
func (e *editing) look(t *testing.T) {
	t.Helper()
	slots, err := e.kind.Slots(e.object(e.entries))
	require.NoError(t, err)
	plan, err := swap.To(set, slots, e.record, roomy)
	require.NoError(t, err)
	require.Empty(t, plan.Unrestorable)
	remembered := map[swap.ID]string{}
	for _, o := range plan.Record.Slots {
		var value any
		require.NoError(t, json.Unmarshal(o.Value, &value))
		if value != nil {
			remembered[o.ID] = e.name(value)
		}
	}
	e.judge(t, func(at int) (string, bool) {
		app, ok := remembered[slots[at].ID]
		return app, ok && !slices.ContainsFunc(plan.Lost, func(s swap.Slot) bool { return s.ID == slots[at].ID })
	})
	for at := range e.entries {
		x := &e.entries[at]
		x.onPage, x.wasHost, x.wasPath = true, x.host, x.path
	}
	e.record = plan.Record
}

// judge compares what the slots on the page are taken for with what they are.
func (e *editing) judge(t *testing.T, found func(at int) (app string, known bool)) {
	t.Helper()
	for at, x := range e.entries {
		e.story += fmt.Sprintf("\n  %s%s %s, on page %v, was %s%s", x.host, x.path, x.app, x.onPage, x.wasHost, x.wasPath)
		got, known := found(at)
		if !x.onPage || !known {
			continue
		}
		if got == x.app && x.host+x.path != x.wasHost+x.wasPath {
			e.own++
		}
		if got != x.app {
			require.True(t, e.only(got, x.host) || e.only(got, ""), "%s\n%s%s got %s, and is %s", e.story, x.host, x.path, got, x.app)
			e.entries[at].app = got // with a known original
		}
	}
	e.story += "\n"
}

// only says whether an app is the only one recorded for a host, or for the target.
func (e *editing) only(app, host string) bool {
	for _, o := range e.record.Slots {
		var value any
		if json.Unmarshal(o.Value, &value) == nil && value != nil && (host == "" || o.Host == host) && e.name(value) != app {
			return false
		}
	}
	return true
}

func (e *editing) edit() {
	what := e.IntN(6)
	if len(e.entries) == 0 {
		what = 0
	}
	at := e.IntN(max(1, len(e.entries)))
	switch what {
	case 0:
		e.insert()
	case 1:
		e.entries = slices.Delete(e.entries, at, at+1)
	case 2:
		e.Shuffle(len(e.entries), func(i, j int) { e.entries[i], e.entries[j] = e.entries[j], e.entries[i] })
	case 3: // a person writes another app into an entry
		e.entries[at].app, e.entries[at].onPage = e.newApp(), false
	case 4:
		from, to := e.entries[at].host, e.aHost()
		for at := range e.entries {
			if e.entries[at].host == from {
				e.rename(at, to, e.entries[at].path)
			}
		}
	default:
		e.rename(at, e.entries[at].host, e.aPath())
	}
}

func (e *editing) aHost() string { return fmt.Sprintf("h%d.example", e.IntN(4)) }
func (e *editing) aPath() string { return fmt.Sprintf("/p%d", e.IntN(6)) }

func (e *editing) newApp() string {
	e.fresh++
	return fmt.Sprintf("app-%d", e.fresh)
}

// insert adds an entry that no reconcile has seen, anywhere. It may have the former name of
// an entry that was just renamed. Some entries share an app.
func (e *editing) insert() {
	x := entry{host: e.aHost(), path: e.aPath(), app: e.newApp()}
	if e.IntN(4) == 0 {
		x.app = "shared"
	}
	if at := e.IntN(2 * (len(e.entries) + 1)); at < len(e.entries) && e.entries[at].wasHost != "" {
		x.host, x.path = e.entries[at].wasHost, e.entries[at].wasPath
	}
	if !e.has(x.host, x.path) {
		e.entries = slices.Insert(e.entries, e.IntN(len(e.entries)+1), x)
	}
}

func (e *editing) has(host, path string) bool {
	return slices.ContainsFunc(e.entries, func(x entry) bool { return x.host == host && x.path == path })
}

// rename gives an entry a name that no entry has or had, and a path that no other entry of
// its host had.
func (e *editing) rename(at int, host, path string) {
	x := &e.entries[at]
	if e.has(host, path) {
		return
	}
	for _, o := range e.record.Slots {
		was := e.named(o.ID)
		if was == (entry{host: x.wasHost, path: x.wasPath}) {
			continue
		}
		if was.path == path && (was.host == host || was.host == x.wasHost && path != x.wasPath) {
			return
		}
	}
	x.host, x.path = host, path
}
