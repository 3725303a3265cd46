package apiserver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
)

func TestOddShapes(t *testing.T) {
	t.Parallel()
	shapes := map[string]string{
		"resource-only": `{defaultBackend: {resource: {apiGroup: k8s.example.com, kind: Bucket, name: static}}}`,
		"no-host":       `{rules: [{http: {paths: [{pathType: ImplementationSpecific, backend: {service: {name: app, port: {number: 80}}}}]}}]}`,
		"duplicates": `{rules: [{host: a.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: one, port: {number: 1}}}},
			{path: /, pathType: Prefix, backend: {service: {name: two, port: {number: 2}}}}]}}, {host: a.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: three, port: {number: 3}}}}]}}]}`,
		"hundreds": hundreds(300),
	}
	env := newTestEnv(t)
	before := map[string]string{}
	for name, s := range shapes {
		env.apply(fmt.Sprintf("apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: %s}\nspec: %s\n", name, strings.ReplaceAll(s, "\t", " ")))
		before[name] = spec(t, env.get(ingresses, name))
	}
	env.startController()
	for name := range shapes {
		env.enable(ingresses, name)
	}
	for name := range shapes {
		requireOnPage(t, env.waitFor(ingresses, name, "active", state(annotations.Active)))
		env.disable(ingresses, name)
		assert.Equal(t, before[name], spec(t, env.waitFor(ingresses, name, "restored", restored)), name)
	}
}

func hundreds(n int) string {
	var b strings.Builder
	b.WriteString("{rules: [{host: many.example, http: {paths: [")
	for i := range n {
		fmt.Fprintf(&b, "{path: /%d, pathType: Prefix, backend: {service: {name: app-%d, port: {number: 80}}}},", i, i)
	}
	b.WriteString("]}}]}")
	return b.String()
}

func TestDefaultBackendIsSwapped(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.startController()
	env.enable(ingresses, "my-app")
	u := env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	name, _, _ := unstructured.NestedString(u.Object, "spec", "defaultBackend", "service", "name")
	assert.Equal(t, u.GetAnnotations()[annotations.PageSet], name)
}

func TestHostOnlyRule(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(`
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: with-default}
spec: {defaultBackend: {service: {name: app, port: {number: 80}}}, rules: [{host: a.example}]}
`, `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: without}
spec: {rules: [{host: a.example}]}
`)
	before := spec(t, env.get(ingresses, "with-default"))
	env.startController()
	env.enable(ingresses, "with-default")
	env.enable(ingresses, "without")
	env.waitFor(ingresses, "with-default", "active", state(annotations.Active))
	assert.Contains(t, message(env.waitForEvent("without", "NothingToSwap")), "no backend")
	assert.False(t, annotations.HasWritten(env.get(ingresses, "without").GetAnnotations()))
	env.disable(ingresses, "with-default")
	assert.Equal(t, before, spec(t, env.waitFor(ingresses, "with-default", "restored", restored)))
}

func TestNamesOf253Characters(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	long := strings.Repeat("a", 60) + strings.Repeat("."+strings.Repeat("b", 63), 3) + "c"
	require.Len(t, long, 253)
	env.apply(ingress(long), ingressRoute(long))
	before := spec(t, env.get(ingresses, long))
	env.startController()
	env.enable(ingresses, long)
	env.enable(ingressRoutes, long)
	env.waitFor(ingresses, long, "active", state(annotations.Active))
	env.waitFor(ingressRoutes, long, "active", state(annotations.Active))
	env.disable(ingresses, long)
	env.disable(ingressRoutes, long)
	assert.Equal(t, before, spec(t, env.waitFor(ingresses, long, "restored", restored)))
	env.waitFor(ingressRoutes, long, "restored", restored)
	env.waitForCleanup()
}
