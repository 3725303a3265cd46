package apiserver

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/e2e/played"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/target"
)

// What must always hold. That no revision is on a page without its originals is
// checked in every test of this package, see soundness; what must hold of page
// sets is in sets_test.go.

func TestARenamedHostGetsItsBackendBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	c := w.start()
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	c.stop() // nobody sees the edits one by one
	w.edit(ingresses, "my-app", func(u *unstructured.Unstructured) {
		list := rules(u)
		list[0].(map[string]any)["host"] = "renamed.example"
		require.NoError(t, unstructured.SetNestedSlice(u.Object, []any{list[1], list[0]}, "spec", "rules"))
	})
	w.off(ingresses, "my-app")
	w.start()
	want := w.parse(ingress("x"))
	list := rules(want)
	list[0].(map[string]any)["host"] = "renamed.example"
	require.NoError(t, unstructured.SetNestedSlice(want.Object, []any{list[1], list[0]}, "spec", "rules"))
	assert.Equal(t, spec(t, want), spec(t, w.until(ingresses, "my-app", "restored", restored)))
}

func TestWhatCannotBeRestoredIsToldAndKeepsItsSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	c := w.start()
	w.on(ingresses, "my-app")
	set := allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active)))
	c.stop()
	ref := target.Ref{Kind: "Ingress", Namespace: w.namespace, Name: "my-app"}
	w.loses(ref)
	require.NoError(t, w.client.CoreV1().ConfigMaps(w.namespace).Delete(t.Context(), backup.Name(ref), metav1.DeleteOptions{}))
	w.annotate(ingresses, "my-app", map[string]any{annotations.Original: nil, annotations.DefaultEnabled: nil})
	c = w.start()
	w.until(ingresses, "my-app", "blocked", state(annotations.Blocked))
	assert.Contains(t, message(w.untilEvent("my-app", "BackendLost")), "no original backend is known")
	assert.Equal(t, map[string]int{"Ingress": 1}, c.Snapshot().Unrestored, "the metric by which people are called")
	w.until(configMaps, set, "its user", usedBy("Ingress/my-app"))
	// A person puts the backends back: the rest follows.
	w.edit(ingresses, "my-app", func(u *unstructured.Unstructured) { u.Object["spec"] = w.parse(ingress("x")).Object["spec"] })
	w.until(ingresses, "my-app", "restored", restored)
	w.untilClean()
	assert.Empty(t, c.Snapshot().Unrestored)
}

// TestACopyOfATargetKeepsItsPage: who copies an object that is in maintenance, and
// takes our annotations off, has one that points at the page and that no watch knows.
func TestACopyOfATargetKeepsItsPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.start()
	w.on(ingresses, "my-app")
	u := w.until(ingresses, "my-app", "active", state(annotations.Active))
	set := allOn(t, u)
	theirs := w.parse(ingress("copy"))
	theirs.Object["spec"] = u.Object["spec"]
	w.loses(target.Ref{Kind: "Ingress", Namespace: w.namespace, Name: "copy"})
	_, err := w.dynamic.Resource(ingresses).Namespace(w.namespace).Create(t.Context(), theirs, metav1.CreateOptions{})
	require.NoError(t, err)
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", restored)
	// The grace period ends, and the API server is asked who still uses the set.
	assert.Contains(t, message(w.untilEvent("copy", "BackendLost")), "no original backend is known")
	w.until(configMaps, set, "its user", usedBy("Ingress/copy"))
	w.until(ingresses, "copy", "blocked", state(annotations.Blocked))
	// A person gives it a backend: the rest follows.
	w.edit(ingresses, "copy", func(u *unstructured.Unstructured) { u.Object["spec"] = w.parse(ingress("x")).Object["spec"] })
	w.until(ingresses, "copy", "restored", restored)
	w.untilClean()
}

func TestContestedTargetsBackOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.start()
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	onPage := func(u *unstructured.Unstructured) bool { return len(setsOf(u)) == 4 }
	revert := func() {
		w.edit(ingresses, "my-app", func(u *unstructured.Unstructured) { u.Object["spec"] = w.parse(ingress("x")).Object["spec"] })
	}
	for range 3 {
		revert()
		w.until(ingresses, "my-app", "swapped again at once", onPage)
	}
	reverting := time.Now()
	revert()
	u := w.until(ingresses, "my-app", "contested", state(annotations.Contested))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], `"editor"`)
	w.until(ingresses, "my-app", "swapped again", onPage)
	assert.GreaterOrEqual(t, time.Since(reverting), time.Second, "the fourth time it waits for a second")
	assert.Equal(t, annotations.Contested, w.get(ingresses, "my-app").GetAnnotations()[annotations.State])
	w.off(ingresses, "my-app")
	assert.Equal(t, spec(t, w.parse(ingress("x"))), spec(t, w.until(ingresses, "my-app", "restored", restored)))
}

func TestNobodyIsSentToAPageThatDoesNotServe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), customPage("spring", "page.html", "<h1>spring</h1>"))
	before := spec(t, w.get(ingresses, "my-app"))
	c := w.start(image(played.ImageStalls))
	w.on(ingresses, "my-app")
	u := w.until(ingresses, "my-app", "pending", state(annotations.Pending))
	assert.Equal(t, before, spec(t, u), "the app is served")
	c.stop()

	serves := w.watchServing(ingresses, "my-app")
	c = w.start()
	first := allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active)))
	serves.until(first)
	c.stop()

	// The next page cannot come up: visitors keep the one they have.
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultCustomPage: "spring"})
	w.start(image(played.ImageBroken))
	assert.Contains(t, message(w.untilEvent("my-app", "PageNotReady")), "ImagePullBackOff")
	assert.Equal(t, first, allOn(t, w.get(ingresses, "my-app")))
}

func image(name string) option {
	return func(c *controllerConfig, _ *restConfig) { c.Template.Image = name }
}

func TestReadyTimeoutGivesThatUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.start(image(played.ImageStalls), func(c *controllerConfig, _ *restConfig) { c.Settings.ReadyTimeout = 300 * time.Millisecond })
	w.on(ingresses, "my-app")
	allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active)))
}

func TestANewTemplateRollsNewBeforeOld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	c := w.start()
	w.on(ingresses, "my-app")
	set := allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active)))
	assert.Len(t, w.list(budgets, ""), 1)
	immutable, _, _ := unstructured.NestedBool(w.get(configMaps, set).Object, "immutable")
	assert.True(t, immutable)
	for _, p := range w.list(pods, annotations.PageSetLabel) {
		owner := metav1.GetControllerOf(&p)
		require.NotNil(t, owner, "kubectl drain wants a controller")
		assert.Equal(t, "ConfigMap", owner.Kind)
	}
	c.stop()
	fewest := w.fewestReadyPods()
	w.start(func(c *controllerConfig, _ *restConfig) {
		c.Template.Labels = map[string]string{"team": "web"}
		c.Template.Service.Type = "NodePort"
	})
	w.untilPods(2, func(p *unstructured.Unstructured) bool { return p.GetLabels()["team"] == "web" })
	w.until(services, set, "its new type", func(u *unstructured.Unstructured) bool {
		kind, _, _ := unstructured.NestedString(u.Object, "spec", "type")
		return kind == "NodePort"
	})
	assert.Equal(t, 2, fewest(), "there were always two ready Pods")
}

