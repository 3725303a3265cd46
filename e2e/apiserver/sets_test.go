package apiserver

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
)

func defaultSet() string { return page.SetName(pages.Default().Hash()) }

func TestSameContentOneSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(customPage("one", "page.html", "<h1>same</h1>"), customPage("two", "page.html", "<h1>same</h1>"))
	for i := range 20 {
		w.apply(ingress(fmt.Sprintf("app-%d", i)))
	}
	w.start()
	for i := range 20 {
		w.annotate(ingresses, fmt.Sprintf("app-%d", i), map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: []string{"one", "two"}[i%2]})
	}
	sets := map[string]bool{}
	for i := range 20 {
		sets[allOn(t, w.until(ingresses, fmt.Sprintf("app-%d", i), "active", state(annotations.Active)))] = true
	}
	assert.Len(t, sets, 1)
	assert.Len(t, w.list(services, annotations.ManagedByLabel), 1)
	for set := range sets {
		w.until(configMaps, set, "all users", func(u *unstructured.Unstructured) bool {
			return strings.Count(u.GetAnnotations()[annotations.UsedBy], "Ingress/") == 20
		})
	}
}

// TestASetTakenUpAgainIsNeverCollected toggles a target just when its
// set's grace period ends.
func TestASetTakenUpAgainIsNeverCollected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	serves := w.watchServing(ingresses, "my-app")
	w.start(func(c *controllerConfig, _ *restConfig) { c.Grace = 0; c.Settings.Settle = 300 * time.Millisecond })
	for range 10 {
		w.on(ingresses, "my-app")
		serves.until(allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active))))
		w.off(ingresses, "my-app")
		w.until(ingresses, "my-app", "restored", restored)
	}
	w.untilClean()
}

func TestNothingIsCollectedWhileAKindCannotBeListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	refuse := &refusal{}
	w.start(refuse.wrap)
	w.on(ingresses, "my-app")
	set := allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active)))
	refuse.set(func(method, path string) bool { return method == "GET" && strings.HasSuffix(path, "/ingressroutes") })
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", restored)
	collected := make(chan struct{})
	go func() {
		if _, ok := w.reaches(t.Context(), configMaps, set, absent); ok {
			close(collected)
		}
	}()
	refuse.untilRefused(t, 3, collected) // it tried to confirm, again and again
	assert.NotEmpty(t, w.get(configMaps, set).GetUID())
	refuse.set(nil)
	w.untilClean()
}

func TestASetStaysForTheGracePeriod(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const grace = 5 * time.Second
	w.apply(ingress("my-app"))
	w.start(func(c *controllerConfig, _ *restConfig) { c.Grace = grace })
	w.on(ingresses, "my-app")
	set := allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active)))
	leaving := time.Now()
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", restored)
	w.until(configMaps, set, "its end", absent)
	assert.Greater(t, time.Since(leaving), grace)
	w.untilClean()
}

func TestADeletedSetComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.start()
	w.on(ingresses, "my-app")
	set := allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active)))
	for _, gvr := range []schemaGVR{services, configMaps} {
		uid := w.get(gvr, set).GetUID()
		require.NoError(t, w.dynamic.Resource(gvr).Namespace(w.namespace).Delete(t.Context(), set, metav1.DeleteOptions{}))
		w.until(gvr, set, "a new one", func(u *unstructured.Unstructured) bool { return u != nil && u.GetUID() != uid })
	}
	w.untilPods(2, func(p *unstructured.Unstructured) bool {
		return metav1.GetControllerOf(p).UID == w.get(configMaps, set).GetUID()
	})
}

