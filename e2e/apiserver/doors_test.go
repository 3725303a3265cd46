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

// apps makes a Service for each app that the manifests lead to, with the ports that they
// name.
func (w *world) apps(names ...string) {
	w.Helper()
	for _, name := range names {
		w.apply(fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s}
spec:
  selector: {app: %[1]s}
  ports: [{name: http, port: 80}, {name: web, port: 8080}, {name: alt, port: 81}, {name: tls, port: 8443}, {name: secure, port: 443}]
`, name))
	}
}

// everyApp of the manifests of all kinds.
var everyApp = []string{"fallback", "app", "api", "api-v2", "canary", "canary-v2", "unknown"}

// settings of a page set.
func (w *world) settings(set string) access.Settings {
	w.Helper()
	cm, err := w.client.CoreV1().ConfigMaps(w.namespace).Get(w.Context(), set, metav1.GetOptions{})
	require.NoError(w, err)
	return pageset.Settings(cm)
}

// requireOwnDoors: every slot is on the set, and each of its entries at the door of its own
// original, or on the page where that has none; what they were is taken from a twin that
// is not in maintenance. It counts the entries with a door.
func (w *world) requireOwnDoors(k target.Kind, u, twin *unstructured.Unstructured) (with int) {
	w.Helper()
	set := allOn(w, u)
	hosts := map[int64]string{80: ""}
	names := map[string]string{"http": ""}
	for _, d := range w.settings(set).Doors {
		host, _, _ := strings.Cut(d.Host, ".")
		hosts[int64(d.ContainerPort())], names[d.ServicePortName()] = host, host
	}
	slots, err := k.Slots(u.Object)
	require.NoError(w, err)
	originals, err := k.Slots(twin.Object)
	require.NoError(w, err)
	for _, s := range slots {
		at := slices.IndexFunc(originals, func(o swap.Slot) bool { return o.ID == s.ID })
		require.GreaterOrEqual(w, at, 0, "%s", s.ID)
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
			require.True(w, known, "%s: port %s is none of the page set's", s.ID, b.Port)
			if app == "" {
				continue
			}
			require.Len(w, was, len(is), "%s: an entry for each of the original's", s.ID)
			require.Equal(w, was[i].Name, app, "%s", s.ID)
			require.Equal(w, was[i].Weight, b.Weight, "%s", s.ID)
			with++
		}
	}
	return with
}

// TestDoorsOfEveryKind: targets that are alike share a page set with doors, each slot leads
// to its own app's, and all is as it was afterwards. Kinds without doors say so.
func TestDoorsOfEveryKind(t *testing.T) {
	t.Parallel()
	for _, k := range target.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.apps(everyApp...)
			w.apply(manifests[k.Name]("my-app"), manifests[k.Name]("alike"), manifests[k.Name]("twin"))
			before := map[string]string{}
			for _, name := range []string{"my-app", "alike"} {
				before[name] = spec(t, w.get(k.Resource, name))
			}
			w.start()
			for _, name := range []string{"my-app", "alike"} {
				w.annotate(k.Resource, name, map[string]any{annotations.DefaultEnabled: "true", annotations.BypassSecret: "team", annotations.OpenPaths: "/admin"})
			}
			u := w.until(k.Resource, "my-app", "active", state(annotations.Active))
			alike := w.until(k.Resource, "alike", "active", state(annotations.Active))
			assert.Equal(t, allOn(t, u), allOn(t, alike), "they share a page set")
			if k.NoDoors != "" || k.Name == "GRPCRoute" {
				w.untilEvent("my-app", "NoDoor")
				assert.Equal(t, defaultSet(), allOn(t, u), "the page, and nothing else")
			} else {
				assert.Positive(t, w.requireOwnDoors(k, u, w.get(k.Resource, "twin")))
				w.requireDoorsOfSet(allOn(t, u))
			}
			for _, name := range []string{"my-app", "alike"} {
				w.off(k.Resource, name)
				assert.Equal(t, before[name], spec(t, w.until(k.Resource, name, "restored", restored)))
			}
			w.untilClean()
		})
	}
}

// requireDoorsOfSet: the Service and the Pods of the set agree on each door.
func (w *world) requireDoorsOfSet(set string) {
	w.Helper()
	svc, err := w.client.CoreV1().Services(w.namespace).Get(w.Context(), set, metav1.GetOptions{})
	require.NoError(w, err)
	pod := w.list(pods, annotations.PageSetLabel+"="+set)[0]
	listens := text(pod.Object["spec"])
	for i, d := range w.settings(set).Doors {
		p := svc.Spec.Ports[i+1]
		assert.Equal(w, "http-"+d.Name, p.Name)
		assert.NotEqual(w, int32(443), p.Port)
		assert.Equal(w, "maintenance-"+d.Name, p.TargetPort.StrVal)
		assert.Contains(w, listens, fmt.Sprintf(`"containerPort":%d,"name":"maintenance-%s"`, d.ContainerPort(), d.Name))
	}
	assert.Contains(w, listens, `"secretName":"team"`)
	assert.Contains(w, listens, `"optional":true`)
}

// TestOtherHandsAtDoors: what tools write in the middle is valid beside the doors, holds,
// and gets doors of its own; afterwards all is as with a twin that never was in maintenance.
func TestOtherHandsAtDoors(t *testing.T) {
	t.Parallel()
	all := hands()
	for _, k := range target.Kinds() {
		if k.NoDoors != "" || k.Name == "GRPCRoute" {
			continue
		}
		for _, name := range []string{"kubectl apply", "kubectl patch --type=merge", "helm upgrade"} {
			t.Run(name+" "+k.Name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				w.apps(everyApp...)
				w.start()
				for _, object := range []string{"my-app", "twin"} {
					one, _ := w.releases(k.Name, object)
					all[name].write(w, one)
				}
				w.annotate(k.Resource, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.ReadOnly: "true"})
				first := allOn(t, w.until(k.Resource, "my-app", "active", state(annotations.Active)))
				for _, object := range []string{"my-app", "twin"} {
					_, two := w.releases(k.Name, object)
					all[name].write(w, two)
				}
				u := w.until(k.Resource, "my-app", "the second release at its doors", func(u *unstructured.Unstructured) bool {
					return u.GetLabels()["release"] == "two" && state(annotations.Active)(u) && allOnPage(u) && u.GetAnnotations()[annotations.PageSet] != first
				})
				assert.Positive(t, w.requireOwnDoors(k, u, w.get(k.Resource, "twin")))
				w.annotate(k.Resource, "my-app", map[string]any{annotations.DefaultEnabled: nil, annotations.ReadOnly: nil})
				after := w.until(k.Resource, "my-app", "restored", restored)
				assert.Equal(t, w.shape(w.get(k.Resource, "twin")), w.shape(after))
			})
		}
	}
}

// TestABackendInTheMiddle waits on the page of the set that serves, and never at a door of
// another app; public visitors do not get the app meanwhile.
func TestABackendInTheMiddle(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apps(everyApp...)
	w.apply(ingress("my-app"), ingress("twin"))
	w.start()
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.OpenPaths: "/admin"})
	first := w.until(ingresses, "my-app", "active", state(annotations.Active))
	w.requireOwnDoors(target.Ingress(), first, w.get(ingresses, "twin"))
	for _, name := range []string{"twin", "my-app"} {
		w.patch(ingresses, name, types.JSONPatchType, `[{"op":"replace","path":"/spec/rules/0/http/paths/1/backend","value":{"service":{"name":"canary","port":{"number":81}}}}]`)
	}
	seen := w.watchRevisions(ingresses, "my-app", func(u *unstructured.Unstructured) {
		slots, err := target.Ingress().Slots(u.Object)
		assert.NoError(t, err)
		for _, s := range slots {
			for _, b := range s.Backends(s.Value) {
				if b.Name == allOn(t, first) && s.ID.Path == "/api" {
					assert.Contains(t, []string{"80", "8101", "8102", "8103"}, b.Port)
				}
			}
		}
	})
	second := w.until(ingresses, "my-app", "another page set, active", func(u *unstructured.Unstructured) bool {
		return state(annotations.Active)(u) && u.GetAnnotations()[annotations.PageSet] != first.GetAnnotations()[annotations.PageSet]
	})
	seen()
	assert.Positive(t, w.requireOwnDoors(target.Ingress(), second, w.get(ingresses, "twin")))
	w.off(ingresses, "my-app")
	assert.Equal(t, spec(t, w.get(ingresses, "twin")), spec(t, w.until(ingresses, "my-app", "restored", restored)))
}

// TestWhatHasNoDoorIsTold, of each Service that cannot have one, as the API server has it.
func TestWhatHasNoDoorIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apps("app")
	for name, spec := range map[string]string{
		"external": "{type: ExternalName, externalName: example.com}", "headless": "{clusterIP: None, selector: {app: a}, ports: [{port: 80}]}",
		"selectorless": "{ports: [{port: 80}]}", "grpc": "{selector: {app: a}, ports: [{port: 80, appProtocol: grpc}]}",
	} {
		w.apply(fmt.Sprintf("{apiVersion: v1, kind: Service, metadata: {name: %s}, spec: %s}", name, spec))
	}
	w.apply(`
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
	w.start()
	w.annotate(ingressRoutes, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.OpenPaths: "/x, /, /ok", annotations.ReadOnly: "maybe", annotations.AllowFrom: "10.0.0.0/8"})
	u := w.until(ingressRoutes, "my-app", "active", state(annotations.Active))
	for path, why := range map[string]string{
		"external": "ExternalName", "headless": "headless", "selectorless": "no selector", "grpc": "grpc", "transport": "serversTransport",
		"other": "another namespace", "traefik": "TraefikService", "gone": "there is no Service gone",
	} {
		told := w.untilTold("my-app", "NoDoor", "/"+path)
		assert.Contains(t, told, why)
	}
	w.untilTold("my-app", "InvalidAnnotation", `maintenance/read-only is "maybe"`)
	w.untilTold("my-app", "InvalidAnnotation", "maintenance/open-paths")
	w.untilTold("my-app", "InvalidAnnotation", "maintenance/allow-from")
	s := w.settings(allOn(t, u))
	require.Len(t, s.Doors, 1)
	assert.Equal(t, "app."+w.namespace+".svc", s.Doors[0].Host)
	assert.Equal(t, []string{"/ok", "/x"}, s.OpenPaths)
	assert.False(t, s.ReadOnly)
}

// TestTwoIngressesOfOneApp: the simplest way to let the team in. The one that is not
// annotated leads to the app, always.
func TestTwoIngressesOfOneApp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("public"), strings.ReplaceAll(ingress("admins"), ".example", ".admin.example"))
	before := spec(t, w.get(ingresses, "admins"))
	w.start()
	w.on(ingresses, "public")
	w.until(ingresses, "public", "active", state(annotations.Active))
	admins := w.get(ingresses, "admins")
	assert.Equal(t, before, spec(t, admins))
	assert.Empty(t, admins.GetAnnotations())
	w.off(ingresses, "public")
	w.until(ingresses, "public", "restored", restored)
	assert.Equal(t, admins.GetResourceVersion(), w.get(ingresses, "admins").GetResourceVersion(), "it was never written")
}
