package apiserver

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/target"
)

// part is what one field manager writes of an object.
type part struct {
	manager string
	text    string // YAML of the object without its name
	update  bool   // a merge patch; otherwise server-side apply
}

// writePart writes a part. Without force, a conflict is an error.
func (env *testEnv) writePart(k target.Kind, name string, p part, force bool) error {
	env.Helper()
	u := env.parse("apiVersion: " + k.APIVersion() + "\nkind: " + k.Name + "\n" + p.text)
	u.SetName(name)
	raw, err := u.MarshalJSON()
	require.NoError(env, err)
	options, patch := metav1.PatchOptions{FieldManager: p.manager, Force: &force}, types.ApplyPatchType
	if p.update {
		options.Force, patch = nil, types.MergePatchType
	}
	_, err = env.dynamic.Resource(k.Resource).Namespace(env.namespace).Patch(env.Context(), name, patch, raw, options)
	return err
}

const (
	aRule = "{host: a.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}]}}"
	aPort = "{port: 80, protocol: TCP, name: web, targetPort: 8080}"
)

// TestSeveralFieldManagers: several managers write parts of an object, before and during
// maintenance. Afterwards each of them owns the same fields as with a twin that was never
// in maintenance, and can apply its part again without a conflict or a change.
func TestSeveralFieldManagers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		kind           target.Kind
		before, during []part
	}{
		"disjoint": {target.Ingress(), []part{
			{manager: "gitops", text: "spec: {rules: [" + aRule + "], defaultBackend: {service: {name: fallback, port: {name: web}}}}"},
			{manager: "platform", text: "spec: {ingressClassName: traefik, tls: [{hosts: [a.example], secretName: tls}]}\nmetadata: {labels: {team: web}}"},
		}, []part{{manager: "platform", text: "spec: {ingressClassName: other, tls: [{hosts: [a.example], secretName: tls}]}\nmetadata: {labels: {team: new}}"}}},
		"shared": {target.Ingress(), []part{
			{manager: "gitops", text: "spec: {rules: [" + aRule + "]}\nmetadata: {labels: {app: shop}}"},
			{manager: "other-gitops", text: "spec: {rules: [" + aRule + "]}\nmetadata: {annotations: {contact: web}}"},
		}, []part{{manager: "third", text: "metadata: {annotations: {contact: web, seen: 'yes'}}"}}},
		"one applies, one updates": {target.Ingress(), []part{
			{manager: "gitops", text: "spec: {rules: [" + aRule + "]}"},
			{manager: "kubectl-edit", update: true, text: "spec: {defaultBackend: {service: {name: fallback, port: {number: 8080}}}}"},
		}, []part{{manager: "kubectl-label", update: true, text: "metadata: {labels: {app: shop}}"}}},
		"one takes over from another": {target.Ingress(), []part{
			{manager: "gitops", text: "spec: {rules: [" + aRule + "], ingressClassName: traefik}"},
			{manager: "kubectl-edit", update: true, text: "spec: {rules: [" + strings.ReplaceAll(aRule, "a.example", "b.example") + "]}"},
		}, nil},
		"granular": {target.Service(), []part{
			{manager: "gitops", text: "spec: {selector: {app: shop}, ports: [" + aPort + "]}"},
			{manager: "platform", text: "spec: {ports: [{port: 443, protocol: TCP, name: secure, targetPort: https}]}"},
		}, []part{{manager: "platform", text: "spec: {ports: [{port: 443, protocol: TCP, name: secure, targetPort: https, appProtocol: https}]}\nmetadata: {labels: {team: web}}"}}},
		"two managers of one port": {target.Service(), []part{
			{manager: "gitops", text: "spec: {selector: {app: shop}, ports: [" + aPort + "]}"},
			{manager: "other-gitops", text: "spec: {selector: {app: shop}, ports: [" + aPort + "], sessionAffinity: ClientIP}"},
		}, []part{{manager: "kubectl-patch", update: true, text: "spec: {sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}}"}}},
		"parts of a route": {target.IngressRoute(), []part{
			{manager: "gitops", text: "spec: {routes: [{kind: Rule, match: 'Host(`a.example`)', services: [{name: app, port: 80}]}]}"},
			{manager: "platform", text: "spec: {entryPoints: [web], tls: {secretName: tls}}"},
		}, []part{{manager: "platform", text: "spec: {entryPoints: [web, websecure], tls: {secretName: tls}}"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			severalManagers(newTestEnv(t), tc.kind, tc.before, tc.during)
		})
	}
}

func severalManagers(env *testEnv, k target.Kind, before, during []part) {
	names := []string{"my-app", "twin"}
	all := func(parts []part) {
		for _, p := range parts {
			for _, name := range names {
				require.NoError(env, env.writePart(k, name, p, true), "%s: %s", p.manager, p.text)
			}
		}
	}
	all(before)
	env.startController()
	env.enable(k.Resource, "my-app")
	env.annotate(k.Resource, "twin", map[string]any{annotations.DefaultEnabled: "false"})
	env.waitFor(k.Resource, "my-app", "active", state(annotations.Active))
	all(during)
	for _, name := range names {
		env.disable(k.Resource, name)
	}
	u := env.waitFor(k.Resource, "my-app", "restored", restored)
	assert.Equal(env, env.authoredState(env.get(k.Resource, "twin")), env.authoredState(u))
	assert.False(env, ownership.ControllerOwnsAny(u.GetManagedFields()))

	// Everybody who could apply again still can, and that changes nothing.
	last := map[string]part{}
	for _, p := range append(before, during...) {
		last[p.manager] = p
	}
	for _, p := range last {
		twins, own := env.writePart(k, "twin", p, false), env.writePart(k, "my-app", p, false)
		if twins == nil {
			require.NoError(env, own, p.manager)
		} else {
			require.EqualError(env, own, strings.ReplaceAll(twins.Error(), "twin", "my-app"))
		}
	}
	assert.Equal(env, env.authoredState(env.get(k.Resource, "twin")), env.authoredState(env.get(k.Resource, "my-app")))
}

