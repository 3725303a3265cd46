package apiserver

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/annotations"
)

func TestChangedPageReachesActiveTargets(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), ingressRoute("my-app"), customPage("spring", "page.html", "<h1>one</h1>"))
	serves := env.checkServing(ingresses, "my-app")
	env.startController()
	both := map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "spring"}
	env.annotate(ingresses, "my-app", both)
	env.annotate(ingressRoutes, "my-app", both)
	env.waitFor(ingressRoutes, "my-app", "active", state(annotations.Active))
	first := requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active)))
	serves.waitForCheckOf(first)
	moved := func(u *unstructured.Unstructured) bool {
		return state(annotations.Active)(u) && u.GetAnnotations()[annotations.PageSet] != first
	}
	env.edit(configMaps, "page-spring", func(u *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(u.Object, "<h1>two</h1>", "data", "page.html"))
	})
	second := requireOnPage(t, env.waitFor(ingresses, "my-app", "on the new page", moved))
	env.waitFor(ingressRoutes, "my-app", "on the new page", moved)
	html, _, _ := unstructured.NestedString(env.get(configMaps, second).Object, "data", "page.html")
	assert.Equal(t, "<h1>two</h1>", html)
	env.waitFor(configMaps, first, "deletion of the old set", absent)
	env.waitForEvent("my-app", "PageChanged")

	// If the page becomes invalid or is deleted, the last good version stays, with a Warning.
	env.edit(configMaps, "page-spring", func(u *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(u.Object, "200", "data", "status"))
	})
	assert.Contains(t, message(env.waitForEvent("my-app", "PageNotFound")), "last good version")
	require.NoError(t, env.client.CoreV1().ConfigMaps(env.namespace).Delete(t.Context(), "page-spring", metav1.DeleteOptions{}))
	env.edit(ingresses, "my-app", func(u *unstructured.Unstructured) { // any change, so that it is reconciled
		rules(u)[0].(map[string]any)["host"] = "z.example"
		u.SetAnnotations(merged(u.GetAnnotations(), map[string]string{"maintenance/poke": "1"}))
	})
	env.waitForEvent("my-app", "UnknownAnnotation")
	assert.Equal(t, second, requireOnPage(t, env.get(ingresses, "my-app")))
	serves.waitForCheckOf(second)
}

func TestPagePrecedence(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	elsewhere := func(name, key, text string) string {
		return strings.ReplaceAll(customPage(name, key, text), "metadata: {", "metadata: {namespace: "+env.controllerNamespace+", ")
	}
	env.apply(ingress("near"), ingress("far"), ingress("standard"),
		customPage("both", "page.html", "near"), elsewhere("both", "page.html", "far"), elsewhere("only-there", "page.html", "there"),
		customPage("default", "page.html", "an app team's default"), elsewhere("default", "page.txt", "the cluster's default"))
	env.startController()
	for name, page := range map[string]any{"near": "both", "far": "only-there", "standard": nil} {
		env.annotate(ingresses, name, map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: page})
	}
	data := func(name, key string) string {
		set := requireOnPage(t, env.waitFor(ingresses, name, "active", state(annotations.Active)))
		text, _, _ := unstructured.NestedString(env.get(configMaps, set).Object, "data", key)
		return text
	}
	assert.Equal(t, "near", data("near", "page.html"), "the target's own namespace wins")
	assert.Equal(t, "there", data("far", "page.html"))
	assert.Equal(t, pages.Default().Bodies["page.en.html"], data("standard", "page.en.html"), "only the controller's namespace can have a page default")
	for _, name := range []string{"near", "far", "standard"} {
		assert.Equal(t, "the cluster's default", data(name, "page.txt"), "missing formats come from the default page")
	}
}

func TestNamespacePagesCanBeDisabled(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), customPage("spring", "page.html", "<h1>spring</h1>"))
	env.startController(func(c *controllerConfig, _ *restConfig) { c.NamespacePages = false })
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "spring"})
	assert.Equal(t, defaultSet(), requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active))))
	assert.Contains(t, message(env.waitForEvent("my-app", "PageNotFound")), env.controllerNamespace)
}

func TestOldestOfTwoPagesWins(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	older := customPage("spring", "page.html", "older")
	newer := strings.ReplaceAll(customPage("spring", "page.html", "newer"), "name: page-spring", "name: a-second-one")
	env.apply(ingress("my-app"), older)
	created := env.get(configMaps, "page-spring").GetCreationTimestamp()
	for time.Now().Before(created.Add(1100 * time.Millisecond)) { // creation times are in whole seconds
		env.waitFor(configMaps, "page-spring", "existence", exists)
	}
	env.apply(newer)
	env.startController()
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "spring"})
	set := requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active)))
	html, _, _ := unstructured.NestedString(env.get(configMaps, set).Object, "data", "page.html")
	assert.Equal(t, "older", html)
	assert.Contains(t, message(env.waitForEvent("a-second-one", "NameConflict")), "page-spring")
}
