package apiserver

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"maintenance-controller.io/pkg/annotations"
)

// TestWhatIsInFrontOfAPageIsTold: the state says active, and something between is
// known to keep the page from visitors, or cannot be looked at. Maintenance goes on.
func TestWhatIsInFrontOfAPageIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(`
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
	refuse := &refusal{}
	w.start(refuse.wrap)
	w.on(ingressRoutes, "route")
	w.annotate(ingresses, "my-app", map[string]any{
		"traefik.ingress.kubernetes.io/router.middlewares": w.namespace + "-auth@kubernetescrd", "nginx.ingress.kubernetes.io/custom-http-errors": "404,503",
	})
	w.on(ingresses, "my-app")
	w.untilTold("my-app", "PageHidden", "its circuitBreaker trips")
	w.untilTold("my-app", "PageHidden", "custom-http-errors puts another page in the place of answers with 503")
	assert.Contains(t, message(w.untilEvent("route", "PageHidden")), "Middleware "+w.namespace+"/breaker is in front of the page: its circuitBreaker trips on answers with 503")
	assert.Contains(t, message(w.untilEvent("my-app", "RolloutStops")), `Service "app" belongs to Argo Rollouts (Rollout "app"), which looks for it among the backends of this Ingress`)
	w.until(ingressRoutes, "route", "active", state(annotations.Active))
	w.until(ingresses, "my-app", "active", state(annotations.Active))

	refuse.set(func(_, path string) bool { return strings.Contains(path, "/middlewares/") })
	w.on(ingressRoutes, "unseen")
	assert.Contains(t, message(w.untilEvent("unseen", "PageHidden")), "could not look at middlewares in front of the page, which may hide it (a circuitBreaker, errors or retry over 503): "+w.namespace+"/auth")
	w.until(ingressRoutes, "unseen", "active", state(annotations.Active))
}