func TestAChangedPageReachesRunningMaintenance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), ingressRoute("my-app"), customPage("spring", "page.html", "<h1>one</h1>"))
	serves := w.watchServing(ingresses, "my-app")
	w.start()
	both := map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "spring"}
	w.annotate(ingresses, "my-app", both)
	w.annotate(ingressRoutes, "my-app", both)
	w.until(ingressRoutes, "my-app", "active", state(annotations.Active))
	first := allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active)))
	serves.until(first)
	moved := func(u *unstructured.Unstructured) bool {
		return state(annotations.Active)(u) && u.GetAnnotations()[annotations.PageSet] != first
	}
	w.edit(configMaps, "page-spring", func(u *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(u.Object, "<h1>two</h1>", "data", "page.html"))
	})
	second := allOn(t, w.until(ingresses, "my-app", "on the new page", moved))
	w.until(ingressRoutes, "my-app", "on the new page", moved)
	html, _, _ := unstructured.NestedString(w.get(configMaps, second).Object, "data", "page.html")
	assert.Equal(t, "<h1>two</h1>", html)
	w.until(configMaps, first, "the end of the old set", absent)
	w.untilEvent("my-app", "PageChanged")

	// It breaks, and then it goes: the last good one stays, with a warning.
	w.edit(configMaps, "page-spring", func(u *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(u.Object, "200", "data", "status"))
	})
	assert.Contains(t, message(w.untilEvent("my-app", "PageNotFound")), "last good version")
	require.NoError(t, w.client.CoreV1().ConfigMaps(w.namespace).Delete(t.Context(), "page-spring", metav1.DeleteOptions{}))
	w.edit(ingresses, "my-app", func(u *unstructured.Unstructured) { // whatever makes it be looked at
		rules(u)[0].(map[string]any)["host"] = "z.example"
		u.SetAnnotations(merged(u.GetAnnotations(), map[string]string{"maintenance/poke": "1"}))
	})
	w.untilEvent("my-app", "UnknownAnnotation")
	assert.Equal(t, second, allOn(t, w.get(ingresses, "my-app")))
	serves.until(second)
}

func merged(a, b map[string]string) map[string]string {
	out := map[string]string{}
	for _, m := range []map[string]string{a, b} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

func TestWhosePageWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	elsewhere := func(name, key, text string) string {
		return strings.ReplaceAll(customPage(name, key, text), "metadata: {", "metadata: {namespace: "+w.own+", ")
	}
	w.apply(ingress("near"), ingress("far"), ingress("standard"),
		customPage("both", "page.html", "near"), elsewhere("both", "page.html", "far"), elsewhere("only-there", "page.html", "there"),
		customPage("default", "page.html", "an app team's default"), elsewhere("default", "page.txt", "the cluster's default"))
	w.start()
	for name, page := range map[string]any{"near": "both", "far": "only-there", "standard": nil} {
		w.annotate(ingresses, name, map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: page})
	}
	data := func(name, key string) string {
		set := allOn(t, w.until(ingresses, name, "active", state(annotations.Active)))
		text, _, _ := unstructured.NestedString(w.get(configMaps, set).Object, "data", key)
		return text
	}
	assert.Equal(t, "near", data("near", "page.html"), "the target's own namespace wins")
	assert.Equal(t, "there", data("far", "page.html"))
	assert.Equal(t, pages.Default().Bodies["page.en.html"], data("standard", "page.en.html"), "default is reserved to the controller's namespace")
	for _, name := range []string{"near", "far", "standard"} {
		assert.Equal(t, "the cluster's default", data(name, "page.txt"), "what is missing comes from the default page")
	}
}

func TestNamespacePagesCanBeSwitchedOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), customPage("spring", "page.html", "<h1>spring</h1>"))
	w.start(func(c *controllerConfig, _ *restConfig) { c.NamespacePages = false })
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "spring"})
	assert.Equal(t, defaultSet(), allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active))))
	assert.Contains(t, message(w.untilEvent("my-app", "PageNotFound")), w.own)
}

func TestOfTwoPagesTheOldestWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	older := customPage("spring", "page.html", "older")
	newer := strings.ReplaceAll(customPage("spring", "page.html", "newer"), "name: page-spring", "name: a-second-one")
	w.apply(ingress("my-app"), older)
	created := w.get(configMaps, "page-spring").GetCreationTimestamp()
	for time.Now().Before(created.Add(1100 * time.Millisecond)) { // creation times are whole seconds
		w.until(configMaps, "page-spring", "itself", exists)
	}
	w.apply(newer)
	w.start()
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "spring"})
	set := allOn(t, w.until(ingresses, "my-app", "active", state(annotations.Active)))
	html, _, _ := unstructured.NestedString(w.get(configMaps, set).Object, "data", "page.html")
	assert.Equal(t, "older", html)
	assert.Contains(t, message(w.untilEvent("a-second-one", "NameConflict")), "page-spring")
}
