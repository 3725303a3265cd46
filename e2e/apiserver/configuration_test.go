package apiserver

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/e2e/fakekubelet"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

func TestIngressClass(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("mine"), strings.Replace(ingress("other"), "ingressClassName: traefik", "ingressClassName: nginx", 1),
		strings.Replace(ingress("none"), "ingressClassName: traefik", "", 1), ingressRoute("my-route"))
	env.startController(func(c *controllerConfig, _ *restConfig) { c.Classes = []string{"traefik"} })
	for _, name := range []string{"other", "none", "mine"} {
		env.enable(ingresses, name)
	}
	env.enable(ingressRoutes, "my-route")
	env.waitFor(ingresses, "mine", "active", state(annotations.Active))
	env.waitFor(ingressRoutes, "my-route", "active", state(annotations.Active))
	for _, name := range []string{"other", "none"} {
		assert.True(t, restored(env.get(ingresses, name)), name)
	}
}

func TestRestoreAfterTheClassIsNoLongerServed(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	c := env.startController()
	env.enable(ingresses, "my-app")
	set := requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active)))
	c.stop()
	env.startController(func(c *controllerConfig, _ *restConfig) { c.Classes = []string{"nginx"} })
	env.waitFor(configMaps, set, "its user in used-by", usedBy("Ingress/my-app"))
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restored)
	env.waitForCleanup()
}

// TestClassChangedWhilePending: everything that was begun is undone, also the claim on the
// page set.
func TestClassChangedWhilePending(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(withClass("my-app", "nginx"), withClass("stays", "nginx"))
	env.startController(withImage(fakekubelet.ImagePending), func(c *controllerConfig, _ *restConfig) { c.Classes = []string{"nginx"} })
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "pending", state(annotations.Pending))
	env.edit(ingresses, "my-app", func(u *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(u.Object, "alb", "spec", "ingressClassName"))
	})
	u := env.waitFor(ingresses, "my-app", "restored", restored)
	assert.Equal(t, "true", u.GetAnnotations()[annotations.DefaultEnabled], "people's annotations stay")
	env.waitForCleanup()
}

func TestOnlyConfiguredKindsAreTargets(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), ingressRoute("my-route"))
	env.startController(func(c *controllerConfig, _ *restConfig) { c.Kinds = []target.Kind{target.Ingress()} })
	env.enable(ingressRoutes, "my-route")
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	assert.True(t, restored(env.get(ingressRoutes, "my-route")))
}

func TestConfiguredAnnotationKeys(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.startController(func(c *controllerConfig, _ *restConfig) {
		c.Keys = annotations.Keys{Enabled: "maintenance-operator/on", EnabledValue: "yes", CustomPage: "maintenance-operator/page"}
	})
	env.annotate(ingresses, "my-app", map[string]any{"maintenance-operator/on": "yes"})
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	env.annotate(ingresses, "my-app", map[string]any{"maintenance-operator/on": nil})
	env.waitFor(ingresses, "my-app", "restored", restored)
}

// TestNamespaceListedTwice: a namespace that is listed twice shows each Pod once.
func TestNamespaceListedTwice(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	made := env.countPods()
	startProcess(t, plane.Kubeconfig(), "--watch-namespaces="+env.namespace+","+env.namespace, "--targets=Ingress,ingress", "--namespace="+env.controllerNamespace, "--leader-elect=false", "--page-replicas=1")
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // a controller that sees Pods twice would delete and create some in this time
	defer cancel()
	_, _ = env.tryWaitForPods(ctx, -1, exists)
	assert.Equal(t, 1, made())
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restored)
	env.waitForCleanup()
	_, err := env.client.CoreV1().ConfigMaps(env.namespace).Get(t.Context(), defaultSet(), metav1.GetOptions{})
	assert.Error(t, err)
}
