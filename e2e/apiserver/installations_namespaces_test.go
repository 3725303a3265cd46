package apiserver

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	ids "maintenance-controller.io/pkg/installation"
)

// TestTwoInstallationsWithOwnNamespaces: each serves one namespace. If one of them is also
// given the other's namespace, it leaves the targets there alone and reports that.
func TestTwoInstallationsWithOwnNamespaces(t *testing.T) {
	t.Parallel()
	ours, theirs := newTestEnv(t), newTestEnv(t)
	both := func(c *controllerConfig, _ *restConfig) { c.Namespaces = []string{ours.namespace, theirs.namespace} }
	for _, env := range []*testEnv{ours, theirs} {
		env.apply(ingress("my-app"))
		env.enable(ingresses, "my-app")
	}
	ours.startController(withInstallation("blue"))
	red := theirs.startController(withInstallation("red"))
	for env, id := range map[*testEnv]string{ours: "blue", theirs: "red"} {
		u := env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
		assert.Equal(t, id, ids.Of(u))
		assert.Equal(t, setOfInstallation(id), requireOnPage(t, u))
		env.waitForPods(2, exists)
	}
	made, seen := ours.countPods(), ours.watchRevisions(ingresses, "my-app", func(*unstructured.Unstructured) {})
	red.stop()
	theirs.startController(withInstallation("red"), both)
	ours.waitForMessage("my-app", "InstallationConflict", `"blue"`)
	theirs.disable(ingresses, "my-app")
	assert.True(t, restoredTo(ingress("my-app"))(theirs.waitFor(ingresses, "my-app", "restored", restored)))
	theirs.waitForCleanup()
	assert.Equal(t, 1, seen(), "nobody writes to the other's target")
	assert.Equal(t, 2, made(), "the other's Pods are left alone")
	assert.Equal(t, setOfInstallation("blue"), requireOnPage(t, ours.get(ingresses, "my-app")))
	ours.disable(ingresses, "my-app")
	assert.True(t, restoredTo(ingress("my-app"))(ours.waitFor(ingresses, "my-app", "restored", restored)))
	ours.waitForCleanup()
}
