package apiserver

import (
	"fmt"
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

// plain is an Ingress whose only backend is a Service that can be judged.
func plain(name string) string {
	return fmt.Sprintf(`
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: %s
spec:
  rules:
    - host: a.example
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: my-app, port: {number: 80}}}}]}
`, name)
}

// appPod is one of those that service selects.
const appPod = `
apiVersion: v1
kind: Pod
metadata: {name: my-app, labels: {app: shop, tier: web}}
spec:
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
    - {name: app, image: app, ports: [{name: https, containerPort: 8443}], securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}
`

// ready says in the Pod's status whether it is.
func (w *world) ready(is bool) {
	w.Helper()
	client := w.client.CoreV1().Pods(w.namespace)
	for {
		p, err := client.Get(w.Context(), "my-app", metav1.GetOptions{})
		require.NoError(w, err)
		for i := range p.Status.Conditions {
			if c := &p.Status.Conditions[i]; c.Type == corev1.PodReady {
				if c.Status = corev1.ConditionFalse; is {
					c.Status = corev1.ConditionTrue
				}
			}
		}
		if _, err = client.UpdateStatus(w.Context(), p, metav1.UpdateOptions{}); err == nil {
			return
		}
		require.True(w, isConflict(err), "%v", err)
	}
}

func (w *world) appRuns() {
	w.Helper()
	w.apply(appPod)
	w.until(pods, "my-app", "running", func(u *unstructured.Unstructured) bool {
		ip, _, _ := unstructured.NestedString(u.Object, "status", "podIP")
		return ip != ""
	})
}

func byItself(pairs ...string) map[string]any {
	all := map[string]any{annotations.Auto: annotations.AutoBackends}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return all
}

// TestByItself has an Ingress and the very Service that it leads to go into maintenance
// by themselves, and back. A controller that starts meanwhile holds what it finds.
func TestByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(plain("my-app"), service("my-app"))
	w.appRuns()
	c := w.start()
	w.annotate(ingresses, "my-app", byItself())
	w.annotate(services, "my-app", byItself())
	w.until(configMaps, defaultSet(), "its page kept ready", usedBy("Ingress/my-app,Service/my-app"))
	require.True(t, specIs(plain("my-app"))(w.get(ingresses, "my-app")), "and nothing else")

	w.ready(false)
	w.until(ingresses, "my-app", "maintenance by itself", onSet(1, annotations.Active))
	w.until(services, "my-app", "maintenance by itself", onSet(1, annotations.Active))
	cause := fmt.Sprintf("Service %s/my-app has no ready endpoint", w.namespace)
	assert.Equal(t, "by itself, since "+cause, w.get(ingresses, "my-app").GetAnnotations()[annotations.Message])
	w.untilTold("my-app", "MaintenanceStarted", cause)

	var ended atomic.Bool
	seen := w.watchRevisions(ingresses, "my-app", func(u *unstructured.Unstructured) {
		slots, err := target.Ingress().Slots(u.Object)
		ended.Store(ended.Load() || err != nil || !swap.OnPage(slots))
	})
	c.stop()
	w.start()
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true"})
	w.until(ingresses, "my-app", "a person's maintenance", func(u *unstructured.Unstructured) bool {
		return u.GetAnnotations()[annotations.Cause] == "" && state(annotations.Active)(u)
	})
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: nil})
	w.until(ingresses, "my-app", "maintenance by itself again", func(u *unstructured.Unstructured) bool {
		return u.GetAnnotations()[annotations.Cause] != ""
	})
	assert.Positive(t, seen())
	assert.False(t, ended.Load(), "visitors have had the page all the time")

	w.ready(true)
	w.until(ingresses, "my-app", "its end by itself", specIs(plain("my-app")))
	w.until(services, "my-app", "its end by itself", and(restored, leadsToApp(service("my-app"))))
	w.until(services, originOf("my-app"), "its end", absent)
	w.untilTold("my-app", "MaintenanceEnded", "it began by itself")
	assert.True(t, usedBy("Ingress/my-app,Service/my-app")(w.get(configMaps, defaultSet())), "kept ready for the next time")

	// Whatever is taken off or goes leaves nothing.
	w.annotate(ingresses, "my-app", map[string]any{annotations.Auto: nil})
	require.NoError(t, w.dynamic.Resource(services).Namespace(w.namespace).Delete(t.Context(), "my-app", metav1.DeleteOptions{}))
	w.untilClean()
	assert.Empty(t, w.get(ingresses, "my-app").GetAnnotations())
}