// TestLastWriterBeforeTheRestoreOwnsTheFields: somebody edits the target on the page, and
// maintenance ends before the controller has seen the edit. The restored fields belong to
// that writer, not to the owner before.
func TestLastWriterBeforeTheRestoreOwnsTheFields(t *testing.T) {
	t.Parallel()
	for _, k := range target.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t)
			for _, name := range []string{"my-app", "twin"} {
				env.apply(manifests[k.Name](name))
			}
			c := env.startController()
			env.enable(k.Resource, "my-app")
			env.annotate(k.Resource, "twin", map[string]any{annotations.DefaultEnabled: "false"})
			env.waitFor(k.Resource, "my-app", "active", state(annotations.Active))
			c.stop()
			for _, name := range []string{"my-app", "twin"} {
				if k.Name == "Service" {
					env.patch(k.Resource, name, types.MergePatchType, `{"spec": {"selector": {"app": "shop", "tier": "v2"}}}`)
				} else {
					env.edit(k.Resource, name, func(u *unstructured.Unstructured) {
						slices.Reverse(u.Object["spec"].(map[string]any)[editableLists[k.Name][0].list].([]any))
					})
				}
				env.disable(k.Resource, name)
			}
			env.startController()
			u := env.waitFor(k.Resource, "my-app", "restored", restored)
			assert.Equal(t, env.authoredState(env.get(k.Resource, "twin")), env.authoredState(u))
		})
	}
}

// TestFieldsOwnedDuringMaintenance: just the fields that docs/gitops.md names belong to the
// controller during maintenance, so that tools can be told to ignore them. Rules and routes
// are atomic lists: the owner of one backend owns hosts and paths as well.
func TestFieldsOwnedDuringMaintenance(t *testing.T) {
	t.Parallel()
	const ours = `"f:annotations":{"f:maintenance/installation":{},"f:maintenance/original":{},"f:maintenance/page-set":{},"f:maintenance/since":{},"f:maintenance/state":{}}`
	for kind, spec := range map[string]string{
		"Ingress":      `{"f:defaultBackend":{"f:service":{"f:name":{},"f:port":{}}},"f:rules":{}}`,
		"IngressRoute": `{"f:routes":{}}`,
		"HTTPRoute":    `{"f:rules":{}}`,
		"GRPCRoute":    `{"f:rules":{}}`,
		"Service":      `{"f:ports":{"k:{\"port\":443,\"protocol\":\"TCP\"}":{"f:targetPort":{}},"k:{\"port\":80,\"protocol\":\"TCP\"}":{"f:targetPort":{}}},"f:selector":{}}`,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t)
			k, _ := target.KindByName(kind)
			env.apply(manifests[kind]("my-app"))
			env.startController()
			env.enable(k.Resource, "my-app")
			u := env.waitFor(k.Resource, "my-app", "active", state(annotations.Active))
			var owned []string
			for _, e := range u.GetManagedFields() {
				if e.Manager == ownership.Manager {
					owned = append(owned, string(e.FieldsV1.Raw))
				}
			}
			require.Len(t, owned, 1)
			assert.JSONEq(t, `{"f:metadata":{`+ours+`},"f:spec":`+spec+`}`, owned[0])
		})
	}
}

// TestOwnershipIsGivenBack: the author's next server-side apply works without a conflict,
// and all managers own what they owned before.
func TestOwnershipIsGivenBack(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	for _, k := range target.Kinds() {
		env.serverSideApply(k.Resource, "gitops", manifests[k.Name]("my-app"))
		env.annotate(k.Resource, "my-app", map[string]any{"team": "web"})
	}
	owners := map[string]string{}
	c := env.startController()
	for _, k := range target.Kinds() {
		owners[k.Name] = env.owners(env.get(k.Resource, "my-app"))
		for range 2 {
			env.enable(k.Resource, "my-app")
			env.waitFor(k.Resource, "my-app", "active", state(annotations.Active))
			// Somebody else becomes an owner during maintenance, and stays one.
			env.annotate(k.Resource, "my-app", map[string]any{"seen": "yes"})
			env.disable(k.Resource, "my-app")
			env.waitFor(k.Resource, "my-app", "restored", restored)
		}
	}
	c.stop()
	for _, k := range target.Kinds() {
		u := env.get(k.Resource, "my-app")
		for _, e := range u.GetManagedFields() {
			assert.NotEqual(t, ownership.Manager, e.Manager)
		}
		assert.Contains(t, env.owners(u), "f:seen")
		env.annotate(k.Resource, "my-app", map[string]any{"seen": nil})
		assert.Equal(t, owners[k.Name], env.owners(env.get(k.Resource, "my-app")))
		changed := strings.NewReplacer("b.example", "c.example", "8080", "8081", "tier: web", "tier: new")
		env.serverSideApply(k.Resource, "gitops", changed.Replace(manifests[k.Name]("my-app")))
	}
}
