package apiserver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
)

// The faults of the predecessor, one test each.

func ingress(name string) string {
	return fmt.Sprintf(`
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: %s
  labels: {app: shop}
spec:
  ingressClassName: traefik
  defaultBackend: {service: {name: fallback, port: {name: web}}}
  tls: [{hosts: [a.example], secretName: tls}]
  rules:
    - host: a.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}
          - {path: /api, pathType: Exact, backend: {service: {name: api, port: {name: http}}}}
    - host: b.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {resource: {apiGroup: k8s.example.com, kind: Bucket, name: static}}}
`, name)
}

func ingressRoute(name string) string {
	return fmt.Sprintf(`
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata:
  name: %s
spec:
  entryPoints: [web]
  routes:
    - kind: Rule
      match: Host(`+"`a.example`"+`)
      priority: 7
      middlewares: [{name: auth}]
      services:
        - {name: app, port: 8443, scheme: https, weight: 3, sticky: {cookie: {name: s}}, healthCheck: {path: /up, interval: 5s}}
        - {name: canary, port: web, weight: 1}
    - kind: Rule
      match: Host(`+"`b.example`"+`)
      services: [{kind: TraefikService, name: mirror}]
`, name)
}

func customPage(name, key, text string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: page-%s, labels: {%s: %s}}\ndata: {%s: %q}\n", name, annotations.CustomPageLabel, name, key, text)
}

func TestOnAndOffAnyNumberOfTimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := map[string]*unstructured.Unstructured{}
	for _, k := range target.Kinds() {
		w.apply(manifests[k.Name]("my-app"))
		before[k.Resource.Resource] = w.get(k.Resource, "my-app")
	}
	w.start()
	for range 3 {
		for _, gvr := range target.Kinds() {
			w.on(gvr.Resource, "my-app")
		}
		for _, gvr := range target.Kinds() {
			allOn(t, w.until(gvr.Resource, "my-app", "active", state(annotations.Active)))
		}
		for _, gvr := range target.Kinds() {
			w.off(gvr.Resource, "my-app")
		}
		for _, gvr := range target.Kinds() {
			after := w.until(gvr.Resource, "my-app", "restored", restored)
			was := before[gvr.Resource.Resource]
			assert.Equal(t, spec(t, was), spec(t, after), "the spec, to the byte")
			assert.Empty(t, after.GetAnnotations())
			assert.Equal(t, was.GetLabels(), after.GetLabels())
		}
	}
	w.untilClean()
}

func TestAnotherPageOnTheSecondTimeLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), customPage("spring", "page.html", "<h1>spring</h1>"))
	before := spec(t, w.get(ingresses, "my-app"))
	w.start()
	w.on(ingresses, "my-app")
	first := allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active)))
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", restored)
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "spring"})
	second := allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active)))
	assert.NotEqual(t, first, second)
	w.off(ingresses, "my-app")
	assert.Equal(t, before, spec(t, w.until(ingresses, "my-app", "restored", restored)))
}

func TestOneNameTwoKindsNeverInterfere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), ingressRoute("my-app"), service("my-app"))
	before := spec(t, w.get(ingresses, "my-app"))
	route := spec(t, w.get(ingressRoutes, "my-app"))
	svc := spec(t, w.get(services, "my-app"))
	w.start()
	w.on(ingresses, "my-app")
	w.on(ingressRoutes, "my-app")
	w.on(services, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	w.until(services, "my-app", "active", state(annotations.Active))
	set := allOn(t, w.until(ingressRoutes, "my-app", "active", state(annotations.Active)))
	w.until(configMaps, set, "all users", usedBy("Ingress/my-app,IngressRoute/my-app,Service/my-app"))
	for _, k := range []target.Kind{target.Ingress(), target.IngressRoute(), target.Service()} {
		cm := w.get(configMaps, backup.Name(target.Ref{Kind: k.Name, Namespace: w.namespace, Name: "my-app"}))
		kind, _, _ := unstructured.NestedString(cm.Object, "data", "kind")
		assert.Equal(t, k.Name, kind, "each has a backup of its own")
	}
	uid := w.get(configMaps, set).GetUID()

	w.off(ingresses, "my-app")
	assert.Equal(t, before, spec(t, w.until(ingresses, "my-app", "restored", restored)))
	cm := w.until(configMaps, set, "those that stay", usedBy("IngressRoute/my-app,Service/my-app"))
	assert.Equal(t, uid, cm.GetUID(), "the set serves on")
	allOn(t, w.get(ingressRoutes, "my-app"))
	allOn(t, w.get(services, "my-app"))

	w.off(ingressRoutes, "my-app")
	assert.Equal(t, route, spec(t, w.until(ingressRoutes, "my-app", "restored", restored)))
	w.off(services, "my-app")
	assert.Equal(t, svc, spec(t, w.until(services, "my-app", "restored", restored)))
	w.untilClean()
}

