package target_test

import (
	"encoding/json"
	"math/rand/v2"
	"strings"
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
	seeds = 500
)

// swapThenUndoIsTheIdentity for random objects, through any number of page changes.
func swapThenUndoIsTheIdentity(t require.TestingT, e example) {
	for seed := range uint64(seeds) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		before := e.generate(rnd)
		object, record := before, swap.Record{}
		for range 1 + rnd.IntN(3) {
			object, record = swapTo(t, e.kind, object, record, []string{setA, setB}[rnd.IntN(2)])
		}
		requireSound(t, e.kind, object, record)
		require.Equal(t, text(t, before), text(t, undo(t, e.kind, object, record)), "seed %d", seed)
	}
}

// editsDuringMaintenanceAreKept makes random edits between swap and restore: additions
// stay, removals stay removed, overwritten values stay as written, and everything else is
// as it was before.
func editsDuringMaintenanceAreKept(t require.TestingT, e example) {
	for seed := range uint64(seeds) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		// The same edits, made to the app's object and to the one in maintenance.
		app := e.generate(rnd)
		object, record := swapTo(t, e.kind, app, swap.Record{}, setA)
		for range 1 + rnd.IntN(4) {
			edit := e.randomEdit(rnd, app)
			app, object = edit(app), edit(object)
		}
		if rnd.IntN(2) == 0 { // the controller may or may not have reconciled in between
			object, record = swapTo(t, e.kind, object, record, setB)
			requireSound(t, e.kind, object, record)
		}
		require.Equal(t, text(t, app), text(t, undo(t, e.kind, object, record)), "seed %d", seed)
	}
}

// partsAreWrittenBackOneByOne: what somebody writes into one slot during maintenance stays,
// and the others are restored.
func partsAreWrittenBackOneByOne(t require.TestingT, e example) {
	for seed := range uint64(seeds) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		before := e.generate(rnd)
		slots, err := e.kind.Slots(before)
		require.NoError(t, err)
		if len(slots) == 0 {
			continue
		}
		object, record := swapTo(t, e.kind, before, swap.Record{}, setA)
		// Its own original is the one value that certainly fits.
		i := rnd.IntN(len(slots))
		object, err = swap.Apply(object, []swap.Write{{Path: slots[i].Path, Value: slots[i].Value}})
		require.NoError(t, err)
		require.Equal(t, text(t, before), text(t, undo(t, e.kind, object, record)), "seed %d, %s", seed, slots[i].ID)
		object, record = swapTo(t, e.kind, object, record, setA)
		requireSound(t, e.kind, object, record)
		require.Equal(t, text(t, before), text(t, undo(t, e.kind, object, record)), "seed %d, %s", seed, slots[i].ID)
	}
}

// requireSound: every slot on a page set has an original, and no original is a page set.
func requireSound(t require.TestingT, kind target.Kind, object map[string]any, record swap.Record) {
	slots, err := kind.Slots(object)
	require.NoError(t, err)
	have := map[swap.ID]bool{}
	for _, o := range record.Slots {
		have[o.ID] = true
		require.False(t, strings.Contains(string(o.Value), "maintenance-00"), "an original is never a page set")
	}
	for _, s := range slots {
		require.True(t, s.OnPage(), "%s was left on the app", s.ID)
		require.True(t, have[s.ID], "%s has no original", s.ID)
	}
}

func swapTo(t require.TestingT, kind target.Kind, object map[string]any, record swap.Record, set string) (map[string]any, swap.Record) {
	before := text(t, object)
	slots, err := kind.Slots(object)
	require.NoError(t, err)
	plan, err := swap.To(set, slots, record, roomy)
	require.NoError(t, err)
	require.Empty(t, plan.Lost)
	require.Empty(t, plan.NoRoom)
	out, err := swap.Apply(object, plan.Writes)
	require.NoError(t, err)
	require.Equal(t, before, text(t, object), "the caller's object stays as it was")
	read, err := swap.ParseRecord(plan.Record.String())
	require.NoError(t, err)
	return out, read
}

func undo(t require.TestingT, kind target.Kind, object map[string]any, record swap.Record) map[string]any {
	slots, err := kind.Slots(object)
	require.NoError(t, err)
	plan := swap.Back(slots, record)
	require.Empty(t, plan.Lost)
	out, err := swap.Apply(object, plan.Writes)
	require.NoError(t, err)
	return out
}

func text(t require.TestingT, object map[string]any) string {
	raw, err := json.MarshalIndent(object, "", " ")
	assert.NoError(t, err)
	return string(raw)
}

// TestMergePatchOfABackendIsValid: kubectl apply and Helm write their fields of the default
// backend next to the page's, and a port must not have both a name and a number.
func TestMergePatchOfABackendIsValid(t *testing.T) {
	for _, port := range []map[string]any{{"name": "web"}, {"number": int64(8080)}} {
		backend := map[string]any{"service": map[string]any{"name": "app", "port": port}}
		object := map[string]any{"spec": map[string]any{"defaultBackend": backend}}
		for _, set := range []string{setA, setB} { // from the app to a page, and from there to another
			slots, err := target.Ingress().Slots(object)
			require.NoError(t, err)
			object = map[string]any{"spec": map[string]any{"defaultBackend": slots[0].Page(set, backend)}}
			there := follow(object, []any{"spec", "defaultBackend", "service", "port"}).(map[string]any)
			for field := range there {
				assert.Contains(t, port, field)
			}
		}
	}
}
