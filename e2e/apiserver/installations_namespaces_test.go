package apiserver

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	ids "maintenance-controller.io/pkg/installation"
)

// TestTwoInstallationsByNamespaces serve one each. When one of them is told to serve the
// other's namespace as well, it leaves what is in maintenance there, and says so.
func TestTwoInstallationsByNamespaces(t *testing.T) {
	t.Parallel()
	ours, theirs := newWorld(t), newWorld(t)
	both := func(c *controllerConfig, _ *restConfig) { c.Namespaces = []string{ours.namespace, theirs.namespace} }
	for _, w := range []*world{ours, theirs} {
		w.apply(ingress("my-app"))
		w.on(ingresses, "my-app")
	}
	ours.start(of("blue"))
	red := theirs.start(of("red"))
	for w, id := range map[*world]string{ours: "blue", theirs: "red"} {
		u := w.until(ingresses, "my-app", "active", state(annotations.Active))
		assert.Equal(t, id, ids.Of(u))
		assert.Equal(t, set(id), allOn(t, u))
		w.untilPods(2, exists)
	}
	made, seen := ours.countPods(), ours.watchRevisions(ingresses, "my-app", func(*unstructured.Unstructured) {})
	red.stop()
	theirs.start(of("red"), both)
	ours.untilTold("my-app", "ForeignInstallation", `"blue"`)
	theirs.off(ingresses, "my-app")
	assert.True(t, specIs(ingress("my-app"))(theirs.until(ingresses, "my-app", "restored", restored)))
	theirs.untilClean()
	assert.Equal(t, 1, seen(), "nobody writes what the other has in maintenance")
	assert.Equal(t, 2, made(), "and its Pods are left alone")
	assert.Equal(t, set("blue"), allOn(t, ours.get(ingresses, "my-app")))
	ours.off(ingresses, "my-app")
	assert.True(t, specIs(ingress("my-app"))(ours.until(ingresses, "my-app", "restored", restored)))
	ours.untilClean()
}
