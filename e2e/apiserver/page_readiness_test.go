package apiserver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/e2e/fakekubelet"
	"maintenance-controller.io/pkg/annotations"
)

func TestNoSwapToAPageThatDoesNotServe(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), customPage("spring", "page.html", "<h1>spring</h1>"))
	before := spec(t, env.get(ingresses, "my-app"))
	c := env.startController(withImage(fakekubelet.ImagePending))
	env.enable(ingresses, "my-app")
	u := env.waitFor(ingresses, "my-app", "pending", state(annotations.Pending))
	assert.Equal(t, before, spec(t, u), "the app is served")
	c.stop()

	serves := env.checkServing(ingresses, "my-app")
	c = env.startController()
	first := requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active)))
	serves.waitForCheckOf(first)
	c.stop()

	// The next page does not start: visitors keep the current one.
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultCustomPage: "spring"})
	env.startController(withImage(fakekubelet.ImagePullFails))
	assert.Contains(t, message(env.waitForEvent("my-app", "PageNotReady")), "ImagePullBackOff")
	assert.Equal(t, first, requireOnPage(t, env.get(ingresses, "my-app")))
}

func TestReadyTimeoutSwapsToAnUnreadyPage(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.startController(withImage(fakekubelet.ImagePending), func(c *controllerConfig, _ *restConfig) { c.Settings.ReadyTimeout = 300 * time.Millisecond })
	env.enable(ingresses, "my-app")
	requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active)))
}

func TestTemplateChangeStartsNewPodsFirst(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	c := env.startController()
	env.enable(ingresses, "my-app")
	set := requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active)))
	assert.Len(t, env.list(budgets, ""), 1)
	immutable, _, _ := unstructured.NestedBool(env.get(configMaps, set).Object, "immutable")
	assert.True(t, immutable)
	for _, p := range env.list(pods, annotations.PageSetLabel) {
		owner := metav1.GetControllerOf(&p)
		require.NotNil(t, owner, "kubectl drain requires a controller")
		assert.Equal(t, "ConfigMap", owner.Kind)
	}
	env.waitForPods(2, anyPod) // it is active with one
	c.stop()
	fewest := env.fewestReadyPods()
	env.startController(func(c *controllerConfig, _ *restConfig) {
		c.Template.Labels = map[string]string{"team": "web"}
		c.Template.Service.Type = "NodePort"
	})
	env.waitForPods(2, func(p *unstructured.Unstructured) bool { return p.GetLabels()["team"] == "web" })
	env.waitFor(services, set, "its new type", func(u *unstructured.Unstructured) bool {
		kind, _, _ := unstructured.NestedString(u.Object, "spec", "type")
		return kind == "NodePort"
	})
	assert.Equal(t, 2, fewest(), "there were always two ready Pods")
}

func TestPageChangeNeverPointsAtAMissingService(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(`
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: my-app}
spec: {defaultBackend: {service: {name: app, port: {number: 80}}}}
`, customPage("spring", "page.html", "<h1>spring</h1>"))
	serves := env.checkServing(ingresses, "my-app")
	env.startController()
	env.enable(ingresses, "my-app")
	first := requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active)))
	serves.waitForCheckOf(first)
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultCustomPage: "spring"})
	env.waitFor(ingresses, "my-app", "another set", func(u *unstructured.Unstructured) bool {
		return u.GetAnnotations()[annotations.PageSet] != first
	})
	env.waitFor(services, first, "deletion of the old set", absent)
	serves.waitForCheckOf(requireOnPage(t, env.get(ingresses, "my-app")))
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restored)
}
