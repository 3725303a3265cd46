package apiserver

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
)

func TestOnAndOffRepeatedly(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	before := map[string]*unstructured.Unstructured{}
	for _, k := range target.Kinds() {
		env.apply(manifests[k.Name]("my-app"))
		before[k.Resource.Resource] = env.get(k.Resource, "my-app")
	}
	env.startController()
	for range 3 {
		for _, gvr := range target.Kinds() {
			env.enable(gvr.Resource, "my-app")
		}
		for _, gvr := range target.Kinds() {
			requireOnPage(t, env.waitFor(gvr.Resource, "my-app", "active", state(annotations.Active)))
		}
		for _, gvr := range target.Kinds() {
			env.disable(gvr.Resource, "my-app")
		}
		for _, gvr := range target.Kinds() {
			after := env.waitFor(gvr.Resource, "my-app", "restored", restored)
			was := before[gvr.Resource.Resource]
			assert.Equal(t, spec(t, was), spec(t, after), "the spec, byte by byte")
			assert.Empty(t, after.GetAnnotations())
			assert.Equal(t, was.GetLabels(), after.GetLabels())
		}
	}
	env.waitForCleanup()
}

func TestSecondMaintenanceWithAnotherPage(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), customPage("spring", "page.html", "<h1>spring</h1>"))
	before := spec(t, env.get(ingresses, "my-app"))
	env.startController()
	env.enable(ingresses, "my-app")
	first := requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active)))
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restored)
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "spring"})
	second := requireOnPage(t, env.waitFor(ingresses, "my-app", "active", state(annotations.Active)))
	assert.NotEqual(t, first, second)
	env.disable(ingresses, "my-app")
	assert.Equal(t, before, spec(t, env.waitFor(ingresses, "my-app", "restored", restored)))
}

func TestSameNameOfDifferentKinds(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), ingressRoute("my-app"), service("my-app"))
	before := spec(t, env.get(ingresses, "my-app"))
	route := spec(t, env.get(ingressRoutes, "my-app"))
	svc := spec(t, env.get(services, "my-app"))
	env.startController()
	env.enable(ingresses, "my-app")
	env.enable(ingressRoutes, "my-app")
	env.enable(services, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	env.waitFor(services, "my-app", "active", state(annotations.Active))
	set := requireOnPage(t, env.waitFor(ingressRoutes, "my-app", "active", state(annotations.Active)))
	env.waitFor(configMaps, set, "all users in used-by", usedBy("Ingress/my-app,IngressRoute/my-app,Service/my-app"))
	for _, k := range []target.Kind{target.Ingress(), target.IngressRoute(), target.Service()} {
		cm := env.get(configMaps, backup.Name(target.Ref{Kind: k.Name, Namespace: env.namespace, Name: "my-app"}))
		kind, _, _ := unstructured.NestedString(cm.Object, "data", "kind")
		assert.Equal(t, k.Name, kind, "each kind has its own backup")
	}
	uid := env.get(configMaps, set).GetUID()

	env.disable(ingresses, "my-app")
	assert.Equal(t, before, spec(t, env.waitFor(ingresses, "my-app", "restored", restored)))
	cm := env.waitFor(configMaps, set, "the remaining users in used-by", usedBy("IngressRoute/my-app,Service/my-app"))
	assert.Equal(t, uid, cm.GetUID(), "the page set stays")
	requireOnPage(t, env.get(ingressRoutes, "my-app"))
	requireOnPage(t, env.get(services, "my-app"))

	env.disable(ingressRoutes, "my-app")
	assert.Equal(t, route, spec(t, env.waitFor(ingressRoutes, "my-app", "restored", restored)))
	env.disable(services, "my-app")
	assert.Equal(t, svc, spec(t, env.waitFor(services, "my-app", "restored", restored)))
	env.waitForCleanup()
}

