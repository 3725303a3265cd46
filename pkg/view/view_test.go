package view_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/view"
)

// annotated is an Ingress of a.example with these annotations.
func annotated(all map[string]any) map[string]any {
	return map[string]any{
		"metadata": map[string]any{"namespace": "shop", "name": "my-app", "annotations": all},
		"spec":     map[string]any{"rules": []any{map[string]any{"host": "a.example"}}},
	}
}

func of(all map[string]any) (view.Row, bool) {
	return view.Of(target.Ingress(), annotations.DefaultKeys(), annotated(all))
}

func TestStates(t *testing.T) {
	for name, c := range map[string]struct {
		annotations map[string]any
		state       string
		in          bool
		problems    int
	}{
		"nothing":           {nil, view.Off, false, 0},
		"off":               {map[string]any{"maintenance/enabled": "false", "maintenance/custom-page": "spring"}, view.Off, false, 0},
		"a mistake":         {map[string]any{"maintenance/enabled": "yes"}, view.Off, false, 1},
		"asked for":         {map[string]any{"maintenance/enabled": "true"}, view.Requested, true, 0},
		"on its way":        {map[string]any{"maintenance/enabled": "true", "maintenance/state": "pending"}, "pending", true, 0},
		"on":                {map[string]any{"maintenance/enabled": "true", "maintenance/state": "active"}, "active", true, 0},
		"on its way back":   {map[string]any{"maintenance/state": "active"}, view.Ending, true, 0},
		"what is left over": {map[string]any{"maintenance/original": "{}"}, view.Ending, true, 0},
		"on by itself":      {map[string]any{"maintenance/auto": "backends", "maintenance/cause": `{"cause":"a is down","since":"2026-11-26T03:00:00Z"}`, "maintenance/state": "active"}, "active", true, 0},
		"given up":          {map[string]any{"maintenance/auto": "backends", "maintenance/cause": `{"cause":"a is down","since":"2026-11-26T03:00:00Z","spent":true}`}, view.Off, false, 0},
		"waits for the app": {map[string]any{"maintenance/restore-when": "ready", "maintenance/state": "restoring"}, "restoring", true, 0},
		"on with a typo":    {map[string]any{"maintenance/enabled": "true", "maintenance/state": "active", "maintenance/custompage": "x"}, "active", true, 1},
	} {
		row, in := of(c.annotations)
		assert.Equal(t, c.state, row.State, name)
		assert.Equal(t, c.in, in, name)
		assert.Len(t, row.Problems, c.problems, name)
		assert.Equal(t, target.Ref{Kind: "Ingress", Namespace: "shop", Name: "my-app"}, row.Ref(), name)
		assert.Equal(t, []target.Host{{Form: target.ExactHost, Name: "a.example"}}, row.Hosts, name)
	}
	row, _ := of(map[string]any{"maintenance/enabled": "true"})
	assert.Contains(t, row.Message, "check that one runs")
}

func TestRowHasEverything(t *testing.T) {
	row, _ := of(map[string]any{
		"maintenance/enabled": "true", "maintenance/state": "blocked", "maintenance/message": "no room", "maintenance/since": "2026-11-26T03:00:00Z",
		"maintenance/until": "2026-11-26T07:00:00+02:00", "maintenance/reason": "moving house", "maintenance/by": "ana",
		"maintenance/lease": "run-b, run-a", "maintenance/custom-page": "spring", "maintenance/page-set": "maintenance-0123456789abcdef",
	})
	assert.Equal(t, time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC), row.Since.UTC())
	assert.Equal(t, time.Date(2026, 11, 26, 5, 0, 0, 0, time.UTC), row.Until.UTC())
	assert.Equal(t, []string{"run-b", "run-a"}, row.Leases)
	row.Since, row.Until, row.Hosts, row.Problems = time.Time{}, time.Time{}, nil, nil
	raw, err := json.Marshal(row)
	require.NoError(t, err)
	assert.JSONEq(t, `{"kind":"Ingress","namespace":"shop","name":"my-app","state":"blocked","message":"no room","reason":"moving house","by":"ana",
		"leases":["run-b","run-a"],"page":"spring","pageSet":"maintenance-0123456789abcdef"}`, string(raw))
}

// TestForeignTextCannotControlATerminal: people who can annotate an object must not be able
// to write to the terminals of those who look at it.
func TestForeignTextCannotControlATerminal(t *testing.T) {
	hostile := "\x1b]0;owned\a\nIngress  shop  active\u202e"
	row, _ := of(map[string]any{
		"maintenance/enabled": "true", "maintenance/state": hostile, "maintenance/message": hostile, "maintenance/since": hostile, "maintenance/until": hostile,
		"maintenance/reason": hostile, "maintenance/by": hostile, "maintenance/lease": hostile, "maintenance/custom-page": hostile, "maintenance/page-set": hostile,
	})
	assert.Equal(t, []string{"shop"}, row.Leases, "what is no name is no Lease")
	for _, text := range []string{row.State, row.Message, row.Reason, row.By, row.Page, row.PageSet} {
		assert.NotRegexp(t, `[\x00-\x1f\x7f\x{202e}]`, text)
		assert.Contains(t, text, `\x1b]0;owned\a`)
	}
	assert.Zero(t, row.Since)
	assert.Zero(t, row.Until)
}

func TestOddObjectsHaveARow(t *testing.T) {
	for _, kind := range target.Kinds() {
		for _, object := range []map[string]any{{}, {"metadata": "odd"}, {"metadata": map[string]any{"annotations": []any{1}}, "spec": "odd"}} {
			row, in := view.Of(kind, annotations.DefaultKeys(), object)
			assert.False(t, in)
			assert.Equal(t, kind.Name, row.Kind)
		}
	}
}

func TestOwnObjectsAreNotTargets(t *testing.T) {
	object := annotated(map[string]any{"maintenance/enabled": "true", "maintenance/installation": "x", "maintenance/template": "y"})
	object["metadata"].(map[string]any)["labels"] = map[string]any{annotations.ManagedByLabel: annotations.ManagedBy, annotations.ComponentLabel: annotations.ComponentSet}
	row, in := view.Of(target.Service(), annotations.DefaultKeys(), object)
	assert.False(t, in)
	assert.Empty(t, row.Problems)
	assert.Equal(t, view.Off, row.State)
}

func TestOtherKeys(t *testing.T) {
	keys := annotations.Keys{Enabled: "example.com/down", EnabledValue: "yes", CustomPage: "example.com/page"}
	row, in := view.Of(target.Ingress(), keys, annotated(map[string]any{"example.com/down": "yes", "example.com/page": "spring", "maintenance/state": "active"}))
	assert.True(t, in)
	assert.Equal(t, "spring", row.Page)
}

func TestSort(t *testing.T) {
	rows := []view.Row{{Namespace: "b", Kind: "Ingress", Name: "a"}, {Namespace: "a", Kind: "Service", Name: "a"}, {Namespace: "a", Kind: "Ingress", Name: "b"}, {Namespace: "a", Kind: "Ingress", Name: "a"}}
	view.Sort(rows)
	var order []string
	for _, r := range rows {
		order = append(order, r.Ref().String())
	}
	assert.Equal(t, []string{"Ingress a/a", "Ingress a/b", "Service a/a", "Ingress b/a"}, order)
}
