package target_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

const (
	setA  = "maintenance-00000000000000aa"
	setB  = "maintenance-00000000000000bb"
	roomy = 200 << 10
)

// TestSwapThenUndoIsTheIdentity: invariant 1, over random objects of every kind,
// through any number of page changes.
func TestSwapThenUndoIsTheIdentity(t *testing.T) {
	for name, generate := range generators {
		t.Run(name, func(t *testing.T) {
			kind, ok := target.KindByName(name)
			require.True(t, ok)
			for seed := range uint64(2000) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				before := generate(rnd)
				object, record := before, swap.Record{}
				for range 1 + rnd.IntN(3) {
					object, record = swapTo(t, kind, object, record, []string{setA, setB}[rnd.IntN(2)])
				}
				requireSound(t, kind, object, record)
				assert.Equal(t, text(t, before), text(t, undo(t, kind, object, record)), "seed %d", seed)
			}
		})
	}
}

// TestEditsDuringMaintenanceAreKept: invariant 3. Random edits between swap and
// restore: what was added stays, what was removed stays away, what was written
// over stays as written, and everything else is as it was before.
func TestEditsDuringMaintenanceAreKept(t *testing.T) {
	for name, generate := range generators {
		t.Run(name, func(t *testing.T) {
			kind, _ := target.KindByName(name)
			for seed := range uint64(2000) {
				rnd := rand.New(rand.NewPCG(seed, 2))
				// The same edits, made to the app's object and to the one in maintenance.
				app := generate(rnd)
				object, record := swapTo(t, kind, app, swap.Record{}, setA)
				for range 1 + rnd.IntN(4) {
					edit := randomEdit(rnd, kind.Name, app)
					app, object = edit(app), edit(object)
				}
				if rnd.IntN(2) == 0 { // the controller may or may not have seen them
					object, record = swapTo(t, kind, object, record, setB)
					requireSound(t, kind, object, record)
				}
				assert.Equal(t, text(t, app), text(t, undo(t, kind, object, record)), "seed %d", seed)
			}
		})
	}
}

// requireSound: every slot on a page set has an original, and none of the originals is a page set.
func requireSound(t *testing.T, kind target.Kind, object map[string]any, record swap.Record) {
	t.Helper()
	slots, err := kind.Slots(object)
	require.NoError(t, err)
	have := map[swap.ID]bool{}
	for _, o := range record.Slots {
		have[o.ID] = true
		require.NotContains(t, string(o.Value), "maintenance-00", "an original is never a page set")
	}
	for _, s := range slots {
		require.NotEmpty(t, s.PageSet, "%s was left on the app", s.ID)
		require.True(t, have[s.ID], "%s has no original", s.ID)
	}
}

func swapTo(t *testing.T, kind target.Kind, object map[string]any, record swap.Record, set string) (map[string]any, swap.Record) {
	t.Helper()
	before := text(t, object)
	slots, err := kind.Slots(object)
	require.NoError(t, err)
	plan, err := swap.To(set, slots, record, roomy)
	require.NoError(t, err)
	require.Empty(t, plan.Lost)
	require.Empty(t, plan.Unfit)
	out, err := swap.Apply(object, plan.Writes)
	require.NoError(t, err)
	require.Equal(t, before, text(t, object), "the caller's object stays as it was")
	read, err := swap.ParseRecord(plan.Record.String())
	require.NoError(t, err)
	return out, read
}

func undo(t *testing.T, kind target.Kind, object map[string]any, record swap.Record) map[string]any {
	t.Helper()
	slots, err := kind.Slots(object)
	require.NoError(t, err)
	plan := swap.Back(slots, record)
	require.Empty(t, plan.Lost)
	out, err := swap.Apply(object, plan.Writes)
	require.NoError(t, err)
	return out
}

func text(t *testing.T, object map[string]any) string {
	t.Helper()
	raw, err := json.MarshalIndent(object, "", " ")
	require.NoError(t, err)
	return string(raw)
}

var generators = map[string]func(*rand.Rand) map[string]any{"Ingress": randomIngress, "IngressRoute": randomIngressRoute}

func randomBackend(rnd *rand.Rand) map[string]any {
	switch rnd.IntN(4) {
	case 0:
		return map[string]any{"resource": map[string]any{"apiGroup": "k8s.example.com", "kind": "Bucket", "name": "static"}}
	case 1:
		return map[string]any{"service": map[string]any{"name": fmt.Sprintf("svc-%d", rnd.IntN(4)), "port": map[string]any{"name": "web"}}}
	default:
		return map[string]any{"service": map[string]any{"name": fmt.Sprintf("svc-%d", rnd.IntN(4)), "port": map[string]any{"number": int64(80 + rnd.IntN(3))}}}
	}
}