func usedBy(want string) condition {
	return func(u *unstructured.Unstructured) bool {
		return u != nil && u.GetAnnotations()[annotations.UsedBy] == want
	}
}

func rules(u *unstructured.Unstructured) []any {
	r, _, _ := unstructured.NestedSlice(u.Object, "spec", "rules")
	return r
}

func TestAHostAddedDuringMaintenanceIsSwappedAndKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.start()
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	added := w.parse(strings.ReplaceAll(ingress("x"), "a.example", "new.example"))
	w.edit(ingresses, "my-app", func(u *unstructured.Unstructured) {
		list := append([]any{rules(added)[0]}, rules(u)...) // in front: every index shifts
		require.NoError(t, unstructured.SetNestedSlice(u.Object, list, "spec", "rules"))
	})
	w.until(ingresses, "my-app", "the new host on the page", func(u *unstructured.Unstructured) bool {
		return len(setsOf(u)) == 6
	})
	w.off(ingresses, "my-app")
	want := w.parse(ingress("x"))
	require.NoError(t, unstructured.SetNestedSlice(want.Object, append([]any{rules(added)[0]}, rules(want)...), "spec", "rules"))
	assert.Equal(t, spec(t, want), spec(t, w.until(ingresses, "my-app", "restored", restored)))
}

func TestAReapplyDuringMaintenanceIsOverruledAndRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.start()
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	// A tool deploys its manifest anew, with one backend changed since.
	newer := w.parse(strings.ReplaceAll(ingress("my-app"), "name: api,", "name: api-v2,"))
	w.edit(ingresses, "my-app", func(u *unstructured.Unstructured) { u.Object["spec"] = newer.Object["spec"] })
	w.until(ingresses, "my-app", "swapped again", func(u *unstructured.Unstructured) bool { return len(setsOf(u)) == 4 })
	assert.Contains(t, message(w.untilEvent("my-app", "BackendReverted")), `"editor"`, "the event names the manager")
	w.off(ingresses, "my-app")
	assert.Equal(t, spec(t, newer), spec(t, w.until(ingresses, "my-app", "restored", restored)), "what it wrote is the new original")
}

func TestTheDefaultBackendIsSwappedBesideRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.start()
	w.on(ingresses, "my-app")
	u := w.until(ingresses, "my-app", "active", state(annotations.Active))
	name, _, _ := unstructured.NestedString(u.Object, "spec", "defaultBackend", "service", "name")
	assert.Equal(t, u.GetAnnotations()[annotations.PageSet], name)
}

func TestAHostOnlyRuleIsNoProblem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(`
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: with-default}
spec: {defaultBackend: {service: {name: app, port: {number: 80}}}, rules: [{host: a.example}]}
`, `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: without}
spec: {rules: [{host: a.example}]}
`)
	before := spec(t, w.get(ingresses, "with-default"))
	w.start()
	w.on(ingresses, "with-default")
	w.on(ingresses, "without")
	w.until(ingresses, "with-default", "active", state(annotations.Active))
	assert.Contains(t, message(w.untilEvent("without", "NothingToSwap")), "no backend")
	assert.False(t, annotations.HasWritten(w.get(ingresses, "without").GetAnnotations()))
	w.off(ingresses, "with-default")
	assert.Equal(t, before, spec(t, w.until(ingresses, "with-default", "restored", restored)))
}

