package apiserver

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// appPodManifest is a Pod that the Service of the manifests selects.
const appPodManifest = `
apiVersion: v1
kind: Pod
metadata: {name: my-app, labels: {app: shop, tier: web}}
spec:
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
    - {name: app, image: app, ports: [{name: https, containerPort: 8443}], securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}
`

// setAppReady sets whether the Pod is ready, in its status.
func (env *testEnv) setAppReady(is bool) {
	env.Helper()
	client := env.client.CoreV1().Pods(env.namespace)
	for {
		p, err := client.Get(env.Context(), "my-app", metav1.GetOptions{})
		require.NoError(env, err)
		for i := range p.Status.Conditions {
			if c := &p.Status.Conditions[i]; c.Type == corev1.PodReady {
				if c.Status = corev1.ConditionFalse; is {
					c.Status = corev1.ConditionTrue
				}
			}
		}
		if _, err = client.UpdateStatus(env.Context(), p, metav1.UpdateOptions{}); err == nil {
			return
		}
		require.True(env, isConflict(err), "%v", err)
	}
}

func (env *testEnv) runApp() {
	env.Helper()
	env.apply(appPodManifest)
	env.waitForEndpoints("my-app", 8443)
}

func automatic(pairs ...string) map[string]any {
	all := map[string]any{annotations.Auto: annotations.AutoBackends}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return all
}

// TestAutomaticMaintenance: an Ingress, and the Service that it leads to, start and end
// maintenance automatically. A controller that starts in between keeps what it finds.
func TestAutomaticMaintenance(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(simpleIngress("my-app"), service("my-app"))
	env.runApp()
	c := env.startController()
	env.annotate(ingresses, "my-app", automatic())
	env.annotate(services, "my-app", automatic())
	env.waitFor(configMaps, defaultSet(), "its page, kept ready", usedBy("Ingress/my-app,Service/my-app"))
	require.True(t, restoredTo(simpleIngress("my-app"))(env.get(ingresses, "my-app")), "and nothing else changes")

	env.setAppReady(false)
	env.waitFor(ingresses, "my-app", "automatic maintenance", onPage(1, annotations.Active))
	env.waitFor(services, "my-app", "automatic maintenance", onPage(1, annotations.Active))
	cause := fmt.Sprintf("Service %s/my-app has no ready endpoint", env.namespace)
	assert.Equal(t, "began automatically because "+cause, env.get(ingresses, "my-app").GetAnnotations()[annotations.Message])
	env.waitForMessage("my-app", "MaintenanceStarted", cause)

	var ended atomic.Bool
	seen := env.watchRevisions(ingresses, "my-app", func(u *unstructured.Unstructured) {
		slots, err := target.Ingress().Slots(u.Object)
		ended.Store(ended.Load() || err != nil || !swap.OnPage(slots))
	})
	c.stop()
	env.startController()
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true"})
	env.waitFor(ingresses, "my-app", "maintenance by a person", func(u *unstructured.Unstructured) bool {
		return u.GetAnnotations()[annotations.Cause] == "" && state(annotations.Active)(u)
	})
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: nil})
	env.waitFor(ingresses, "my-app", "automatic maintenance again", func(u *unstructured.Unstructured) bool {
		return u.GetAnnotations()[annotations.Cause] != ""
	})
	assert.Positive(t, seen())
	assert.False(t, ended.Load(), "visitors had the page all the time")

	env.setAppReady(true)
	env.waitFor(ingresses, "my-app", "automatic end", restoredTo(simpleIngress("my-app")))
	env.waitFor(services, "my-app", "automatic end", and(restored, leadsToApp(service("my-app"))))
	env.waitFor(services, originOf("my-app"), "deletion", absent)
	env.waitForMessage("my-app", "MaintenanceEnded", "it began automatically")
	assert.True(t, usedBy("Ingress/my-app,Service/my-app")(env.get(configMaps, defaultSet())), "kept ready for the next time")

	// Removing the annotation and deleting the Service leaves nothing behind.
	env.annotate(ingresses, "my-app", map[string]any{annotations.Auto: nil})
	require.NoError(t, env.dynamic.Resource(services).Namespace(env.namespace).Delete(t.Context(), "my-app", metav1.DeleteOptions{}))
	env.waitForCleanup()
	assert.Empty(t, env.get(ingresses, "my-app").GetAnnotations())
}

