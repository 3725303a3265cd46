package apiserver

import (
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/fakekubelet"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/checker"
)

// TestServiceCheckerLifecycle: the schema refuses invalid objects with a message, defaults
// are stored, a change is in the status within a second, kubectl shows it as a table, and a
// checker that does not change is not written.
func TestServiceCheckerLifecycle(t *testing.T) {
	t.Parallel()
	installCheckers(t, plane)
	env := newTestEnv(t)
	c := env.startCheckers()
	env.requireBadCheckersRefused()
	document, err := os.ReadFile("../../docs/checker.md")
	require.NoError(t, err)
	example := regexp.MustCompile("(?s)<!-- tested: checker -->\n```yaml\n(.*?)```").FindSubmatch(document)
	require.NotNil(t, example, "docs/checker.md has an example")
	env.apply(string(example[1]))
	env.waitFor(checkers, "shop", "its status", checkerCondition("Degraded", "True"))
	require.NoError(t, env.dynamic.Resource(checkers).Namespace(env.namespace).Delete(t.Context(), "shop", metav1.DeleteOptions{}))

	env.createApp("web")
	env.apply(serviceChecker("mine", "{for: 1s, recoverFor: 1s, services: [{name: web, critical: true}, {name: db}]}"))
	u := env.waitFor(checkers, "mine", "web up", checkerCondition("Available", "True"))
	first := serviceStatus(u, 0)
	assert.Equal(t, env.namespace, first["namespace"])
	env.waitFor(checkers, "mine", "db down", checkerCondition("Degraded", "True"))
	spec, _, _ := unstructured.NestedMap(u.Object, "spec")
	assert.Equal(t, map[string]any{
		"for": "1s", "recoverFor": "1s", "services": []any{
			map[string]any{"name": "web", "namespace": "", "critical": true, "minReady": int64(1)},
			map[string]any{"name": "db", "namespace": "", "critical": false, "minReady": int64(1)},
		},
	}, spec, "what is not given has its default")
	assert.EqualValues(t, 1, conditionOf(u, "Available")["observedGeneration"])

	env.requireStatusSoon(2, func() { env.createAppPod("web") }, firstServiceIs("readyEndpoints", int64(2)))
	env.requireStatusSoon(1, func() { env.removeFromService("web") }, firstServiceIs("readyEndpoints", int64(1)))
	env.requireStatusSoon(0, func() { env.removeFromService("web") }, firstServiceIs("ready", false))
	env.waitFor(checkers, "mine", "web counted as down", checkerCondition("Available", "False"))
	env.waitForMessage("mine", "CriticalServiceDown", "Service "+env.namespace+"/web has no endpoints")
	assert.Equal(t, [][]string{{"NAME", "AVAILABLE", "DEGRADED", "READY", "AGE"}, {"mine", "False", "True", "0/2"}}, env.kubectlColumns("mine"))
	env.requireStatusSoon(1, func() { env.createAppPod("web") }, firstServiceIs("ready", true))
	env.waitFor(checkers, "mine", "web counted as up", checkerCondition("Available", "True"))
	env.waitForMessage("mine", "CriticalServiceUp", "")
	env.requireTerminatingPodServes()
	env.edit(checkers, "mine", func(u *unstructured.Unstructured) {
		require.NoError(env, unstructured.SetNestedField(u.Object, "2s", "spec", "for"))
	})
	env.waitFor(checkers, "mine", "the second generation in its status", func(u *unstructured.Unstructured) bool {
		return conditionOf(u, "Degraded")["observedGeneration"] == int64(2)
	})
	env.waitFor(checkers, "mine", "web counted as down again", checkerCondition("Available", "False"))
	env.pause(1500 * time.Millisecond)
	wrote := c.statusWrites()
	env.pause(2 * time.Second)
	assert.Equal(t, wrote, c.statusWrites(), "nothing changed")

	require.NoError(t, env.dynamic.Resource(checkers).Namespace(env.namespace).Delete(t.Context(), "mine", metav1.DeleteOptions{}))
	env.eventually("no watches for the deleted checker", func() bool { return c.readiness.HeldNamespaces() == 0 })
}

