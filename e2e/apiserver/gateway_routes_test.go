package apiserver

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// TestRestoreRefusedForOneRule: somebody adds a match to a rule whose original rewrites the
// single prefix. The rule stays on the page, with the API server's error as the reason, and
// all other rules are restored. It is restored once somebody has fixed it.
func TestRestoreRefusedForOneRule(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"the controller", "the command"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t)
			env.apply(httpRoute("my-app"))
			before := spec(t, env.get(httpRoutes, "my-app"))
			c := env.startController()
			env.enable(httpRoutes, "my-app")
			env.waitFor(httpRoutes, "my-app", "active", state(annotations.Active))
			matches := func(values ...any) func(u *unstructured.Unstructured) {
				return func(u *unstructured.Unstructured) {
					u.Object["spec"].(map[string]any)["rules"].([]any)[0].(map[string]any)["matches"] = values
				}
			}
			path := func(value string) any {
				return map[string]any{"path": map[string]any{"type": "PathPrefix", "value": value}}
			}
			env.edit(httpRoutes, "my-app", matches(path("/shop"), path("/store")))
			env.waitFor(httpRoutes, "my-app", "recorded as it is now", recorded(target.HTTPRoute()))
			const words = "exactly one PathPrefix match must be specified"
			if how == "the command" {
				c.stop()
				code, out := env.restoreCommand("--kubeconfig="+plane.Kubeconfig(), "--namespace="+env.namespace, "--remove-annotations", "--timeout=20s", "httproute/my-app")
				assert.Equal(t, 1, code, out)
				assert.Contains(t, out, words)
			} else {
				env.disable(httpRoutes, "my-app")
				u := env.waitFor(httpRoutes, "my-app", "blocked", state(annotations.Blocked))
				assert.Contains(t, u.GetAnnotations()[annotations.Message], words)
				assert.Contains(t, env.waitForMessage("my-app", "RestoreFailed", words), "rule first PathPrefix /shop")
			}
			u := env.get(httpRoutes, "my-app")
			slots, err := target.HTTPRoute().Slots(u.Object)
			require.NoError(t, err)
			var on []bool
			for _, s := range slots {
				on = append(on, s.OnPage())
			}
			assert.Equal(t, []bool{true, true, false}, on, "only the refused rule is on the page")
			env.edit(httpRoutes, "my-app", matches(path("/shop")))
			if how == "the command" {
				code, out := env.restoreCommand("--kubeconfig="+plane.Kubeconfig(), "--namespace="+env.namespace, "--remove-annotations", "httproute/my-app")
				assert.Zero(t, code, out)
			}
			assert.Equal(t, before, spec(t, env.waitFor(httpRoutes, "my-app", "restored", restored)))
		})
	}
}

// setRouteStatus writes a status of the route as its Gateway's controller would.
func (env *testEnv) setRouteStatus(name string, generation int64, resolved string) {
	env.Helper()
	for {
		u := env.get(httpRoutes, name)
		condition := func(kind, status string) any {
			return map[string]any{"type": kind, "status": status, "observedGeneration": generation, "reason": "Fake", "message": "no such Service", "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}
		}
		u.Object["status"] = map[string]any{"parents": []any{map[string]any{
			"parentRef": map[string]any{"name": "web"}, "controllerName": "fake.example/gateway",
			"conditions": []any{condition("Accepted", "True"), condition("ResolvedRefs", resolved)},
		}}}
		_, err := env.dynamic.Resource(httpRoutes).Namespace(env.namespace).UpdateStatus(env.Context(), u, metav1.UpdateOptions{FieldManager: "gateway"})
		if err == nil {
			return
		}
		require.True(env, isConflict(err), "%v", err)
	}
}

// TestGatewayControllerStatusIsWaitedFor: the state becomes active when the Gateway's
// controller accepts the swap. A rejection blocks, with the controller's reason. Later
// changes of the status are ignored.
func TestGatewayControllerStatusIsWaitedFor(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(httpRoute("my-app"), httpRoute("deserted"))
	before := spec(t, env.get(httpRoutes, "my-app"))
	env.setRouteStatus("my-app", 1, "True")
	env.setRouteStatus("deserted", 1, "True")
	env.startController(func(c *controllerConfig, _ *restConfig) { c.Settings.Settle = time.Second })
	env.enable(httpRoutes, "my-app")
	env.enable(httpRoutes, "deserted")
	u := env.waitFor(httpRoutes, "my-app", "swapped", entirelyOnPage)
	env.setRouteStatus("my-app", u.GetGeneration(), "False")
	u = env.waitFor(httpRoutes, "my-app", "blocked", state(annotations.Blocked))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], "ResolvedRefs is False: no such Service (Fake)")
	env.waitForMessage("my-app", "RouteRejected", "fake.example/gateway")
	requireOnPage(t, u)
	env.setRouteStatus("my-app", u.GetGeneration(), "True")
	env.waitFor(httpRoutes, "my-app", "active", state(annotations.Active))
	env.setRouteStatus("my-app", u.GetGeneration(), "False")
	env.waitFor(httpRoutes, "deserted", "active nevertheless", state(annotations.Active))
	env.waitForMessage("deserted", "SwapNotObserved", "fake.example/gateway")
	assert.Equal(t, annotations.Active, env.get(httpRoutes, "my-app").GetAnnotations()[annotations.State])
	env.disable(httpRoutes, "my-app")
	env.disable(httpRoutes, "deserted")
	assert.Equal(t, before, spec(t, env.waitFor(httpRoutes, "my-app", "restored", restored)))
	env.waitFor(httpRoutes, "deserted", "restored", restored)
	env.waitForCleanup()
}

// TestRouteClassComesFromItsGateways: a route of another class is left alone. A route is
// served if its class is unknown, because a Gateway is missing or is not readable.
func TestRouteClassComesFromItsGateways(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	gateway := func(name, class string) string {
		return "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: " + name + "}\nspec: {gatewayClassName: " + class + ", listeners: [{name: http, port: 80, protocol: HTTP}]}\n"
	}
	route := func(name, parents string) string {
		return strings.Replace(httpRoute(name), "[{name: web}]", "["+parents+"]", 1)
	}
	env.apply(gateway("ours", "traefik"), gateway("theirs", "other"),
		route("theirs", "{name: theirs}"), route("both", "{name: theirs}, {name: ours}"), route("ours", "{name: ours}"), route("missing", "{name: theirs}, {name: gone}"),
		route("elsewhere", "{group: example.com, kind: ListenerSet, name: x}"))
	env.startController(func(c *controllerConfig, _ *restConfig) { c.Classes = []string{"traefik"} })
	env.enable(httpRoutes, "theirs")
	for _, name := range []string{"both", "ours", "missing", "elsewhere"} {
		env.enable(httpRoutes, name)
		env.waitFor(httpRoutes, name, "active", state(annotations.Active))
	}
	assert.True(t, restored(env.get(httpRoutes, "theirs")), "it is another controller's")
	_, asked := env.get(httpRoutes, "theirs").GetAnnotations()[annotations.DefaultEnabled]
	assert.True(t, asked)
}
