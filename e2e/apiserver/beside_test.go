package apiserver

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// TestWhoWritesBesideThePage edits a backend of the page in a way that still names its
// page set: it is the page's again, people are told, and in the end the app's backend is
// back, with what was added to it.
func TestWhoWritesBesideThePage(t *testing.T) {
	t.Parallel()
	const path, services = "/spec/rules/0/http/paths/0/backend/service", "/spec/routes/0/services"
	for name, tc := range map[string]struct {
		kind  target.Kind
		patch string // JSON patch of the target on its page
		added string // JSON patch of the twin that does the same without maintenance, if it is not undone
	}{
		"a port":                                {kind: target.Ingress(), patch: `{"op":"replace","path":"` + path + `/port","value":{"number":8080}}`},
		"a port's name":                         {kind: target.Ingress(), patch: `{"op":"replace","path":"` + path + `/port","value":{"name":"web"}}`},
		"the default backend's port":            {kind: target.Ingress(), patch: `{"op":"replace","path":"/spec/defaultBackend/service/port/name","value":"web"}`},
		"the other way to say it":               {kind: target.Ingress(), patch: `{"op":"replace","path":"/spec/defaultBackend/service/port","value":{"number":80}}`},
		"port 443":                              {kind: target.IngressRoute(), patch: `{"op":"replace","path":"` + services + `/0/port","value":443}`},
		"a scheme":                              {kind: target.IngressRoute(), patch: `{"op":"add","path":"` + services + `/0/scheme","value":"https"}`},
		"a health check, which drops the route": {kind: target.IngressRoute(), patch: `{"op":"add","path":"` + services + `/0/healthCheck","value":{"path":"/up"}}`},
		"a service after the page": {kind: target.IngressRoute(), patch: `{"op":"add","path":"` + services + `/-","value":{"name":"added","port":80}}`,
			added: `{"op":"add","path":"` + services + `/-","value":{"name":"added","port":80}}`},
		"another page set's name": {kind: target.Service(), patch: `{"op":"replace","path":"/spec/selector/maintenance~1page-set","value":"slip"}`},
		"a label":                 {kind: target.Service(), patch: `{"op":"add","path":"/spec/selector/color","value":"blue"}`, added: `{"op":"add","path":"/spec/selector/color","value":"blue"}`},
	} {
		t.Run(tc.kind.Name+", "+name, func(t *testing.T) {
			t.Parallel()
			w, k := newWorld(t), tc.kind
			w.apply(manifests[k.Name]("my-app"), manifests[k.Name]("twin"))
			w.start()
			w.on(k.Resource, "my-app")
			page := w.bare(w.until(k.Resource, "my-app", "active", state(annotations.Active)))
			w.patch(k.Resource, "my-app", types.JSONPatchType, "["+tc.patch+"]")
			if tc.added != "" {
				w.patch(k.Resource, "twin", types.JSONPatchType, "["+tc.added+"]")
			}
			w.until(k.Resource, "my-app", "the page again", func(u *unstructured.Unstructured) bool { return w.bare(u) == page })
			assert.Contains(t, message(w.untilEvent("my-app", string(plan.BackendReverted))), `field manager "kubectl-patch"`)
			w.until(k.Resource, "my-app", "active again", state(annotations.Active))
			w.off(k.Resource, "my-app")
			u := w.until(k.Resource, "my-app", "restored", restored)
			assert.Equal(t, w.bare(w.get(k.Resource, "twin")), w.bare(u))
			w.untilClean()
		})
	}
}

// TestWhoEditsThePort in an editor, as a person does who takes the page for the app.
func TestWhoEditsThePort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	before := w.bare(w.get(ingresses, "my-app"))
	w.start()
	w.on(ingresses, "my-app")
	active := w.until(ingresses, "my-app", "active", state(annotations.Active))
	edited := active.DeepCopy()
	edited.SetLabels(map[string]string{"app": "shop"})
	var spec map[string]any
	require.NoError(t, json.Unmarshal([]byte(strings.ReplaceAll(text(active.Object["spec"]), `"number":80`, `"number":8080`)), &spec))
	edited.Object["spec"] = spec
	require.NotEqual(t, w.bare(active), w.bare(edited))
	edit(w, edited)
	w.until(ingresses, "my-app", "the page again", func(u *unstructured.Unstructured) bool { return w.bare(u) == w.bare(active) })
	assert.Contains(t, message(w.untilEvent("my-app", string(plan.BackendReverted))), `field manager "kubectl-edit"`)
	w.off(ingresses, "my-app")
	assert.Equal(t, before, w.bare(w.until(ingresses, "my-app", "restored", restored)))
}