// TestCheckerUsesTheOriginService: a Service in maintenance is judged by the endpoints of
// its app, also during the swap and the restore. Services that cannot be judged are reported.
func TestCheckerUsesTheOriginService(t *testing.T) {
	t.Parallel()
	installCheckers(t, plane)
	env := newTestEnv(t)
	env.startController()
	env.startCheckers()
	env.createApp("my-app")
	env.apply("apiVersion: v1\nkind: Service\nmetadata: {name: away}\nspec: {type: ExternalName, externalName: example.org}\n",
		"apiVersion: v1\nkind: Service\nmetadata: {name: by-hand}\nspec: {ports: [{port: 80}]}\n",
		serviceChecker("mine", "{for: 0s, recoverFor: 0s, services: [{name: my-app, critical: true, port: http}, {name: away}, {name: by-hand}]}"))
	u := env.waitFor(checkers, "mine", "my-app up", checkerCondition("Available", "True"))
	assert.Contains(t, serviceStatus(u, 1)["message"], "is an ExternalName")
	assert.Contains(t, serviceStatus(u, 2)["message"], "has no selector")
	assert.Equal(t, "False", conditionOf(u, "Degraded")["status"], "services that cannot be judged count as up")
	env.waitForMessage("mine", "ServiceNotJudged", "away is an ExternalName")

	stop := env.watchRevisions(checkers, "mine", func(u *unstructured.Unstructured) {
		if one := serviceStatus(u, 0); one["ready"] != true || one["readyEndpoints"] != int64(1) {
			t.Errorf("it was judged by the page's endpoints, or by none: %v", one)
		}
	})
	env.enable(services, "my-app")
	env.waitFor(services, "my-app", "active", state(annotations.Active))
	stop()
	env.removePods("my-app")
	env.waitFor(checkers, "mine", "the app down behind the page", checkerCondition("Available", "False"))
	env.createAppPod("my-app")
	env.waitFor(checkers, "mine", "the app up behind the page", checkerCondition("Available", "True"))
	env.disable(services, "my-app")
	env.waitFor(services, "my-app", "restored", restored)
	env.removePods("my-app")
	env.waitFor(checkers, "mine", "judged by its own endpoints again", checkerCondition("Available", "False"))
}

// TestServiceCheckerCRDCreatedAndDeleted: a missing CRD is not an error, and it is found
// once it is installed. Without it nothing is known and nothing fails.
func TestServiceCheckerCRDCreatedAndDeleted(t *testing.T) {
	t.Parallel()
	own, err := cluster.StartControlPlane(t.Context(), cluster.Options{})
	require.NoError(t, err)
	t.Cleanup(own.Stop)
	require.NoError(t, fakekubelet.Run(t.Context(), own.Config()))
	env := newTestEnvOn(t, own.Config())
	c := env.startCheckers()
	env.eventually("no services without the CRD", func() bool { all, known := c.Services(); return known && len(all) == 0 })
	assert.Equal(t, checker.Unknown, c.Verdict(env.namespace, "mine").State)
	for range 2 {
		installCheckers(t, own)
		env.apply(serviceChecker("mine", "{for: 0s, services: [{name: web, critical: true}]}"))
		env.waitFor(checkers, "mine", "web down", checkerCondition("Available", "False"))
		env.eventually("known to be down", func() bool { return c.Verdict(env.namespace, "mine").State == checker.Down })
		require.NoError(t, env.dynamic.Resource(crds).Delete(t.Context(), "servicecheckers.maintenance-controller.io", metav1.DeleteOptions{}))
		env.eventually("no services after the CRD is deleted", func() bool { all, known := c.Services(); return known && len(all) == 0 })
		env.eventually("unknown after the CRD is deleted", func() bool { return c.Verdict(env.namespace, "mine").State == checker.Unknown })
		env.eventually("deletion of the CRD", func() bool {
			_, err := env.dynamic.Resource(crds).Get(t.Context(), "servicecheckers.maintenance-controller.io", metav1.GetOptions{})
			return err != nil
		})
	}
}
