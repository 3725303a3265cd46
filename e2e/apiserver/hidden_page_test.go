package apiserver

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"maintenance-controller.io/pkg/annotations"
)

// TestHiddenPageIsReported: something in front of the page is known to hide it, or cannot
// be read. That is reported, and the state becomes active all the same.
func TestHiddenPageIsReported(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(`
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: auth}
spec: {chain: {middlewares: [{name: breaker}, {name: auth}, {name: gone}]}}
`, `
apiVersion: traefik.io/v1alpha1
kind: Middleware
metadata: {name: breaker}
spec: {circuitBreaker: {expression: "ResponseCodeRatio(500, 600, 0, 600) > 0.25"}}
`, `
apiVersion: v1
kind: Service
metadata: {name: app, annotations: {argo-rollouts.argoproj.io/managed-by-rollouts: app}}
spec: {selector: {app: a}, ports: [{port: 80}]}
`, ingressRoute("route"), ingressRoute("unseen"), ingress("my-app"))
	failures := &requestFailures{}
	env.startController(failures.wrap)
	env.enable(ingressRoutes, "route")
	env.annotate(ingresses, "my-app", map[string]any{
		"traefik.ingress.kubernetes.io/router.middlewares": env.namespace + "-auth@kubernetescrd", "nginx.ingress.kubernetes.io/custom-http-errors": "404,503",
	})
	env.enable(ingresses, "my-app")
	env.waitForMessage("my-app", "PageHidden", "its circuitBreaker trips")
	env.waitForMessage("my-app", "PageHidden", "custom-http-errors replaces answers with 503 by another page")
	assert.Contains(t, message(env.waitForEvent("route", "PageHidden")), "Middleware "+env.namespace+"/breaker is in front of the page: its circuitBreaker trips on answers with 503")
	assert.Contains(t, message(env.waitForEvent("my-app", "RolloutStalled")), `Service "app" belongs to Argo Rollouts (Rollout "app"), which looks for it among the backends of this Ingress`)
	env.waitFor(ingressRoutes, "route", "active", state(annotations.Active))
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))

	failures.set(func(_, path string) bool { return strings.Contains(path, "/middlewares/") })
	env.enable(ingressRoutes, "unseen")
	assert.Contains(t, message(env.waitForEvent("unseen", "PageHidden")), "could not check middlewares in front of the page, which may hide it (a circuitBreaker, errors or retry on 503): "+env.namespace+"/auth")
	env.waitFor(ingressRoutes, "unseen", "active", state(annotations.Active))
}