// TestWhatTraefikDoesAnyway may be written into the page's entry by people: it says
// the same, and stays.
func TestWhatTraefikDoesAnyway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingressRoute("my-app"))
	before := w.bare(w.get(ingressRoutes, "my-app"))
	w.start()
	w.on(ingressRoutes, "my-app")
	w.until(ingressRoutes, "my-app", "active", state(annotations.Active))
	w.patch(ingressRoutes, "my-app", types.JSONPatchType, `[{"op":"add","path":"/spec/routes/0/services/0/kind","value":"Service"},{"op":"add","path":"/spec/routes/0/services/0/passHostHeader","value":true}]`)
	there := w.bare(w.get(ingressRoutes, "my-app"))
	// A second target that goes the whole way says that the first has been looked at.
	w.apply(ingressRoute("other"))
	w.on(ingressRoutes, "other")
	w.until(ingressRoutes, "other", "active", state(annotations.Active))
	after := w.get(ingressRoutes, "my-app")
	assert.Equal(t, there, w.bare(after))
	assert.True(t, state(annotations.Active)(after))
	w.off(ingressRoutes, "my-app")
	assert.Equal(t, before, w.bare(w.until(ingressRoutes, "my-app", "restored", restored)))
}

// TestOneEditThatRenamesTwo: what nobody can tell is asked, and what can be told is
// restored; never another app's backend.
func TestOneEditThatRenamesTwo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.start()
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	w.loses(target.Ref{Kind: "Ingress", Namespace: w.namespace, Name: "my-app"})
	w.edit(ingresses, "my-app", func(u *unstructured.Unstructured) {
		rules := u.Object["spec"].(map[string]any)["rules"].([]any)
		paths := rules[0].(map[string]any)["http"].(map[string]any)
		for _, p := range paths["paths"].([]any) {
			p.(map[string]any)["path"] = "/v2" + p.(map[string]any)["path"].(string)
		}
		first := w.parse(strings.ReplaceAll(ingress("x"), "name: app,", "name: first,")).Object["spec"].(map[string]any)["rules"].([]any)[0]
		fresh := first.(map[string]any)["http"].(map[string]any)["paths"].([]any)[0].(map[string]any)
		fresh["path"] = "/first"
		paths["paths"] = append([]any{fresh}, paths["paths"].([]any)...)
	})
	told := message(w.untilEvent("my-app", string(plan.BackendLost)))
	assert.Contains(t, told, "/v2/")
	assert.Contains(t, told, "/v2/api")
	w.off(ingresses, "my-app")
	u := w.until(ingresses, "my-app", "all restored that can be", func(u *unstructured.Unstructured) bool { return len(setsOf(u)) == 2 && state(annotations.Blocked)(u) })
	slots, err := target.Ingress().Slots(u.Object)
	require.NoError(t, err)
	var found []string
	for _, s := range slots {
		if !s.OnPage() {
			found = append(found, s.ID.String()+" "+text(s.Value))
		}
	}
	assert.Len(t, found, 3)
	assert.Contains(t, strings.Join(found, "\n"), "Prefix host a.example /first "+`{"service":{"name":"first"`)
	assert.Contains(t, strings.Join(found, "\n"), "static", "the other host's")

	// A person says what they are: maintenance ends.
	w.edit(ingresses, "my-app", func(u *unstructured.Unstructured) {
		slots, err := target.Ingress().Slots(u.Object)
		require.NoError(t, err)
		for _, s := range slots {
			if s.OnPage() {
				changed, err := swap.Apply(u.Object, []swap.Write{{Path: s.Path, Value: slots[0].Value}})
				require.NoError(t, err)
				u.Object = changed
			}
		}
	})
	w.until(ingresses, "my-app", "restored", restored)
	w.untilClean()
}