// TestTheAppIsWaitedFor at the end of maintenance, through a restart; and not by the
// restore command.
func TestTheAppIsWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(plain("my-app"), service("my-app"), plain("by-hand"), plain("bounded"))
	c := w.start()
	for name, timeout := range map[string]any{"my-app": "1h", "by-hand": nil, "bounded": "1s"} {
		w.annotate(ingresses, name, map[string]any{annotations.DefaultEnabled: "true", annotations.RestoreWhen: annotations.RestoreReady, annotations.RestoreTimeout: timeout})
		w.until(ingresses, name, "active", state(annotations.Active))
		w.annotate(ingresses, name, map[string]any{annotations.DefaultEnabled: nil})
	}
	for _, name := range []string{"my-app", "by-hand"} {
		u := w.until(ingresses, name, "restoring", onSet(1, annotations.Restoring))
		assert.Contains(t, u.GetAnnotations()[annotations.Message], fmt.Sprintf("Service %s/my-app is ready, which has no ready endpoint", w.namespace))
	}
	w.until(ingresses, "bounded", "the app, whatever it says", specIs(plain("bounded")))
	w.untilEvent("bounded", "RestoreTimedOut")

	code, out := w.restoreCommand("ingress/by-hand", "-n", w.namespace)
	require.Equal(t, 0, code, out)
	require.True(t, specIs(plain("by-hand"))(w.get(ingresses, "by-hand")))

	since := w.get(ingresses, "my-app").GetAnnotations()[annotations.RestoringSince]
	c.stop()
	w.start()
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true"})
	w.until(ingresses, "my-app", "on again", onSet(1, annotations.Active))
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "false"})
	u := w.until(ingresses, "my-app", "restoring again", onSet(1, annotations.Restoring))
	assert.GreaterOrEqual(t, u.GetAnnotations()[annotations.RestoringSince], since)
	w.appRuns()
	w.until(ingresses, "my-app", "the app", specIs(plain("my-app")))
}

// TestByWhatACheckerSays: maintenance follows the critical services of a ServiceChecker, and
// ends when that is deleted, with a Warning.
func TestByWhatACheckerSays(t *testing.T) {
	t.Parallel()
	installCheckers(t, plane)
	w := newWorld(t)
	w.app("db")
	w.app("cache")
	w.apply(plain("my-app"), serviceChecker("shop", "{services: [{name: db, critical: true}, {name: cache}], for: 0s, recoverFor: 1s}"))
	says := w.startCheckers()
	w.start(func(c *controllerConfig, _ *restConfig) { c.Checkers = says.Registry })
	w.annotate(ingresses, "my-app", map[string]any{annotations.Auto: annotations.AutoChecker, annotations.Checker: "shop"})
	w.until(configMaps, defaultSet(), "its page kept ready", usedBy("Ingress/my-app"))
	w.leavesApp("cache")
	w.until(checkers, "shop", "degraded", checkerSees("Degraded", "True"))
	require.True(t, specIs(plain("my-app"))(w.get(ingresses, "my-app")), "what is not critical begins nothing")

	w.leavesApp("db")
	u := w.until(ingresses, "my-app", "maintenance by itself", onSet(1, annotations.Active))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], fmt.Sprintf("Service %s/db", w.namespace))
	w.appPod("db")
	w.until(ingresses, "my-app", "its end by itself", specIs(plain("my-app")))

	w.leavesApp("db")
	w.until(ingresses, "my-app", "maintenance again", onSet(1, annotations.Active))
	require.NoError(t, w.dynamic.Resource(checkers).Namespace(w.namespace).Delete(t.Context(), "shop", metav1.DeleteOptions{}))
	w.untilTold("my-app", "BackendNotJudged", "there is no ServiceChecker")
	w.until(ingresses, "my-app", "its end, for the checker is gone", specIs(plain("my-app")))
}