func randomRule(rnd *rand.Rand) map[string]any {
	rule := map[string]any{}
	if h := rnd.IntN(4); h > 0 {
		rule["host"] = fmt.Sprintf("h%d.example", h)
	}
	if rnd.IntN(6) == 0 {
		return rule // a host alone
	}
	var paths []any
	for range 1 + rnd.IntN(3) {
		p := map[string]any{"pathType": []string{"Prefix", "Exact", "ImplementationSpecific"}[rnd.IntN(3)], "backend": randomBackend(rnd)}
		if rnd.IntN(5) > 0 {
			p["path"] = []string{"/", "/a", "/.well-known/acme-challenge/x"}[rnd.IntN(3)]
		}
		if rnd.IntN(8) == 0 {
			p["backend"] = map[string]any{"service": map[string]any{"name": "cm-acme-http-solver-x", "port": map[string]any{"name": "use-annotation"}}}
		}
		paths = append(paths, p)
	}
	rule["http"] = map[string]any{"paths": paths}
	return rule
}

func randomIngress(rnd *rand.Rand) map[string]any {
	spec := map[string]any{"ingressClassName": "traefik", "aFieldOfTheFuture": map[string]any{"x": int64(1)}}
	if rnd.IntN(2) == 0 {
		spec["defaultBackend"] = randomBackend(rnd)
	}
	if n := rnd.IntN(5); n > 0 {
		var rules []any
		for range n {
			rules = append(rules, randomRule(rnd))
		}
		spec["rules"] = rules
	} else if rnd.IntN(2) == 0 {
		spec["rules"] = []any{}
	}
	return map[string]any{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": map[string]any{"name": "a"}, "spec": spec}
}

func randomRoute(rnd *rand.Rand) map[string]any {
	route := map[string]any{"kind": "Rule", "match": fmt.Sprintf("Host(`h%d.example`)", rnd.IntN(3)), "priority": int64(rnd.IntN(9))}
	if rnd.IntN(5) == 0 {
		return route // a parent
	}
	var services []any
	for range 1 + rnd.IntN(3) {
		services = append(services, map[string]any{"name": fmt.Sprintf("svc-%d", rnd.IntN(4)), "port": int64(80), "scheme": "https",
			"weight": int64(rnd.IntN(3)), "healthCheck": map[string]any{"path": "/"}, "aFieldOfTheFuture": true})
	}
	route["services"] = services
	return route
}

func randomIngressRoute(rnd *rand.Rand) map[string]any {
	var routes []any
	for range rnd.IntN(5) {
		routes = append(routes, randomRoute(rnd))
	}
	return map[string]any{"apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": map[string]any{"name": "a"}, "spec": map[string]any{"routes": routes}}
}

// randomEdit gives an edit that means the same on the app's object and on the
// swapped one: each copies before it changes.
func randomEdit(rnd *rand.Rand, kind string, like map[string]any) func(map[string]any) map[string]any {
	list, fresh := "rules", any(nil)
	if kind == "IngressRoute" {
		list = "routes"
	}
	n := 0
	if l, ok := like["spec"].(map[string]any)[list].([]any); ok {
		n = len(l)
	}
	// A host of its own: a second rule with the identity of a first is told apart by its order alone.
	added := fmt.Sprintf("new%d.example", rnd.IntN(1<<30))
	if kind == "Ingress" {
		fresh = map[string]any{"host": added, "http": map[string]any{"paths": []any{map[string]any{"path": "/", "pathType": "Prefix", "backend": randomBackend(rnd)}}}}
	} else {
		fresh = map[string]any{"kind": "Rule", "match": "Host(`" + added + "`)", "services": []any{map[string]any{"name": "new", "port": int64(1)}}}
	}
	at, what := rnd.IntN(n+1), rnd.IntN(3)
	label := fmt.Sprint(rnd.IntN(100))
	return func(object map[string]any) map[string]any {
		var out map[string]any
		raw, _ := json.Marshal(object)
		_ = json.Unmarshal(raw, &out)
		spec := out["spec"].(map[string]any)
		rules, _ := spec[list].([]any)
		switch {
		case what == 0: // insert
			spec[list] = append(append(append([]any{}, rules[:at]...), fresh), rules[at:]...)
		case what == 1 && len(rules) > 1 && at < len(rules): // remove the last of its kind, so that numbering holds
			spec[list] = append([]any{}, rules[:len(rules)-1]...)
		default: // something beside the slots
			out["metadata"].(map[string]any)["labels"] = map[string]any{"x": label}
		}
		return out
	}
}