// TestRestoreWaitsForTheApp at the end of maintenance, even if the controller restarts. The
// restore command does not wait.
func TestRestoreWaitsForTheApp(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(simpleIngress("my-app"), service("my-app"), simpleIngress("by-hand"), simpleIngress("bounded"))
	c := env.startController()
	for name, timeout := range map[string]any{"my-app": "1h", "by-hand": nil, "bounded": "1s"} {
		env.annotate(ingresses, name, map[string]any{annotations.DefaultEnabled: "true", annotations.RestoreWhen: annotations.RestoreReady, annotations.RestoreTimeout: timeout})
		env.waitFor(ingresses, name, "active", state(annotations.Active))
		env.annotate(ingresses, name, map[string]any{annotations.DefaultEnabled: nil})
	}
	for _, name := range []string{"my-app", "by-hand"} {
		env.waitFor(ingresses, name, "restoring", and(onPage(1, annotations.Restoring), func(u *unstructured.Unstructured) bool {
			return strings.Contains(u.GetAnnotations()[annotations.Message], fmt.Sprintf("Service %s/my-app is ready: it has no ready endpoint", env.namespace))
		}))
	}
	env.waitFor(ingresses, "bounded", "the app, ready or not", restoredTo(simpleIngress("bounded")))
	env.waitForEvent("bounded", "RestoreTimedOut")

	code, out := env.restoreCommand("ingress/by-hand", "-n", env.namespace)
	require.Equal(t, 0, code, out)
	require.True(t, restoredTo(simpleIngress("by-hand"))(env.get(ingresses, "by-hand")))

	since := env.get(ingresses, "my-app").GetAnnotations()[annotations.RestoringSince]
	c.stop()
	env.startController()
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true"})
	env.waitFor(ingresses, "my-app", "on again", onPage(1, annotations.Active))
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "false"})
	u := env.waitFor(ingresses, "my-app", "restoring again", onPage(1, annotations.Restoring))
	assert.GreaterOrEqual(t, u.GetAnnotations()[annotations.RestoringSince], since)
	env.runApp()
	env.waitFor(ingresses, "my-app", "the app", restoredTo(simpleIngress("my-app")))
}

// TestAutomaticMaintenanceByServiceChecker: maintenance follows the critical services of a
// ServiceChecker. It ends with a Warning when the ServiceChecker is deleted.
func TestAutomaticMaintenanceByServiceChecker(t *testing.T) {
	t.Parallel()
	installCheckers(t, plane)
	env := newTestEnv(t)
	env.createApp("db")
	env.createApp("cache")
	env.apply(simpleIngress("my-app"), serviceChecker("shop", "{services: [{name: db, critical: true}, {name: cache}], for: 0s, recoverFor: 1s}"))
	running := env.startCheckers()
	env.waitFor(checkers, "shop", "both up", and(checkerCondition("Available", "True"), checkerCondition("Degraded", "False")))
	env.startController(func(c *controllerConfig, _ *restConfig) { c.Checkers = running.Registry })
	env.annotate(ingresses, "my-app", map[string]any{annotations.Auto: annotations.AutoChecker, annotations.Checker: "shop"})
	env.waitFor(configMaps, defaultSet(), "its page, kept ready", usedBy("Ingress/my-app"))
	env.removeFromService("cache")
	env.waitFor(checkers, "shop", "degraded", checkerCondition("Degraded", "True"))
	require.True(t, restoredTo(simpleIngress("my-app"))(env.get(ingresses, "my-app")), "a service that is not critical starts nothing")

	env.removeFromService("db")
	u := env.waitFor(ingresses, "my-app", "automatic maintenance", onPage(1, annotations.Active))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], fmt.Sprintf("Service %s/db", env.namespace))
	env.createAppPod("db")
	env.waitFor(ingresses, "my-app", "automatic end", restoredTo(simpleIngress("my-app")))

	env.removeFromService("db")
	env.waitFor(ingresses, "my-app", "automatic maintenance again", onPage(1, annotations.Active))
	require.NoError(t, env.dynamic.Resource(checkers).Namespace(env.namespace).Delete(t.Context(), "shop", metav1.DeleteOptions{}))
	env.waitForMessage("my-app", "ReadinessUnknown", "there is no ServiceChecker")
	env.waitFor(ingresses, "my-app", "restored, since the checker is gone", restoredTo(simpleIngress("my-app")))
}
