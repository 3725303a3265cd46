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

// part is what one manager says of an object.
type part struct {
	manager string
	text    string // YAML of the object without its name
	update  bool   // a merge patch; otherwise a server-side apply
}

// say writes a part. Unless it is forced, a conflict with anybody is an error.
func (w *world) say(k target.Kind, name string, p part, force bool) error {
	w.Helper()
	u := w.parse("apiVersion: " + k.APIVersion() + "\nkind: " + k.Name + "\n" + p.text)
	u.SetName(name)
	raw, err := u.MarshalJSON()
	require.NoError(w, err)
	options, patch := metav1.PatchOptions{FieldManager: p.manager, Force: &force}, types.ApplyPatchType
	if p.update {
		options.Force, patch = nil, types.MergePatchType
	}
	_, err = w.dynamic.Resource(k.Resource).Namespace(w.namespace).Patch(w.Context(), name, patch, raw, options)
	return err
}

const (
	aRule = "{host: a.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}]}}"
	aPort = "{port: 80, protocol: TCP, name: web, targetPort: 8080}"
)

// TestSeveralManagersOfOneObject: each says its part before, and some say more
// during maintenance. Afterwards each owns what it would own had nobody been in
// between, as a twin shows, and says its part again without conflict or change.
func TestSeveralManagersOfOneObject(t *testing.T) {
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
		"one took what another had": {target.Ingress(), []part{
			{manager: "gitops", text: "spec: {rules: [" + aRule + "], ingressClassName: traefik}"},
			{manager: "kubectl-edit", update: true, text: "spec: {rules: [" + strings.ReplaceAll(aRule, "a.example", "b.example") + "]}"},
		}, nil},
		"granular": {target.Service(), []part{
			{manager: "gitops", text: "spec: {selector: {app: shop}, ports: [" + aPort + "]}"},
			{manager: "platform", text: "spec: {ports: [{port: 443, protocol: TCP, name: secure, targetPort: https}]}"},
		}, []part{{manager: "platform", text: "spec: {ports: [{port: 443, protocol: TCP, name: secure, targetPort: https, appProtocol: https}]}\nmetadata: {labels: {team: web}}"}}},
		"two of one port": {target.Service(), []part{
			{manager: "gitops", text: "spec: {selector: {app: shop}, ports: [" + aPort + "]}"},
			{manager: "other-gitops", text: "spec: {selector: {app: shop}, ports: [" + aPort + "], sessionAffinity: ClientIP}"},
		}, []part{{manager: "kubectl-patch", update: true, text: "spec: {sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}}"}}},
		"of a route": {target.IngressRoute(), []part{
			{manager: "gitops", text: "spec: {routes: [{kind: Rule, match: 'Host(`a.example`)', services: [{name: app, port: 80}]}]}"},
			{manager: "platform", text: "spec: {entryPoints: [web], tls: {secretName: tls}}"},
		}, []part{{manager: "platform", text: "spec: {entryPoints: [web, websecure], tls: {secretName: tls}}"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			severalManagers(newWorld(t), tc.kind, tc.before, tc.during)
		})
	}
}

func severalManagers(w *world, k target.Kind, before, during []part) {
	names := []string{"my-app", "twin"}
	all := func(parts []part) {
		for _, p := range parts {
			for _, name := range names {
				require.NoError(w, w.say(k, name, p, true), "%s: %s", p.manager, p.text)
			}
		}
	}
	all(before)
	w.start()
	w.on(k.Resource, "my-app")
	w.annotate(k.Resource, "twin", map[string]any{annotations.DefaultEnabled: "false"})
	w.until(k.Resource, "my-app", "active", state(annotations.Active))
	all(during)
	for _, name := range names {
		w.off(k.Resource, name)
	}
	u := w.until(k.Resource, "my-app", "restored", restored)
	assert.Equal(w, w.shape(w.get(k.Resource, "twin")), w.shape(u))
	assert.False(w, ownership.Owns(u.GetManagedFields()))

	// Whoever could say the same again still can, and changes nothing by it.
	last := map[string]part{}
	for _, p := range append(before, during...) {
		last[p.manager] = p
	}
	for _, p := range last {
		twins, own := w.say(k, "twin", p, false), w.say(k, "my-app", p, false)
		if twins == nil {
			require.NoError(w, own, p.manager)
		} else {
			require.EqualError(w, own, strings.ReplaceAll(twins.Error(), "twin", "my-app"))
		}
	}
	assert.Equal(w, w.shape(w.get(k.Resource, "twin")), w.shape(w.get(k.Resource, "my-app")))
}

// TestWhoWritesJustBeforeTheRestoreOwnsIt: somebody writes the target on the page,
// and maintenance ends before the controller has seen it. What is restored belongs to
// them, and not to whoever wrote it before them.
func TestWhoWritesJustBeforeTheRestoreOwnsIt(t *testing.T) {
	t.Parallel()
	for _, k := range target.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, name := range []string{"my-app", "twin"} {
				w.apply(manifests[k.Name](name))
			}
			c := w.start()
			w.on(k.Resource, "my-app")
			w.annotate(k.Resource, "twin", map[string]any{annotations.DefaultEnabled: "false"})
			w.until(k.Resource, "my-app", "active", state(annotations.Active))
			c.stop()
			for _, name := range []string{"my-app", "twin"} {
				if k.Name == "Service" {
					w.patch(k.Resource, name, types.MergePatchType, `{"spec": {"selector": {"app": "shop", "tier": "v2"}}}`)
				} else {
					w.edit(k.Resource, name, func(u *unstructured.Unstructured) {
						slices.Reverse(u.Object["spec"].(map[string]any)[places[k.Name][0].list].([]any))
					})
				}
				w.off(k.Resource, name)
			}
			w.start()
			u := w.until(k.Resource, "my-app", "restored", restored)
			assert.Equal(t, w.shape(w.get(k.Resource, "twin")), w.shape(u))
		})
	}
}

// TestWhatIsOwnedDuringMaintenance is what the README says of the fields that a tool
// leaves alone if it is told to leave the controller's. Rules and routes are atomic:
// who writes one backend owns hosts and paths as well.
func TestWhatIsOwnedDuringMaintenance(t *testing.T) {
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
			w := newWorld(t)
			k, _ := target.KindByName(kind)
			w.apply(manifests[kind]("my-app"))
			w.start()
			w.on(k.Resource, "my-app")
			u := w.until(k.Resource, "my-app", "active", state(annotations.Active))
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