func TestNamesOf253Characters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long := strings.Repeat("a", 60) + strings.Repeat("."+strings.Repeat("b", 63), 3) + "c"
	require.Len(t, long, 253)
	w.apply(ingress(long), ingressRoute(long))
	before := spec(t, w.get(ingresses, long))
	w.start()
	w.on(ingresses, long)
	w.on(ingressRoutes, long)
	w.until(ingresses, long, "active", state(annotations.Active))
	w.until(ingressRoutes, long, "active", state(annotations.Active))
	w.off(ingresses, long)
	w.off(ingressRoutes, long)
	assert.Equal(t, before, spec(t, w.until(ingresses, long, "restored", restored)))
	w.until(ingressRoutes, long, "restored", restored)
	w.untilClean()
}

func TestDeletingTheTargetLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.start()
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	require.NoError(t, w.dynamic.Resource(ingresses).Namespace(w.namespace).Delete(t.Context(), "my-app", metav1.DeleteOptions{}))
	w.untilClean()
}

func TestLostPodsComeBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.start()
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	all := w.list(pods, annotations.PageSetLabel)
	require.Len(t, all, 2)
	// One is deleted, as a drain does; the other fails, as an eviction leaves it.
	require.NoError(t, w.dynamic.Resource(pods).Namespace(w.namespace).Delete(t.Context(), all[0].GetName(), metav1.DeleteOptions{}))
	failed := all[1].DeepCopy()
	require.NoError(t, unstructured.SetNestedField(failed.Object, "Failed", "status", "phase"))
	_, err := w.dynamic.Resource(pods).Namespace(w.namespace).UpdateStatus(t.Context(), failed, metav1.UpdateOptions{})
	require.NoError(t, err)
	for _, p := range all {
		w.until(pods, p.GetName(), "its end", absent)
	}
	w.untilPods(2, anyPod)
}

func TestEitherCopyOfTheOriginalsIsEnough(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("no-backup"), ingress("no-annotation"), ingress("stripped"))
	before := spec(t, w.get(ingresses, "no-backup"))
	c := w.start()
	names := []string{"no-backup", "no-annotation", "stripped"}
	for _, name := range names {
		w.on(ingresses, name)
	}
	for _, name := range names {
		w.until(ingresses, name, "active", state(annotations.Active))
	}
	c.stop()
	require.NoError(t, w.client.CoreV1().ConfigMaps(w.namespace).Delete(t.Context(), backup.Name(target.Ref{Kind: "Ingress", Namespace: w.namespace, Name: "no-backup"}), metav1.DeleteOptions{}))
	w.annotate(ingresses, "no-annotation", map[string]any{annotations.Original: nil, annotations.DefaultEnabled: nil})
	w.off(ingresses, "no-backup")
	// All annotations stripped while nobody watched: only the backup and the used-by record tell.
	w.edit(ingresses, "stripped", func(u *unstructured.Unstructured) { u.SetAnnotations(nil) })
	w.start()
	for _, name := range names {
		assert.Equal(t, before, spec(t, w.until(ingresses, name, "restored", restored)), name)
	}
	w.untilClean()
}

func TestAPageSwitchNeverPointsAtWhatIsNotThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(`
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: my-app}
spec: {defaultBackend: {service: {name: app, port: {number: 80}}}}
`, customPage("spring", "page.html", "<h1>spring</h1>"))
	serves := w.watchServing(ingresses, "my-app")
	w.start()
	w.on(ingresses, "my-app")
	first := allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active)))
	serves.until(first)
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultCustomPage: "spring"})
	w.until(ingresses, "my-app", "another set", func(u *unstructured.Unstructured) bool {
		return u.GetAnnotations()[annotations.PageSet] != first
	})
	w.until(services, first, "the end of the old set", absent)
	serves.until(allOn(t, w.get(ingresses, "my-app")))
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", restored)
}

func TestPagePodsPassRestricted(t *testing.T) {
	t.Parallel()
	w := newWorld(t) // every world enforces it
	w.apply(ingress("my-app"))
	w.start(func(c *controllerConfig, _ *restConfig) {
		c.Template = pageset.Template{Image: imageServes, Replicas: 1}
	})
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	pod := w.list(pods, annotations.PageSetLabel)[0]
	_, fixed, _ := unstructured.NestedFieldNoCopy(pod.Object, "spec", "securityContext", "runAsUser")
	assert.False(t, fixed, "OpenShift assigns the user id")
	token, _, _ := unstructured.NestedBool(pod.Object, "spec", "automountServiceAccountToken")
	assert.False(t, token)
	assert.Empty(t, w.list(budgets, ""), "a budget over one Pod would block every drain")
}