func TestWhatIsNotOursIsNeverTouched(t *testing.T) {
	t.Parallel()
	for _, clash := range []string{"ConfigMap", "Service"} {
		t.Run(clash, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.apply(ingress("my-app"))
			before := spec(t, w.get(ingresses, "my-app"))
			name := defaultSet()
			if clash == "ConfigMap" {
				w.apply(fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {a: b}\n", name))
			} else {
				w.apply(fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {ports: [{port: 1}]}\n", name))
			}
			foreign := map[string]schemaGVR{"ConfigMap": configMaps, "Service": services}[clash]
			was := w.get(foreign, name).GetResourceVersion()
			w.start()
			w.on(ingresses, "my-app")
			u := w.until(ingresses, "my-app", "blocked", state(annotations.Blocked))
			assert.Contains(t, message(w.untilEvent("my-app", "NameConflict")), name)
			assert.Equal(t, before, spec(t, u))
			assert.Equal(t, was, w.get(foreign, name).GetResourceVersion())
			require.NoError(t, w.dynamic.Resource(foreign).Namespace(w.namespace).Delete(t.Context(), name, metav1.DeleteOptions{}))
			w.until(ingresses, "my-app", "active, now that the name is free", state(annotations.Active))
		})
	}
}

func TestOddShapes(t *testing.T) {
	t.Parallel()
	shapes := map[string]string{
		"resource-only": `{defaultBackend: {resource: {apiGroup: k8s.example.com, kind: Bucket, name: static}}}`,
		"no-host":       `{rules: [{http: {paths: [{pathType: ImplementationSpecific, backend: {service: {name: app, port: {number: 80}}}}]}}]}`,
		"duplicates": `{rules: [{host: a.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: one, port: {number: 1}}}},
			{path: /, pathType: Prefix, backend: {service: {name: two, port: {number: 2}}}}]}}, {host: a.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: three, port: {number: 3}}}}]}}]}`,
		"hundreds": hundreds(300),
	}
	w := newWorld(t)
	before := map[string]string{}
	for name, s := range shapes {
		w.apply(fmt.Sprintf("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: %s}\nspec: %s\n", name, strings.ReplaceAll(s, "\t", " ")))
		before[name] = spec(t, w.get(ingresses, name))
	}
	w.start()
	for name := range shapes {
		w.on(ingresses, name)
	}
	for name := range shapes {
		allOn(t, w.until(ingresses, name, "active", state(annotations.Active)))
		w.off(ingresses, name)
		assert.Equal(t, before[name], spec(t, w.until(ingresses, name, "restored", restored)), name)
	}
}

func hundreds(n int) string {
	var b strings.Builder
	b.WriteString("{rules: [{host: many.example, http: {paths: [")
	for i := range n {
		fmt.Fprintf(&b, "{path: /%d, pathType: Prefix, backend: {service: {name: app-%d, port: {number: 80}}}},", i, i)
	}
	b.WriteString("]}}]}")
	return b.String()
}

func TestWhatIsNotTheAppsIsLeftAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(`
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: my-app}
spec:
  rules:
    - host: a.example
      http:
        paths:
          - {path: /.well-known/acme-challenge/token, pathType: Exact, backend: {service: {name: cm-acme-http-solver-x, port: {number: 8089}}}}
          - {path: /old, pathType: Prefix, backend: {service: {name: redirect, port: {name: use-annotation}}}}
          - {path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}
`, `
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: parent}
spec: {routes: [{kind: Rule, match: "Host(`+"`a.example`"+`)", middlewares: [{name: auth}]}]}
`)
	w.start()
	w.on(ingresses, "my-app")
	w.on(ingressRoutes, "parent")
	u := w.until(ingresses, "my-app", "active", state(annotations.Active))
	assert.Len(t, setsOf(u), 1)
	text := spec(t, u)
	assert.Contains(t, text, "cm-acme-http-solver-x")
	assert.Contains(t, text, "use-annotation")
	w.untilEvent("parent", "NothingToSwap")
	assert.False(t, annotations.HasWritten(w.get(ingressRoutes, "parent").GetAnnotations()))
}

func TestAQuotaBlocksAndSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: none}\nspec: {hard: {pods: '0'}}\n")
	w.until(schemaGVR{Version: "v1", Resource: "resourcequotas"}, "none", "in force", func(u *unstructured.Unstructured) bool {
		hard, _, _ := unstructured.NestedString(u.Object, "status", "hard", "pods")
		return hard == "0"
	})
	before := spec(t, w.get(ingresses, "my-app"))
	w.start()
	w.on(ingresses, "my-app")
	u := w.until(ingresses, "my-app", "blocked", state(annotations.Blocked))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], "exceeded quota")
	assert.Equal(t, before, spec(t, u), "the app is served")
	assert.Contains(t, message(w.untilEvent("my-app", "PageNotReady")), "exceeded quota")
	require.NoError(t, w.dynamic.Resource(schemaGVR{Version: "v1", Resource: "resourcequotas"}).Namespace(w.namespace).Delete(t.Context(), "none", metav1.DeleteOptions{}))
	w.until(ingresses, "my-app", "active, now that there is room", state(annotations.Active))
}

