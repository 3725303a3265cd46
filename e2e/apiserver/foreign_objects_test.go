package apiserver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/target"
)

func TestForeignObjectsAreNeverTouched(t *testing.T) {
	t.Parallel()
	for _, clash := range []string{"ConfigMap", "Service"} {
		t.Run(clash, func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t)
			env.apply(ingress("my-app"))
			before := spec(t, env.get(ingresses, "my-app"))
			name := defaultSet()
			if clash == "ConfigMap" {
				env.apply(fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {a: b}\n", name))
			} else {
				env.apply(fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {ports: [{port: 1}]}\n", name))
			}
			foreign := map[string]schemaGVR{"ConfigMap": configMaps, "Service": services}[clash]
			was := env.get(foreign, name).GetResourceVersion()
			env.startController()
			env.enable(ingresses, "my-app")
			u := env.waitFor(ingresses, "my-app", "blocked", state(annotations.Blocked))
			assert.Contains(t, message(env.waitForEvent("my-app", "NameConflict")), name)
			assert.Equal(t, before, spec(t, u))
			assert.Equal(t, was, env.get(foreign, name).GetResourceVersion())
			require.NoError(t, env.dynamic.Resource(foreign).Namespace(env.namespace).Delete(t.Context(), name, metav1.DeleteOptions{}))
			env.waitFor(ingresses, "my-app", "active, now that the name is free", state(annotations.Active))
		})
	}
}

func TestBackupNameConflictBlocks(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	name := backup.Name(target.Ref{Kind: "Ingress", Namespace: env.namespace, Name: "my-app"})
	env.apply(ingress("my-app"), fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {a: b}\n", name))
	before := spec(t, env.get(ingresses, "my-app"))
	env.startController()
	env.enable(ingresses, "my-app")
	u := env.waitFor(ingresses, "my-app", "blocked", state(annotations.Blocked))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], name)
	assert.Equal(t, before, spec(t, u))
	assert.Contains(t, message(env.waitForEvent("my-app", "NameConflict")), name)
	require.NoError(t, env.client.CoreV1().ConfigMaps(env.namespace).Delete(t.Context(), name, metav1.DeleteOptions{}))
	env.waitFor(ingresses, "my-app", "active, now that the name is free", state(annotations.Active))
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restored)
	env.waitForCleanup()
}

func TestForeignBackendsAreLeftAlone(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(`
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: my-app}
spec:
  rules:
    - host: a.example
      http:
        paths:
          - {path: /.well-known/acme-challenge/token, pathType: Exact, backend: {service: {name: cm-acme-http-solver-x, port: {number: 8089}}}}
          - {path: /old, pathType: Prefix, backend: {service: {name: redirect, port: {name: use-annotation}}}}
          - {path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}
`, `
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: parent}
spec: {routes: [{kind: Rule, match: "Host(`+"`a.example`"+`)", middlewares: [{name: auth}]}]}
`)
	env.startController()
	env.enable(ingresses, "my-app")
	env.enable(ingressRoutes, "parent")
	u := env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	assert.Len(t, pageSetsOf(u), 1)
	text := spec(t, u)
	assert.Contains(t, text, "cm-acme-http-solver-x")
	assert.Contains(t, text, "use-annotation")
	env.waitForEvent("parent", "NothingToSwap")
	assert.False(t, annotations.HasWritten(env.get(ingressRoutes, "parent").GetAnnotations()))
}

func TestOwnObjectsAreNotTargets(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("maintenance-0123456789abcdef"), strings.Replace(ingress("ours"), "app: shop", annotations.ManagedByLabel+": "+annotations.ManagedBy, 1), ingress("my-app"))
	env.startController()
	for _, name := range []string{"maintenance-0123456789abcdef", "ours", "my-app"} {
		env.enable(ingresses, name)
	}
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	for _, name := range []string{"maintenance-0123456789abcdef", "ours"} {
		assert.True(t, restored(env.get(ingresses, name)), name)
	}
}
