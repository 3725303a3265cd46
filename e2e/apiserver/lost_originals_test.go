package apiserver

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/target"
)

func TestEitherCopyOfTheOriginalsIsEnough(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("no-backup"), ingress("no-annotation"), ingress("stripped"))
	before := spec(t, env.get(ingresses, "no-backup"))
	c := env.startController()
	names := []string{"no-backup", "no-annotation", "stripped"}
	for _, name := range names {
		env.enable(ingresses, name)
	}
	for _, name := range names {
		env.waitFor(ingresses, name, "active", state(annotations.Active))
	}
	c.stop()
	require.NoError(t, env.client.CoreV1().ConfigMaps(env.namespace).Delete(t.Context(), backup.Name(target.Ref{Kind: "Ingress", Namespace: env.namespace, Name: "no-backup"}), metav1.DeleteOptions{}))
	env.annotate(ingresses, "no-annotation", map[string]any{annotations.Original: nil, annotations.DefaultEnabled: nil})
	env.disable(ingresses, "no-backup")
	// All annotations were removed while no controller ran: only the backup and the used-by
	// record are left.
	env.edit(ingresses, "stripped", func(u *unstructured.Unstructured) { u.SetAnnotations(nil) })
	env.startController()
	for _, name := range names {
		assert.Equal(t, before, spec(t, env.waitFor(ingresses, name, "restored", restored)), name)
	}
	env.waitForCleanup()
}

func TestRenamedHostGetsItsBackendBack(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	c := env.startController()
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	c.stop() // so that it does not see the edits one by one
	env.edit(ingresses, "my-app", func(u *unstructured.Unstructured) {
		list := rules(u)
		list[0].(map[string]any)["host"] = "renamed.example"
		require.NoError(t, unstructured.SetNestedSlice(u.Object, []any{list[1], list[0]}, "spec", "rules"))
	})
	env.disable(ingresses, "my-app")
	env.startController()
	want := env.parse(ingress("x"))
	list := rules(want)
	list[0].(map[string]any)["host"] = "renamed.example"
	require.NoError(t, unstructured.SetNestedSlice(want.Object, []any{list[1], list[0]}, "spec", "rules"))
	assert.Equal(t, spec(t, want), spec(t, env.waitFor(ingresses, "my-app", "restored", restored)))
}

func TestLostBackendIsReportedAndKeepsItsPage(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	c := env.startController()
	env.enable(ingresses, "my-app")
	set := requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active)))
	c.stop()
	ref := target.Ref{Kind: "Ingress", Namespace: env.namespace, Name: "my-app"}
	env.allowLoss(ref)
	require.NoError(t, env.client.CoreV1().ConfigMaps(env.namespace).Delete(t.Context(), backup.Name(ref), metav1.DeleteOptions{}))
	env.annotate(ingresses, "my-app", map[string]any{annotations.Original: nil, annotations.DefaultEnabled: nil})
	c = env.startController()
	env.waitFor(ingresses, "my-app", "blocked", state(annotations.Blocked))
	assert.Contains(t, message(env.waitForEvent("my-app", "BackendLost")), "no original backend is known")
	assert.Equal(t, map[string]int{"Ingress": 1}, c.Snapshot().Unrestored, "the metric of the alert")
	env.waitFor(configMaps, set, "its user in used-by", usedBy("Ingress/my-app"))
	// A person restores the backends, and the controller does the rest.
	env.edit(ingresses, "my-app", func(u *unstructured.Unstructured) { u.Object["spec"] = env.parse(ingress("x")).Object["spec"] })
	env.waitFor(ingresses, "my-app", "restored", restored)
	env.waitForCleanup()
	assert.Empty(t, c.Snapshot().Unrestored)
}

// TestCopyOfATargetKeepsItsPage: a copy of a target in maintenance, without the
// controller's annotations, leads to the page although no watch shows it.
func TestCopyOfATargetKeepsItsPage(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.startController()
	env.enable(ingresses, "my-app")
	u := env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	set := requireOnPage(t, u)
	theirs := env.parse(ingress("copy"))
	theirs.Object["spec"] = u.Object["spec"]
	env.allowLoss(target.Ref{Kind: "Ingress", Namespace: env.namespace, Name: "copy"})
	_, err := env.dynamic.Resource(ingresses).Namespace(env.namespace).Create(t.Context(), theirs, metav1.CreateOptions{})
	require.NoError(t, err)
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restored)
	// At the end of the grace period the controller asks the API server who still uses the set.
	assert.Contains(t, message(env.waitForEvent("copy", "BackendLost")), "no original backend is known")
	env.waitFor(configMaps, set, "its user in used-by", usedBy("Ingress/copy"))
	env.waitFor(ingresses, "copy", "blocked", state(annotations.Blocked))
	// A person sets its backends, and the controller does the rest.
	env.edit(ingresses, "copy", func(u *unstructured.Unstructured) { u.Object["spec"] = env.parse(ingress("x")).Object["spec"] })
	env.waitFor(ingresses, "copy", "restored", restored)
	env.waitForCleanup()
}
