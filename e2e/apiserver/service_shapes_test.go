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

func TestServiceThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
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
		// Flagger's owner is a Canary; of a kind that is not served, it would be collected.
		"canary": {`ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: OWNER, controller: true}]`, `{selector: {app: a-primary}, ports: [{port: 80}]}`, `ConfigMap "owner"`},
	}
	owner, err := w.client.CoreV1().ConfigMaps(w.namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "owner"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	before := map[string]string{}
	for name, s := range shapes {
		metadata := strings.ReplaceAll(s.metadata, "OWNER", string(owner.UID))
		w.apply(fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata:\n  name: %s\n  %s\nspec: %s\n", name, metadata, s.spec))
		before[name] = spec(t, w.get(services, name))
	}
	w.start()
	for name, s := range shapes {
		w.on(services, name)
		assert.Contains(t, message(w.untilEvent(name, "NothingToSwap")), s.why, name)
		u := w.get(services, name)
		assert.Equal(t, before[name], spec(t, u), name)
		assert.False(t, annotations.HasWritten(u.GetAnnotations()), name)
	}
	assert.Empty(t, w.list(services, annotations.ManagedByLabel), "no origin, no page set")
}

func TestServiceShapesThatWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
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
		w.apply(fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: %s\n", name, s))
		before[name] = spec(t, w.get(services, name))
	}
	w.start()
	for name := range shapes {
		w.on(services, name)
	}
	for name := range shapes {
		allOn(t, w.until(services, name, "active", state(annotations.Active)))
		w.untilEndpoints(name)
		w.until(services, originOf(name), "origin", exists)
	}
	assert.Contains(t, message(w.untilEvent("half-web", "BackendLeftAlone")), "mysql")
	for name := range shapes {
		w.off(services, name)
		assert.Equal(t, before[name], spec(t, w.until(services, name, "restored", restored)), name)
	}
	w.untilClean()
}