// TestAsIfWeHadNeverWritten: the author's next server-side apply goes through
// without a conflict, and the managers own what they owned.
func TestAsIfWeHadNeverWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, k := range target.Kinds() {
		w.serverSideApply(k.Resource, "gitops", manifests[k.Name]("my-app"))
		w.annotate(k.Resource, "my-app", map[string]any{"team": "web"})
	}
	owners := map[string]string{}
	c := w.start()
	for _, k := range target.Kinds() {
		owners[k.Name] = w.owners(w.get(k.Resource, "my-app"))
		for range 2 {
			w.on(k.Resource, "my-app")
			w.until(k.Resource, "my-app", "active", state(annotations.Active))
			// Somebody else gains ownership meanwhile: it stays theirs.
			w.annotate(k.Resource, "my-app", map[string]any{"seen": "yes"})
			w.off(k.Resource, "my-app")
			w.until(k.Resource, "my-app", "restored", restored)
		}
	}
	c.stop()
	for _, k := range target.Kinds() {
		u := w.get(k.Resource, "my-app")
		for _, e := range u.GetManagedFields() {
			assert.NotEqual(t, ownership.Manager, e.Manager)
		}
		assert.Contains(t, w.owners(u), "f:seen")
		w.annotate(k.Resource, "my-app", map[string]any{"seen": nil})
		assert.Equal(t, owners[k.Name], w.owners(w.get(k.Resource, "my-app")))
		changed := strings.NewReplacer("b.example", "c.example", "8080", "8081", "tier: web", "tier: new")
		w.serverSideApply(k.Resource, "gitops", changed.Replace(manifests[k.Name]("my-app")))
	}
}

func (w *world) serverSideApply(gvr schemaGVR, manager, manifest string) {
	w.Helper()
	raw, err := w.parse(manifest).MarshalJSON()
	require.NoError(w, err)
	_, err = w.dynamic.Resource(gvr).Namespace(w.namespace).Patch(w.Context(), "my-app", types.ApplyPatchType, raw, metav1.PatchOptions{FieldManager: manager})
	require.NoError(w, err)
}

// owners is who owns what, without the times.
func (w *world) owners(u *unstructured.Unstructured) string {
	entries := u.GetManagedFields()
	for i := range entries {
		entries[i].Time = nil
	}
	slices.SortFunc(entries, func(a, b metav1.ManagedFieldsEntry) int {
		return cmp.Or(strings.Compare(a.Manager, b.Manager), strings.Compare(string(a.Operation), string(b.Operation)), strings.Compare(a.Subresource, b.Subresource))
	})
	raw, err := json.MarshalIndent(entries, "", " ")
	require.NoError(w, err)
	return string(raw)
}

// fewestReadyPods watches the page Pods until the returned function is called,
// which tells how few were ready at any time.
func (w *world) fewestReadyPods() (fewest func() int) {
	w.Helper()
	list, err := w.dynamic.Resource(pods).Namespace(w.namespace).List(w.Context(), metav1.ListOptions{LabelSelector: annotations.PageSetLabel})
	require.NoError(w, err)
	stream, err := w.dynamic.Resource(pods).Namespace(w.namespace).Watch(w.Context(), metav1.ListOptions{LabelSelector: annotations.PageSetLabel, ResourceVersion: list.GetResourceVersion()})
	require.NoError(w, err)
	ready := map[string]bool{}
	for i := range list.Items {
		ready[list.Items[i].GetName()] = podReady(&list.Items[i])
	}
	least := make(chan int, 1)
	go func() {
		n := len(list.Items)
		for e := range stream.ResultChan() {
			if u, ok := e.Object.(*unstructured.Unstructured); ok {
				ready[u.GetName()] = podReady(u) && e.Type != "DELETED"
				now := 0
				for _, is := range ready {
					if is {
						now++
					}
				}
				n = min(n, now)
			}
		}
		least <- n
	}()
	return func() int {
		stream.Stop()
		return <-least
	}
}
