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

// TestEditedPageBackendIsRepaired edits a backend of the page so that it still names the
// page set. The controller repairs it and reports that. In the end the app's backend is
// restored, with whatever was added to it.
func TestEditedPageBackendIsRepaired(t *testing.T) {
	t.Parallel()
	const path, services = "/spec/rules/0/http/paths/0/backend/service", "/spec/routes/0/services"
	for name, tc := range map[string]struct {
		kind  target.Kind
		patch string // JSON patch of the target while it is on the page
		added string // JSON patch that does the same to the twin, unless the edit is undone
	}{
		"a port":                                {kind: target.Ingress(), patch: `{"op":"replace","path":"` + path + `/port","value":{"number":8080}}`},
		"a port's name":                         {kind: target.Ingress(), patch: `{"op":"replace","path":"` + path + `/port","value":{"name":"web"}}`},
		"the default backend's port":            {kind: target.Ingress(), patch: `{"op":"replace","path":"/spec/defaultBackend/service/port/name","value":"web"}`},
		"the same port by number":               {kind: target.Ingress(), patch: `{"op":"replace","path":"/spec/defaultBackend/service/port","value":{"number":80}}`},
		"port 443":                              {kind: target.IngressRoute(), patch: `{"op":"replace","path":"` + services + `/0/port","value":443}`},
		"a scheme":                              {kind: target.IngressRoute(), patch: `{"op":"add","path":"` + services + `/0/scheme","value":"https"}`},
		"a health check, which drops the route": {kind: target.IngressRoute(), patch: `{"op":"add","path":"` + services + `/0/healthCheck","value":{"path":"/up"}}`},
		"a service after the page": {kind: target.IngressRoute(), patch: `{"op":"add","path":"` + services + `/-","value":{"name":"added","port":80}}`,
			added: `{"op":"add","path":"` + services + `/-","value":{"name":"added","port":80}}`},
		"a page set that does not exist": {kind: target.Service(), patch: `{"op":"replace","path":"/spec/selector/maintenance~1page-set","value":"slip"}`},
		"a label":                        {kind: target.Service(), patch: `{"op":"add","path":"/spec/selector/color","value":"blue"}`, added: `{"op":"add","path":"/spec/selector/color","value":"blue"}`},
	} {
		t.Run(tc.kind.Name+", "+name, func(t *testing.T) {
			t.Parallel()
			env, k := newTestEnv(t), tc.kind
			env.apply(manifests[k.Name]("my-app"), manifests[k.Name]("twin"))
			env.startController()
			env.enable(k.Resource, "my-app")
			page := env.authoredSpec(env.waitFor(k.Resource, "my-app", "active", state(annotations.Active)))
			env.patch(k.Resource, "my-app", types.JSONPatchType, "["+tc.patch+"]")
			if tc.added != "" {
				env.patch(k.Resource, "twin", types.JSONPatchType, "["+tc.added+"]")
			}
			env.waitFor(k.Resource, "my-app", "the page again", func(u *unstructured.Unstructured) bool { return env.authoredSpec(u) == page })
			assert.Contains(t, message(env.waitForEvent("my-app", string(plan.BackendReverted))), `field manager "kubectl-patch"`)
			env.waitFor(k.Resource, "my-app", "active again", state(annotations.Active))
			env.disable(k.Resource, "my-app")
			u := env.waitFor(k.Resource, "my-app", "restored", restored)
			assert.Equal(t, env.authoredSpec(env.get(k.Resource, "twin")), env.authoredSpec(u))
			env.waitForCleanup()
		})
	}
}

// TestEditedPortIsRepaired in an editor, by a person who takes the page for the app.
func TestEditedPortIsRepaired(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	before := env.authoredSpec(env.get(ingresses, "my-app"))
	env.startController()
	env.enable(ingresses, "my-app")
	active := env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	edited := active.DeepCopy()
	edited.SetLabels(map[string]string{"app": "shop"})
	var spec map[string]any
	require.NoError(t, json.Unmarshal([]byte(strings.ReplaceAll(toJSON(active.Object["spec"]), `"number":80`, `"number":8080`)), &spec))
	edited.Object["spec"] = spec
	require.NotEqual(t, env.authoredSpec(active), env.authoredSpec(edited))
	edit(env, edited)
	env.waitFor(ingresses, "my-app", "the page again", func(u *unstructured.Unstructured) bool { return env.authoredSpec(u) == env.authoredSpec(active) })
	assert.Contains(t, message(env.waitForEvent("my-app", string(plan.BackendReverted))), `field manager "kubectl-edit"`)
	env.disable(ingresses, "my-app")
	assert.Equal(t, before, env.authoredSpec(env.waitFor(ingresses, "my-app", "restored", restored)))
}

