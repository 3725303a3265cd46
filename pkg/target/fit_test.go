package target_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// TestFitOfEachKind: what a slot holds that names a page set, what becomes of it on the
// page, and what is restored.
func TestFitOfEachKind(t *testing.T) {
	const app = `{"service":{"name":"app","port":{"number":8080}}}`
	const named = `{"service":{"name":"app","port":{"name":"web"}}}`
	const apps = `[{"name":"app","port":8080,"scheme":"https"}]`
	page := func(port string) string { return `{"service":{"name":"` + setA + `","port":` + port + `}}` }
	entry := func(fields string) string { return `{"name":"` + setA + `",` + fields + `}` }
	for name, tc := range map[string]struct {
		original, value string
		insisted        bool
		written         bool   // it is overwritten, as somebody's edit
		near            bool   // it leads to the page
		want            string // what is restored; empty for the original
	}{
		"the page by number":           {original: app, value: page(`{"number":80}`)},
		"the page by name":             {original: named, value: page(`{"name":"http"}`)},
		"the other way to say it":      {original: named, value: page(`{"number":80}`), written: true, near: true},
		"another port":                 {original: app, value: page(`{"number":8080}`), written: true},
		"another port, by its name":    {original: named, value: page(`{"name":"web"}`), written: true},
		"no port":                      {original: app, value: `{"service":{"name":"` + setA + `"}}`, written: true},
		"a field of a newer API":       {original: app, value: `{"service":{"name":"` + setA + `","port":{"number":80},"x":1}}`, written: true, near: true},
		"one that a webhook wants":     {original: app, value: `{"service":{"name":"` + setA + `","port":{"number":80},"x":1}}`, insisted: true},
		"a port that a webhook wants":  {original: app, value: page(`{"number":8080}`), insisted: true, written: true},
		"services":                     {original: apps, value: `[` + entry(`"port":80`) + `]`},
		"what Traefik does anyway":     {original: apps, value: `[` + entry(`"port":80,"kind":"Service","namespace":"shop","strategy":"RoundRobin","passHostHeader":true,"scheme":"http"`) + `]`},
		"the name of the port":         {original: apps, value: `[` + entry(`"port":"http"`) + `]`},
		"port 443":                     {original: apps, value: `[` + entry(`"port":443`) + `]`, written: true},
		"another scheme":               {original: apps, value: `[` + entry(`"port":80,"scheme":"https"`) + `]`, written: true, near: true},
		"a weight":                     {original: apps, value: `[` + entry(`"port":80,"weight":1`) + `]`, written: true, near: true},
		"a weight, insisted on":        {original: apps, value: `[` + entry(`"port":80,"weight":1`) + `]`, insisted: true},
		"another namespace's":          {original: apps, value: `[` + entry(`"port":80,"namespace":"other"`) + `]`, written: true},
		"no Service":                   {original: apps, value: `[` + entry(`"port":80,"kind":"TraefikService"`) + `]`, written: true},
		"another kind, insisted on":    {original: apps, value: `[` + entry(`"port":80,"kind":"TraefikService"`) + `]`, insisted: true, written: true},
		"twice":                        {original: apps, value: `[` + entry(`"port":80`) + `,` + entry(`"port":80`) + `]`, written: true},
		"another one beside":           {original: apps, value: `[` + entry(`"port":80`) + `,{"name":"canary","port":80}]`, written: true, want: `[{"name":"app","port":8080,"scheme":"https"},{"name":"canary","port":80}]`},
		"another one, insisted on":     {original: apps, value: `[{"name":"canary","port":80},` + entry(`"port":80`) + `]`, insisted: true, written: true, want: `[{"name":"app","port":8080,"scheme":"https"},{"name":"canary","port":80}]`},
		"the app itself, as it is now": {original: apps, value: `[` + entry(`"port":80`) + `,{"name":"app","port":8080,"weight":2}]`, written: true, want: `[{"name":"app","port":8080,"weight":2}]`},
	} {
		t.Run(name, func(t *testing.T) {
			kind, place := target.Ingress(), "defaultBackend"
			object := func(value string) map[string]any {
				text := `{"defaultBackend":` + value + `}`
				if value[0] == '[' {
					text = `{"routes":[{"match":"Host(` + "`a`" + `)","services":` + value + `}]}`
				}
				var spec any
				require.NoError(t, utiljson.Unmarshal([]byte(text), &spec))
				return map[string]any{"metadata": map[string]any{"namespace": "shop"}, "spec": spec}
			}
			if tc.value[0] == '[' {
				kind, place = target.IngressRoute(), "routes"
			}
			swapped, record := swapTo(t, kind, object(tc.original), swap.Record{}, setA)
			slots, err := kind.Slots(object(tc.value))
			require.NoError(t, err)
			require.Equal(t, setA, slots[0].PageSet)
			slots[0].KeptByWebhook = tc.insisted
			plan, err := swap.To(setA, slots, record, roomy)
			require.NoError(t, err)
			assert.Equal(t, tc.written, len(plan.Writes) == 1)
			assert.Equal(t, tc.written, len(plan.Reverted) == 1)
			assert.Equal(t, tc.near, len(plan.Near) == 1)
			assert.Equal(t, tc.written && !tc.near, len(plan.Misdirected) == 1)
			if tc.written {
				assert.Equal(t, follow(swapped, slots[0].Path), plan.Writes[0].Value, "of %s", place)
			}
			if tc.want == "" {
				tc.want = tc.original
			}
			for _, known := range []swap.Record{record, plan.Record} { // observed by the controller or not
				assertJSON(t, tc.want, swap.Back(slots, known).Writes[0].Value)
			}
			raw, err := json.Marshal(plan.Record.Slots[0].Value)
			require.NoError(t, err)
			assert.JSONEq(t, tc.want, string(raw))
		})
	}
}

