package apiserver

import (
	"fmt"
	"math/rand/v2"
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

func httpRoute(name string) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: %s
spec:
  parentRefs: [{name: web}]
  hostnames: [a.example, b.example]
  rules:
    - name: first
      matches: [{path: {value: /shop}}]
      filters: [{type: RequestMirror, requestMirror: {backendRef: {name: mirror, port: 8443}}}]
      backendRefs:
        - {name: app, port: 8443, weight: 3, filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]}
        - {name: canary, namespace: other, port: 8080, weight: 0}
    - backendRefs: [{name: api, port: 8080}]
`, name)
}

func grpcRoute(name string) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata:
  name: %s
spec:
  parentRefs: [{name: web}]
  hostnames: [a.example, b.example]
  rules:
    - name: first
      matches: [{method: {service: shop.Cart}}]
      backendRefs:
        - {name: app, port: 8443, weight: 3}
        - {name: canary, namespace: other, port: 8080, weight: 0}
    - matches: [{method: {service: shop.Orders, method: Get}}]
      backendRefs: [{name: api, port: 8080}]
`, name)
}

// matchesOf gives matches that no other rule has; nil for kinds without rules of that sort.
func matchesOf(kind string, n int) []any {
	switch kind {
	case "HTTPRoute":
		return []any{map[string]any{"path": map[string]any{"type": "PathPrefix", "value": fmt.Sprintf("/m%d", n)}}}
	case "GRPCRoute":
		return []any{map[string]any{"method": map[string]any{"type": "Exact", "service": fmt.Sprintf("m%d", n)}}}
	}
	return nil
}

// randomGatewaySpec makes the spec of a route that the API server most often takes.
func randomGatewaySpec(rnd *rand.Rand, kind string) map[string]any {
	spec := map[string]any{"rules": append(several(rnd, 4, func() any { return randomGatewayRule(rnd, kind) }), randomGatewayRule(rnd, kind))}
	if rnd.IntN(2) == 0 {
		spec["parentRefs"] = []any{map[string]any{"name": "web"}, map[string]any{"name": "edge", "namespace": "infra", "sectionName": "https"}}
	}
	if rnd.IntN(2) == 0 {
		spec["hostnames"] = []any{"a.example", "*.b.example"}
	}
	return spec
}