func TestHostAddedDuringMaintenanceIsSwappedAndKept(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.startController()
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	added := env.parse(strings.ReplaceAll(ingress("x"), "a.example", "new.example"))
	env.edit(ingresses, "my-app", func(u *unstructured.Unstructured) {
		list := append([]any{rules(added)[0]}, rules(u)...) // in front, so that every index shifts
		require.NoError(t, unstructured.SetNestedSlice(u.Object, list, "spec", "rules"))
	})
	env.waitFor(ingresses, "my-app", "the new host on the page", func(u *unstructured.Unstructured) bool {
		return len(pageSetsOf(u)) == 6
	})
	env.disable(ingresses, "my-app")
	want := env.parse(ingress("x"))
	require.NoError(t, unstructured.SetNestedSlice(want.Object, append([]any{rules(added)[0]}, rules(want)...), "spec", "rules"))
	assert.Equal(t, spec(t, want), spec(t, env.waitFor(ingresses, "my-app", "restored", restored)))
}

func TestReapplyDuringMaintenanceBecomesTheOriginal(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.startController()
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	// A tool deploys its manifest again, with one backend changed.
	newer := env.parse(strings.ReplaceAll(ingress("my-app"), "name: api,", "name: api-v2,"))
	env.edit(ingresses, "my-app", func(u *unstructured.Unstructured) { u.Object["spec"] = newer.Object["spec"] })
	env.waitFor(ingresses, "my-app", "swapped again", func(u *unstructured.Unstructured) bool { return len(pageSetsOf(u)) == 4 })
	assert.Contains(t, message(env.waitForEvent("my-app", "BackendReverted")), `"editor"`, "the Event names the field manager")
	env.disable(ingresses, "my-app")
	assert.Equal(t, spec(t, newer), spec(t, env.waitFor(ingresses, "my-app", "restored", restored)), "what the tool wrote is the new original")
}

func TestDeletedTargetLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.startController()
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	require.NoError(t, env.dynamic.Resource(ingresses).Namespace(env.namespace).Delete(t.Context(), "my-app", metav1.DeleteOptions{}))
	env.waitForCleanup()
}

// TestDeletedNamespaceIsNotAnError: targets in maintenance are deleted with their
// namespace, nothing is retried forever, and work in other namespaces continues.
func TestDeletedNamespaceIsNotAnError(t *testing.T) {
	t.Parallel()
	env, other := newTestEnv(t), newTestEnv(t)
	env.apply(ingress("my-app"))
	other.apply(ingress("my-app"), ingress("later"))
	logged, errors := observer.New(zap.ErrorLevel)
	c := env.startController(func(c *controllerConfig, _ *restConfig) {
		c.Namespaces = append(c.Namespaces, other.namespace)
		c.Log = zap.New(logged)
	})
	for _, in := range []*testEnv{env, other} {
		in.enable(ingresses, "my-app")
		in.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	}
	require.NoError(t, env.client.CoreV1().Namespaces().Delete(t.Context(), env.namespace, metav1.DeleteOptions{}))
	cluster := *env
	cluster.namespace = ""
	cluster.waitFor(schemaGVR{Version: "v1", Resource: "namespaces"}, env.namespace, "deletion", absent)

	other.enable(ingresses, "later")
	other.waitFor(ingresses, "later", "active", state(annotations.Active))
	for _, name := range []string{"my-app", "later"} {
		other.disable(ingresses, name)
		assert.Equal(t, spec(t, env.parse(ingress("x"))), spec(t, other.waitFor(ingresses, name, "restored", restored)))
	}
	other.waitForCleanup()
	require.Eventually(t, func() bool {
		for _, n := range c.Snapshot().Queued {
			if n > 0 {
				return false
			}
		}
		return true
	}, waitTimeout, 10*time.Millisecond, "nothing is left to do")
	assert.Empty(t, errors.All(), "no errors are logged")
}

func TestPagePodsMeetPodSecurityRestricted(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t) // its namespace enforces it
	env.apply(ingress("my-app"))
	env.startController(func(c *controllerConfig, _ *restConfig) {
		c.Template = pageset.Template{Image: servingImage, Replicas: 1}
	})
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	pod := env.list(pods, annotations.PageSetLabel)[0]
	_, fixed, _ := unstructured.NestedFieldNoCopy(pod.Object, "spec", "securityContext", "runAsUser")
	assert.False(t, fixed, "OpenShift assigns the user id")
	token, _, _ := unstructured.NestedBool(pod.Object, "spec", "automountServiceAccountToken")
	assert.False(t, token)
	assert.Empty(t, env.list(budgets, ""), "a budget for one Pod would block every drain")
}
