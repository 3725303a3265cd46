package apiserver

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// createServices creates a Service for each app of the manifests, with the ports that the
// manifests name.
func (env *testEnv) createServices(names ...string) {
	env.Helper()
	for _, name := range names {
		env.apply(fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s}
spec:
  selector: {app: %[1]s}
  ports: [{name: http, port: 80}, {name: web, port: 8080}, {name: alt, port: 81}, {name: tls, port: 8443}, {name: secure, port: 443}]
`, name))
	}
}

// everyApp is in the manifests of some kind.
var everyApp = []string{"fallback", "app", "api", "api-v2", "canary", "canary-v2", "unknown"}

// accessSettings returns the settings of a page set.
func (env *testEnv) accessSettings(set string) access.Settings {
	env.Helper()
	cm, err := env.client.CoreV1().ConfigMaps(env.namespace).Get(env.Context(), set, metav1.GetOptions{})
	require.NoError(env, err)
	return pageset.Settings(cm)
}

// requireOwnDoors: every slot is on the set. Each of its entries leads to the door of its
// own original, or to the page if the original has no door. The originals are taken from a
// twin that is not in maintenance. It returns how many entries lead to a door.
func (env *testEnv) requireOwnDoors(k target.Kind, u, twin *unstructured.Unstructured) (with int) {
	env.Helper()
	set := requireOnPage(env, u)
	hosts := map[int64]string{80: ""}
	names := map[string]string{"http": ""}
	for _, d := range env.accessSettings(set).Doors {
		host, _, _ := strings.Cut(d.Host, ".")
		hosts[int64(d.ContainerPort())], names[d.ServicePortName()] = host, host
	}
	slots, err := k.Slots(u.Object)
	require.NoError(env, err)
	originals, err := k.Slots(twin.Object)
	require.NoError(env, err)
	for _, s := range slots {
		at := slices.IndexFunc(originals, func(o swap.Slot) bool { return o.ID == s.ID })
		require.GreaterOrEqual(env, at, 0, "%s", s.ID)
		if s.Backends == nil {
			continue
		}
		is, was := s.Backends(s.Value), originals[at].Backends(originals[at].Value)
		for i, b := range is {
			app, known := names[b.Port]
			if !known {
				var port int64
				_, _ = fmt.Sscan(b.Port, &port)
				app, known = hosts[port]
			}
			require.True(env, known, "%s: the page set has no port %s", s.ID, b.Port)
			if app == "" {
				continue
			}
			require.Len(env, was, len(is), "%s: one entry for each entry of the original", s.ID)
			require.Equal(env, was[i].Name, app, "%s", s.ID)
			require.Equal(env, was[i].Weight, b.Weight, "%s", s.ID)
			with++
		}
	}
	return with
}

// TestBypassForEveryKind: targets with the same settings share a page set with doors, each
// slot leads to the door of its own app, and the restore is complete. For kinds without
// doors an Event says so.
func TestBypassForEveryKind(t *testing.T) {
	t.Parallel()
	for _, k := range target.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t)
			env.createServices(everyApp...)
			env.apply(manifests[k.Name]("my-app"), manifests[k.Name]("alike"), manifests[k.Name]("twin"))
			before := map[string]string{}
			for _, name := range []string{"my-app", "alike"} {
				before[name] = spec(t, env.get(k.Resource, name))
			}
			env.startController()
			for _, name := range []string{"my-app", "alike"} {
				env.annotate(k.Resource, name, map[string]any{annotations.DefaultEnabled: "true", annotations.BypassSecret: "team", annotations.OpenPaths: "/admin"})
			}
			u := env.waitFor(k.Resource, "my-app", "active", state(annotations.Active))
			alike := env.waitFor(k.Resource, "alike", "active", state(annotations.Active))
			assert.Equal(t, requireOnPage(t, u), requireOnPage(t, alike), "both share a page set")
			if k.NoDoors != "" || k.Name == "GRPCRoute" {
				env.waitForEvent("my-app", "BypassUnavailable")
				assert.Equal(t, defaultSet(), requireOnPage(t, u), "only the page")
			} else {
				assert.Positive(t, env.requireOwnDoors(k, u, env.get(k.Resource, "twin")))
				env.requireDoorPorts(requireOnPage(t, u))
			}
			for _, name := range []string{"my-app", "alike"} {
				env.disable(k.Resource, name)
				assert.Equal(t, before[name], spec(t, env.waitFor(k.Resource, name, "restored", restored)))
			}
			env.waitForCleanup()
		})
	}
}

// requireDoorPorts: the Service and the Pods of the set agree on each door.
func (env *testEnv) requireDoorPorts(set string) {
	env.Helper()
	svc, err := env.client.CoreV1().Services(env.namespace).Get(env.Context(), set, metav1.GetOptions{})
	require.NoError(env, err)
	pod := env.list(pods, annotations.PageSetLabel+"="+set)[0]
	listens := toJSON(pod.Object["spec"])
	for i, d := range env.accessSettings(set).Doors {
		p := svc.Spec.Ports[i+1]
		assert.Equal(env, "http-"+d.Name, p.Name)
		assert.NotEqual(env, int32(443), p.Port)
		assert.Equal(env, "maintenance-"+d.Name, p.TargetPort.StrVal)
		assert.Contains(env, listens, fmt.Sprintf(`"containerPort":%d,"name":"maintenance-%s"`, d.ContainerPort(), d.Name))
	}
	assert.Contains(env, listens, `"secretName":"team"`)
	assert.Contains(env, listens, `"optional":true`)
}

// TestReleaseWithBypass: what tools write during maintenance is accepted next to the doors,
// takes effect, and gets doors of its own. Afterwards the target is the same as a twin that
// was never in maintenance.
func TestReleaseWithBypass(t *testing.T) {
	t.Parallel()
	all := tools()
	for _, k := range target.Kinds() {
		if k.NoDoors != "" || k.Name == "GRPCRoute" {
			continue
		}
		for _, name := range []string{"kubectl apply", "kubectl patch --type=merge", "helm upgrade"} {
			t.Run(name+" "+k.Name, func(t *testing.T) {
				t.Parallel()
				env := newTestEnv(t)
				env.createServices(everyApp...)
				env.startController()
				for _, object := range []string{"my-app", "twin"} {
					one, _ := env.releases(k.Name, object)
					all[name].write(env, one)
				}
				env.annotate(k.Resource, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.ReadOnly: "true"})
				first := requireOnPage(t, env.waitFor(k.Resource, "my-app", "active", state(annotations.Active)))
				for _, object := range []string{"my-app", "twin"} {
					_, two := env.releases(k.Name, object)
					all[name].write(env, two)
				}
				u := env.waitFor(k.Resource, "my-app", "the second release at its doors", func(u *unstructured.Unstructured) bool {
					return u.GetLabels()["release"] == "two" && state(annotations.Active)(u) && entirelyOnPage(u) && u.GetAnnotations()[annotations.PageSet] != first
				})
				assert.Positive(t, env.requireOwnDoors(k, u, env.get(k.Resource, "twin")))
				env.annotate(k.Resource, "my-app", map[string]any{annotations.DefaultEnabled: nil, annotations.ReadOnly: nil})
				after := env.waitFor(k.Resource, "my-app", "restored", restored)
				assert.Equal(t, env.authoredState(env.get(k.Resource, "twin")), env.authoredState(after))
			})
		}
	}
}

// TestBackendChangedWithBypass: a backend that is new during maintenance shows the page
// until it has a door. It never leads to the door of another app, and never to the app itself.
func TestBackendChangedWithBypass(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.createServices(everyApp...)
	env.apply(ingress("my-app"), ingress("twin"))
	env.startController()
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.OpenPaths: "/admin"})
	first := env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	env.requireOwnDoors(target.Ingress(), first, env.get(ingresses, "twin"))
	for _, name := range []string{"twin", "my-app"} {
		env.patch(ingresses, name, types.JSONPatchType, `[{"op":"replace","path":"/spec/rules/0/http/paths/1/backend","value":{"service":{"name":"canary","port":{"number":81}}}}]`)
	}
	seen := env.watchRevisions(ingresses, "my-app", func(u *unstructured.Unstructured) {
		slots, err := target.Ingress().Slots(u.Object)
		assert.NoError(t, err)
		for _, s := range slots {
			for _, b := range s.Backends(s.Value) {
				if b.Name == requireOnPage(t, first) && s.ID.Path == "/api" {
					assert.Contains(t, []string{"80", "8101", "8102", "8103"}, b.Port)
				}
			}
		}
	})
	second := env.waitFor(ingresses, "my-app", "another page set, active", func(u *unstructured.Unstructured) bool {
		return state(annotations.Active)(u) && u.GetAnnotations()[annotations.PageSet] != first.GetAnnotations()[annotations.PageSet]
	})
	seen()
	assert.Positive(t, env.requireOwnDoors(target.Ingress(), second, env.get(ingresses, "twin")))
	env.disable(ingresses, "my-app")
	assert.Equal(t, spec(t, env.get(ingresses, "twin")), spec(t, env.waitFor(ingresses, "my-app", "restored", restored)))
}

// TestBypassUnavailableIsReported for each kind of Service that cannot have a door.
func TestBypassUnavailableIsReported(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.createServices("app")
	for name, spec := range map[string]string{
		"external": "{type: ExternalName, externalName: example.com}", "headless": "{clusterIP: None, selector: {app: a}, ports: [{port: 80}]}",
		"selectorless": "{ports: [{port: 80}]}", "grpc": "{selector: {app: a}, ports: [{port: 80, appProtocol: grpc}]}",
	} {
		env.apply(fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {name: %s}, spec: %s}", name, spec))
	}
	env.apply(`
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: my-app}
spec:
  routes:
    - {kind: Rule, match: "Path('/app')", services: [{name: app, port: 80}]}
    - {kind: Rule, match: "Path('/external')", services: [{name: external, port: 80}]}
    - {kind: Rule, match: "Path('/headless')", services: [{name: headless, port: 80}]}
    - {kind: Rule, match: "Path('/selectorless')", services: [{name: selectorless, port: 80}]}
    - {kind: Rule, match: "Path('/grpc')", services: [{name: grpc, port: 80}]}
    - {kind: Rule, match: "Path('/transport')", services: [{name: app, port: 80, serversTransport: mine}]}
    - {kind: Rule, match: "Path('/other')", services: [{name: app, port: 80, namespace: other}]}
    - {kind: Rule, match: "Path('/traefik')", services: [{name: app, kind: TraefikService}]}
    - {kind: Rule, match: "Path('/gone')", services: [{name: gone, port: 80}]}
`)
	env.startController()
	env.annotate(ingressRoutes, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.OpenPaths: "/x, /, /ok", annotations.ReadOnly: "maybe", annotations.AllowFrom: "10.0.0.0/8"})
	u := env.waitFor(ingressRoutes, "my-app", "active", state(annotations.Active))
	for path, why := range map[string]string{
		"external": "ExternalName", "headless": "headless", "selectorless": "no selector", "grpc": "grpc", "transport": "serversTransport",
		"other": "another namespace", "traefik": "TraefikService", "gone": "there is no Service gone",
	} {
		text := env.waitForMessage("my-app", "BypassUnavailable", "/"+path)
		assert.Contains(t, text, why)
	}
	env.waitForMessage("my-app", "InvalidAnnotation", `maintenance/read-only is "maybe"`)
	env.waitForMessage("my-app", "InvalidAnnotation", "maintenance/open-paths")
	env.waitForMessage("my-app", "InvalidAnnotation", "maintenance/allow-from")
	s := env.accessSettings(requireOnPage(t, u))
	require.Len(t, s.Doors, 1)
	assert.Equal(t, "app."+env.namespace+".svc", s.Doors[0].Host)
	assert.Equal(t, []string{"/ok", "/x"}, s.OpenPaths)
	assert.False(t, s.ReadOnly)
}

// TestTwoIngressesForOneApp is the simplest way to let the team through: the Ingress that
// is not annotated always leads to the app.
func TestTwoIngressesForOneApp(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("public"), strings.ReplaceAll(ingress("admins"), ".example", ".admin.example"))
	before := spec(t, env.get(ingresses, "admins"))
	env.startController()
	env.enable(ingresses, "public")
	env.waitFor(ingresses, "public", "active", state(annotations.Active))
	admins := env.get(ingresses, "admins")
	assert.Equal(t, before, spec(t, admins))
	assert.Empty(t, admins.GetAnnotations())
	env.disable(ingresses, "public")
	env.waitFor(ingresses, "public", "restored", restored)
	assert.Equal(t, admins.GetResourceVersion(), env.get(ingresses, "admins").GetResourceVersion(), "it was never written to")
}