func randomGatewayRule(rnd *rand.Rand, kind string) any {
	rule := map[string]any{}
	if rnd.IntN(2) == 0 {
		rule["name"] = fmt.Sprintf("rule-%d", rnd.IntN(4))
	}
	rewritable := false
	if rnd.IntN(4) > 0 {
		matches := append(several(rnd, 2, func() any { return randomMatch(rnd, kind) }), randomMatch(rnd, kind))
		rule["matches"] = matches
		path, _ := matches[0].(map[string]any)["path"].(map[string]any)
		rewritable = len(matches) == 1 && path["type"] == "PathPrefix"
	}
	if kind == "HTTPRoute" && rnd.IntN(8) == 0 {
		rule["filters"] = []any{map[string]any{"type": "RequestRedirect", "requestRedirect": map[string]any{"scheme": "https", "statusCode": int64(301)}}}
		return rule
	}
	if filters := several(rnd, 2, func() any { return mirrorTo(rnd) }); len(filters) > 0 {
		rule["filters"] = filters
	}
	rule["backendRefs"] = several(rnd, 4, func() any {
		ref := randomBackendRef(rnd)
		if rewritable && kind == "HTTPRoute" && rnd.IntN(2) == 0 {
			ref["filters"] = []any{map[string]any{"type": "URLRewrite", "urlRewrite": map[string]any{"path": map[string]any{"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}}
		}
		return ref
	})
	return rule
}

func mirrorTo(rnd *rand.Rand) any {
	return map[string]any{"type": "RequestMirror", "requestMirror": map[string]any{"backendRef": map[string]any{"name": fmt.Sprintf("shadow-%d", rnd.IntN(3)), "port": int64(80)}}}
}

func randomBackendRef(rnd *rand.Rand) map[string]any {
	ref := map[string]any{"name": one(rnd, "app", "api", "maintenance-app"), "port": int64(1 + rnd.IntN(65535))}
	for field, value := range map[string]any{"weight": int64(rnd.IntN(1000)), "namespace": "other", "kind": "Service", "filters": []any{
		map[string]any{"type": "ResponseHeaderModifier", "responseHeaderModifier": map[string]any{"add": []any{map[string]any{"name": "x", "value": "y"}}}}, mirrorTo(rnd)}} {
		if rnd.IntN(3) == 0 {
			ref[field] = value
		}
	}
	if rnd.IntN(8) == 0 {
		return map[string]any{"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "llm"}
	}
	return ref
}

func randomMatch(rnd *rand.Rand, kind string) any {
	match := map[string]any{}
	headers := []any{map[string]any{"name": "x-beta", "value": one(rnd, "1", "2")}}
	if rnd.IntN(3) == 0 {
		match["headers"] = headers
	}
	if kind == "GRPCRoute" {
		match["method"] = one[any](rnd, map[string]any{"service": "shop.Cart"}, map[string]any{"method": "Get"}, map[string]any{"service": "shop.Orders", "method": "Get", "type": "Exact"})
		return match
	}
	if rnd.IntN(3) > 0 {
		match["path"] = map[string]any{"type": one(rnd, "PathPrefix", "Exact", "RegularExpression"), "value": one(rnd, "/", "/a", "/.well-known/acme-challenge/x", "/b/c")}
	}
	if rnd.IntN(3) == 0 {
		match["method"] = one(rnd, "GET", "POST")
	}
	return match
}

var httpRoutes = target.HTTPRoute().Resource

// TestARestoreThatTheAPIServerRefusesInPart: somebody adds a match to a rule whose
// original rewrites the one prefix that it had. That rule stays on the page and says
// why in the API server's words, all others get their app, and it follows once the
// rule is mended.
func TestARestoreThatTheAPIServerRefusesInPart(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"the controller", "the command"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.apply(httpRoute("my-app"))
			before := spec(t, w.get(httpRoutes, "my-app"))
			c := w.start()
			w.on(httpRoutes, "my-app")
			w.until(httpRoutes, "my-app", "active", state(annotations.Active))
			matches := func(values ...any) func(u *unstructured.Unstructured) {
				return func(u *unstructured.Unstructured) {
					u.Object["spec"].(map[string]any)["rules"].([]any)[0].(map[string]any)["matches"] = values
				}
			}
			path := func(value string) any {
				return map[string]any{"path": map[string]any{"type": "PathPrefix", "value": value}}
			}
			w.edit(httpRoutes, "my-app", matches(path("/shop"), path("/store")))
			w.until(httpRoutes, "my-app", "recorded as it is now", recorded(target.HTTPRoute()))
			const words = "exactly one PathPrefix match must be specified"
			if how == "the command" {
				c.stop()
				code, out := w.restoreCommand("--kubeconfig="+plane.Kubeconfig(), "--namespace="+w.namespace, "--remove-annotations", "--timeout=20s", "httproute/my-app")
				assert.Equal(t, 1, code, out)
				assert.Contains(t, out, words)
			} else {
				w.off(httpRoutes, "my-app")
				u := w.until(httpRoutes, "my-app", "blocked", state(annotations.Blocked))
				assert.Contains(t, u.GetAnnotations()[annotations.Message], words)
				assert.Contains(t, w.untilTold("my-app", "RestoreFailed", words), "rule first PathPrefix /shop")
			}
			u := w.get(httpRoutes, "my-app")
			slots, err := target.HTTPRoute().Slots(u.Object)
			require.NoError(t, err)
			var on []bool
			for _, s := range slots {
				on = append(on, s.OnPage())
			}
			assert.Equal(t, []bool{true, true, false}, on, "the rule that is refused, and not the other one")
			w.edit(httpRoutes, "my-app", matches(path("/shop")))
			if how == "the command" {
				code, out := w.restoreCommand("--kubeconfig="+plane.Kubeconfig(), "--namespace="+w.namespace, "--remove-annotations", "httproute/my-app")
				assert.Zero(t, code, out)
			}
			assert.Equal(t, before, spec(t, w.until(httpRoutes, "my-app", "restored", restored)))
		})
	}
}

// says has the controller of the route's Gateway write what it has seen of it.
func (w *world) says(name string, generation int64, resolved string) {
	w.Helper()
	for {
		u := w.get(httpRoutes, name)
		condition := func(kind, status string) any {
			return map[string]any{"type": kind, "status": status, "observedGeneration": generation, "reason": "Played", "message": "no such Service", "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}
		}
		u.Object["status"] = map[string]any{"parents": []any{map[string]any{
			"parentRef": map[string]any{"name": "web"}, "controllerName": "played.example/gateway",
			"conditions": []any{condition("Accepted", "True"), condition("ResolvedRefs", resolved)},
		}}}
		_, err := w.dynamic.Resource(httpRoutes).Namespace(w.namespace).UpdateStatus(w.Context(), u, metav1.UpdateOptions{FieldManager: "gateway"})
		if err == nil {
			return
		}
		require.True(w, isConflict(err), "%v", err)
	}
}

// TestTheGatewaysControllerIsHeard: its status is waited for, what it refuses since the
// swap blocks in its words, and at rest it is ignored.
func TestTheGatewaysControllerIsHeard(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(httpRoute("my-app"), httpRoute("deserted"))
	before := spec(t, w.get(httpRoutes, "my-app"))
	w.says("my-app", 1, "True")
	w.says("deserted", 1, "True")
	w.start(func(c *controllerConfig, _ *restConfig) { c.Settings.Settle = 200 * time.Millisecond })
	w.on(httpRoutes, "my-app")
	w.on(httpRoutes, "deserted")
	u := w.until(httpRoutes, "my-app", "swapped", allOnPage)
	w.says("my-app", u.GetGeneration(), "False")
	u = w.until(httpRoutes, "my-app", "blocked", state(annotations.Blocked))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], "ResolvedRefs is False: no such Service (Played)")
	w.untilTold("my-app", "PageRefused", "played.example/gateway")
	allOn(t, u)
	w.says("my-app", u.GetGeneration(), "True")
	w.until(httpRoutes, "my-app", "active", state(annotations.Active))
	w.says("my-app", u.GetGeneration(), "False")
	w.until(httpRoutes, "deserted", "active all the same", state(annotations.Active))
	w.untilTold("deserted", "NotFollowed", "played.example/gateway")
	assert.Equal(t, annotations.Active, w.get(httpRoutes, "my-app").GetAnnotations()[annotations.State])
	w.off(httpRoutes, "my-app")
	w.off(httpRoutes, "deserted")
	assert.Equal(t, before, spec(t, w.until(httpRoutes, "my-app", "restored", restored)))
	w.until(httpRoutes, "deserted", "restored", restored)
	w.untilClean()
}

// TestTheClassOfARouteIsThatOfItsGateways: one of another class is left alone; one of
// which that is not known is served, be the Gateway missing or forbidden to read.
func TestTheClassOfARouteIsThatOfItsGateways(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gateway := func(name, class string) string {
		return "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: " + name + "}\nspec: {gatewayClassName: " + class + ", listeners: [{name: http, port: 80, protocol: HTTP}]}\n"
	}
	route := func(name, parents string) string {
		return strings.Replace(httpRoute(name), "[{name: web}]", "["+parents+"]", 1)
	}
	w.apply(gateway("ours", "traefik"), gateway("theirs", "other"),
		route("theirs", "{name: theirs}"), route("both", "{name: theirs}, {name: ours}"), route("ours", "{name: ours}"), route("missing", "{name: theirs}, {name: gone}"),
		route("elsewhere", "{group: example.com, kind: ListenerSet, name: x}"))
	w.start(func(c *controllerConfig, _ *restConfig) { c.Classes = []string{"traefik"} })
	w.on(httpRoutes, "theirs")
	for _, name := range []string{"both", "ours", "missing", "elsewhere"} {
		w.on(httpRoutes, name)
		w.until(httpRoutes, name, "active", state(annotations.Active))
	}
	assert.True(t, restored(w.get(httpRoutes, "theirs")), "another controller's")
	_, asked := w.get(httpRoutes, "theirs").GetAnnotations()[annotations.DefaultEnabled]
	assert.True(t, asked)
}