// TestMergedServicesWithoutAnOriginal: services next to the page are not all there was.
func TestMergedServicesWithoutAnOriginal(t *testing.T) {
	object := map[string]any{"spec": map[string]any{"routes": []any{map[string]any{"match": "Host(`a`)",
		"services": []any{map[string]any{"name": setA, "port": int64(80)}, map[string]any{"name": "canary", "port": int64(80)}}}}}}
	slots, err := target.IngressRoute().Slots(object)
	require.NoError(t, err)
	assert.Len(t, swap.Back(slots, swap.Record{}).Lost, 1)
	plan, err := swap.To(setA, slots, swap.Record{}, roomy)
	require.NoError(t, err)
	assert.Len(t, plan.Lost, 1)
	assert.Empty(t, plan.Writes)
}

// TestIngressRouteOfANewerTraefik: unknown fields next to the services, or in another
// route, stop neither the swap nor the restore. A route whose own services are unknown
// stays as it is, and that is reported.
func TestIngressRouteOfANewerTraefik(t *testing.T) {
	kind := target.IngressRoute()
	routes := []any{
		map[string]any{"match": "Host(`a`)", "priority": "high", "middlewares": map[string]any{"all": true}, "services": []any{map[string]any{"name": "app", "port": int64(80), "weight": map[string]any{"by": "load"}}}},
		map[string]any{"match": "Host(`b`)", "services": map[string]any{"of": "the future"}},
	}
	object := map[string]any{"spec": map[string]any{"routes": routes, "tls": []any{"of the future"}, "entryPoints": "web"}}
	require.Len(t, kind.Note(object).LeftAlone, 1)
	assert.Contains(t, kind.Note(object).LeftAlone[0], "Host(`b`)")
	swapped, record := swapTo(t, kind, object, swap.Record{}, setA)
	slots, err := kind.Slots(swapped)
	require.NoError(t, err)
	require.Len(t, slots, 1)
	assert.Equal(t, setA, slots[0].PageSet)
	assert.Equal(t, object, undo(t, kind, swapped, record))
}

// TestUnrestorableBackendIsNotSwapped, but the others are.
func TestUnrestorableBackendIsNotSwapped(t *testing.T) {
	backend := func(name string) map[string]any {
		return map[string]any{"service": map[string]any{"name": name, "port": map[string]any{"number": int64(80)}}}
	}
	strange := backend("app")
	strange["fallback"] = setB
	object := map[string]any{"spec": map[string]any{"defaultBackend": strange, "rules": []any{
		map[string]any{"http": map[string]any{"paths": []any{map[string]any{"path": "/", "backend": backend("api")}}}}}}}
	slots, err := target.Ingress().Slots(object)
	require.NoError(t, err)
	plan, err := swap.To(setA, slots, swap.Record{}, roomy)
	require.NoError(t, err)
	require.Len(t, plan.Unrestorable, 1)
	assert.Equal(t, "defaultBackend", plan.Unrestorable[0].ID.String())
	assert.Len(t, plan.Writes, 1)
	assert.Len(t, plan.Record.Slots, 1)
}
