package apiserver

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/e2e/fakekubelet"
	"maintenance-controller.io/pkg/annotations"
)

// Failures around the controller are reported on the target, until their cause is gone.

func TestLostPageIsReported(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.startController()
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	env.apply("apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: none}\nspec: {hard: {pods: '0'}}\n")
	quotas := schemaGVR{Version: "v1", Resource: "resourcequotas"}
	env.waitFor(quotas, "none", "in force", func(u *unstructured.Unstructured) bool {
		hard, _, _ := unstructured.NestedString(u.Object, "status", "hard", "pods")
		return hard == "0"
	})
	for _, p := range env.list(pods, annotations.PageSetLabel) {
		require.NoError(t, env.dynamic.Resource(pods).Namespace(env.namespace).Delete(t.Context(), p.GetName(), metav1.DeleteOptions{}))
	}
	u := env.waitFor(ingresses, "my-app", "blocked", state(annotations.Blocked))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], "exceeded quota")
	assert.Contains(t, message(env.waitForEvent("my-app", "PageNotReady")), "does not serve")
	require.NoError(t, env.dynamic.Resource(quotas).Namespace(env.namespace).Delete(t.Context(), "none", metav1.DeleteOptions{}))
	env.waitFor(ingresses, "my-app", "active again", state(annotations.Active))
}

func TestFailingPodsAreRecreatedWithBackoff(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.startController(withImage(fakekubelet.ImageRefused))
	began := time.Now()
	made := env.countPods()
	env.enable(ingresses, "my-app")
	u := env.waitFor(ingresses, "my-app", "blocked", state(annotations.Blocked))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], "failed: Refused")
	for time.Since(began) < 6*time.Second {
		env.waitFor(ingresses, "my-app", "blocked", state(annotations.Blocked))
		<-after(100 * time.Millisecond)
	}
	rounds := 3 + math.Log2(1+time.Since(began).Seconds()) // at 0, 0, 1, 3, 7, 15 s
	assert.LessOrEqual(t, made(), 2*int(rounds), "0, 0, 1, 2, 4 s: two Pods each")
}

func TestEditedPageServiceIsRepaired(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.startController()
	env.enable(ingresses, "my-app")
	set := requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active)))
	env.edit(services, set, func(u *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedStringMap(u.Object, map[string]string{"app": "other"}, "spec", "selector"))
	})
	env.waitFor(services, set, "its selector", func(u *unstructured.Unstructured) bool {
		selector, _, _ := unstructured.NestedStringMap(u.Object, "spec", "selector")
		return selector[annotations.PageSetLabel] == set
	})
}

func TestQuotaBlocksAndIsReported(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: none}\nspec: {hard: {pods: '0'}}\n")
	env.waitFor(schemaGVR{Version: "v1", Resource: "resourcequotas"}, "none", "in force", func(u *unstructured.Unstructured) bool {
		hard, _, _ := unstructured.NestedString(u.Object, "status", "hard", "pods")
		return hard == "0"
	})
	before := spec(t, env.get(ingresses, "my-app"))
	env.startController()
	env.enable(ingresses, "my-app")
	u := env.waitFor(ingresses, "my-app", "blocked", state(annotations.Blocked))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], "exceeded quota")
	assert.Equal(t, before, spec(t, u), "the app is served")
	assert.Contains(t, message(env.waitForEvent("my-app", "PageNotReady")), "exceeded quota")
	require.NoError(t, env.dynamic.Resource(schemaGVR{Version: "v1", Resource: "resourcequotas"}).Namespace(env.namespace).Delete(t.Context(), "none", metav1.DeleteOptions{}))
	env.waitFor(ingresses, "my-app", "active, now that there is room", state(annotations.Active))
}

func TestLostPodsAreReplaced(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.startController()
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	env.waitForPods(2, anyPod) // it is active with one
	all := env.list(pods, annotations.PageSetLabel)
	require.Len(t, all, 2)
	// One is deleted, as by a drain. The other one fails, as after an eviction.
	require.NoError(t, env.dynamic.Resource(pods).Namespace(env.namespace).Delete(t.Context(), all[0].GetName(), metav1.DeleteOptions{}))
	failed := all[1].DeepCopy()
	require.NoError(t, unstructured.SetNestedField(failed.Object, "Failed", "status", "phase"))
	_, err := env.dynamic.Resource(pods).Namespace(env.namespace).UpdateStatus(t.Context(), failed, metav1.UpdateOptions{})
	require.NoError(t, err)
	for _, p := range all {
		env.waitFor(pods, p.GetName(), "deletion", absent)
	}
	env.waitForPods(2, anyPod)
}
