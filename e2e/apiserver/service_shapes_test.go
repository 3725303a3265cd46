package apiserver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
)

func TestUnsupportedServiceIsRefused(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	shapes := map[string]struct{ metadata, spec, why string }{
		"headless":     {"", `{clusterIP: None, selector: {app: a}, ports: [{port: 80}]}`, "headless"},
		"external":     {"", `{type: ExternalName, externalName: a.example}`, "ExternalName"},
		"selectorless": {"", `{ports: [{port: 80}]}`, "no selector"},
		"not-ready":    {"", `{publishNotReadyAddresses: true, selector: {app: a}, ports: [{port: 80}]}`, "publishNotReadyAddresses"},
		"local":        {"", `{type: NodePort, externalTrafficPolicy: Local, selector: {app: a}, ports: [{port: 80}]}`, "externalTrafficPolicy"},
		"in-local":     {"", `{internalTrafficPolicy: Local, selector: {app: a}, ports: [{port: 80}]}`, "internalTrafficPolicy"},
		"database":     {"", `{selector: {app: a}, ports: [{port: 5432, appProtocol: postgresql}]}`, "speaks HTTP"},
		"rollout":      {"", `{selector: {app: a, rollouts-pod-template-hash: abc}, ports: [{port: 80}]}`, "rollouts-pod-template-hash"},
		"managed":      {`annotations: {argo-rollouts.argoproj.io/managed-by-rollouts: shop}`, `{selector: {app: a}, ports: [{port: 80}]}`, "Argo Rollouts"},
		// Flagger's Services are owned by a Canary. Here the owner is a kind that exists,
		// or the Service would be garbage-collected.
		"canary": {`ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: OWNER, controller: true}]`, `{selector: {app: a-primary}, ports: [{port: 80}]}`, `ConfigMap "owner"`},
	}
	owner, err := env.client.CoreV1().ConfigMaps(env.namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	before := map[string]string{}
	for name, s := range shapes {
		metadata := strings.ReplaceAll(s.metadata, "OWNER", string(owner.UID))
		env.apply(fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata:\n  name: %s\n  %s\nspec: %s\n", name, metadata, s.spec))
		before[name] = spec(t, env.get(services, name))
	}
	env.startController()
	for name, s := range shapes {
		env.enable(services, name)
		assert.Contains(t, message(env.waitForEvent(name, "NothingToSwap")), s.why, name)
		u := env.get(services, name)
		assert.Equal(t, before[name], spec(t, u), name)
		assert.False(t, annotations.HasWritten(u.GetAnnotations()), name)
	}
	assert.Empty(t, env.list(services, annotations.ManagedByLabel), "no origin, no page set")
}

func TestSupportedServices(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	shapes := map[string]string{
		"affinity":              `{sessionAffinity: ClientIP, selector: {app: a}, ports: [{port: 80}]}`,
		"node-port":             `{type: NodePort, selector: {app: a}, ports: [{name: a, port: 80, targetPort: web}, {name: b, port: 81, targetPort: web}]}`,
		"balancer":              `{type: LoadBalancer, selector: {app: a}, ports: [{port: 80, targetPort: 8080}]}`,
		"dual-stack":            `{ipFamilyPolicy: PreferDualStack, selector: {app: a}, ports: [{port: 443, appProtocol: kubernetes.io/h2c}]}`,
		"half-web":              `{selector: {app: a}, ports: [{name: web, port: 80}, {name: db, port: 3306, appProtocol: mysql}]}`,
		strings.Repeat("x", 63): `{selector: {app: a}, ports: [{port: 80}]}`,
	}
	before := map[string]string{}
	for name, s := range shapes {
		env.apply(fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: %s\n", name, s))
		before[name] = spec(t, env.get(services, name))
	}
	env.startController()
	for name := range shapes {
		env.enable(services, name)
	}
	for name := range shapes {
		requireOnPage(t, env.waitFor(services, name, "active", state(annotations.Active)))
		env.waitForPageEndpoints(name)
		env.waitFor(services, originOf(name), "creation", exists)
	}
	assert.Contains(t, message(env.waitForEvent("half-web", "BackendSkipped")), "mysql")
	for name := range shapes {
		env.disable(services, name)
		assert.Equal(t, before[name], spec(t, env.waitFor(services, name, "restored", restored)), name)
	}
	env.waitForCleanup()
}