// TestExplicitTraefikDefaultsAreKept: people can add Traefik's defaults to the page's
// entry. That changes nothing, and it stays.
func TestExplicitTraefikDefaultsAreKept(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingressRoute("my-app"))
	before := env.authoredSpec(env.get(ingressRoutes, "my-app"))
	env.startController()
	env.enable(ingressRoutes, "my-app")
	env.waitFor(ingressRoutes, "my-app", "active", state(annotations.Active))
	env.patch(ingressRoutes, "my-app", types.JSONPatchType, `[{"op":"add","path":"/spec/routes/0/services/0/kind","value":"Service"},{"op":"add","path":"/spec/routes/0/services/0/passHostHeader","value":true}]`)
	there := env.authoredSpec(env.get(ingressRoutes, "my-app"))
	// Once a second target has gone through maintenance, the first one has been reconciled as well.
	env.apply(ingressRoute("other"))
	env.enable(ingressRoutes, "other")
	env.waitFor(ingressRoutes, "other", "active", state(annotations.Active))
	after := env.get(ingressRoutes, "my-app")
	assert.Equal(t, there, env.authoredSpec(after))
	assert.True(t, state(annotations.Active)(after))
	env.disable(ingressRoutes, "my-app")
	assert.Equal(t, before, env.authoredSpec(env.waitFor(ingressRoutes, "my-app", "restored", restored)))
}

// TestAmbiguousRenameIsNotGuessed: if several originals could be meant, people are asked.
// Everything else is restored, and nothing gets the backend of another app.
func TestAmbiguousRenameIsNotGuessed(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.startController()
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	env.allowLoss(target.Ref{Kind: "Ingress", Namespace: env.namespace, Name: "my-app"})
	env.edit(ingresses, "my-app", func(u *unstructured.Unstructured) {
		rules := u.Object["spec"].(map[string]any)["rules"].([]any)
		paths := rules[0].(map[string]any)["http"].(map[string]any)
		for _, p := range paths["paths"].([]any) {
			p.(map[string]any)["path"] = "/v2" + p.(map[string]any)["path"].(string)
		}
		first := env.parse(strings.ReplaceAll(ingress("x"), "name: app,", "name: first,")).Object["spec"].(map[string]any)["rules"].([]any)[0]
		fresh := first.(map[string]any)["http"].(map[string]any)["paths"].([]any)[0].(map[string]any)
		fresh["path"] = "/first"
		paths["paths"] = append([]any{fresh}, paths["paths"].([]any)...)
	})
	text := message(env.waitForEvent("my-app", string(plan.BackendLost)))
	assert.Contains(t, text, "/v2/")
	assert.Contains(t, text, "/v2/api")
	env.disable(ingresses, "my-app")
	u := env.waitFor(ingresses, "my-app", "everything restored that can be", func(u *unstructured.Unstructured) bool {
		return len(pageSetsOf(u)) == 2 && state(annotations.Blocked)(u)
	})
	slots, err := target.Ingress().Slots(u.Object)
	require.NoError(t, err)
	var found []string
	for _, s := range slots {
		if !s.OnPage() {
			found = append(found, s.ID.String()+" "+toJSON(s.Value))
		}
	}
	assert.Len(t, found, 3)
	assert.Contains(t, strings.Join(found, "\n"), "Prefix host a.example /first "+`{"service":{"name":"first"`)
	assert.Contains(t, strings.Join(found, "\n"), "static", "the other host is restored")

	// A person sets the backends, and maintenance ends.
	env.edit(ingresses, "my-app", func(u *unstructured.Unstructured) {
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
	env.waitFor(ingresses, "my-app", "restored", restored)
	env.waitForCleanup()
}
