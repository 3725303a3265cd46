package apiserver

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
)

func TestServiceAndItsOrigin(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(service("my-app"))
	before := spec(t, env.get(services, "my-app"))
	env.startController()
	serves := env.checkServing(services, "my-app")
	early := make(chan string, 100) // revisions on the page without an origin
	seen := env.watchRevisions(services, "my-app", func(u *unstructured.Unstructured) {
		if len(pageSetsOf(u)) == 0 {
			return
		}
		if _, err := env.client.CoreV1().Services(env.namespace).Get(t.Context(), originOf("my-app"), metav1.GetOptions{}); err != nil && len(pageSetsOf(env.get(services, "my-app"))) > 0 {
			early <- err.Error()
		}
	})
	env.enable(services, "my-app")
	u := env.waitFor(services, "my-app", "active", state(annotations.Active))
	set := requireOnPage(t, u)
	serves.waitForCheckOf(set)
	assert.True(t, leadsToPage(set)(u), "%s", routing(toService(u)))
	env.waitForPageEndpoints("my-app")
	env.waitFor(configMaps, set, "its user in used-by", usedBy("Service/my-app"))
	assert.Contains(t, message(env.waitForEvent("my-app", "BackendSkipped")), "53/UDP")

	there := env.get(services, originOf("my-app"))
	assert.True(t, leadsToApp(service("my-app"))(there), "%s", routing(toService(there)))
	assert.Equal(t, annotations.ManagedBy, there.GetLabels()[annotations.ManagedByLabel])
	assert.Equal(t, u.GetUID(), there.GetOwnerReferences()[0].UID)

	// The origin is repaired, whatever happens to it.
	require.NoError(t, env.client.CoreV1().Services(env.namespace).Delete(t.Context(), originOf("my-app"), metav1.DeleteOptions{}))
	env.waitFor(services, originOf("my-app"), "a new one", and(exists, leadsToApp(service("my-app"))))
	env.patch(services, originOf("my-app"), types.MergePatchType, `{"spec":{"selector":{"evil":"yes"}}}`)
	env.waitFor(services, originOf("my-app"), "the app's selector", leadsToApp(service("my-app")))

	env.disable(services, "my-app")
	assert.Equal(t, before, spec(t, env.waitFor(services, "my-app", "restored", restored)))
	env.waitFor(services, originOf("my-app"), "deletion", absent)
	env.waitForCleanup()
	assert.GreaterOrEqual(t, seen(), 4)
	assert.Empty(t, early, "the origin is there before the swap")
}

// TestServiceRevertedByTools, each in its own way.
func TestServiceRevertedByTools(t *testing.T) {
	t.Parallel()
	app := service("my-app")
	v2 := strings.ReplaceAll(app, "tier: web", "tier: v2")
	for name, tc := range map[string]struct {
		revert func(*testEnv)
		want   string // manifest of the restored Service
	}{
		"an editor": {func(env *testEnv) {
			env.edit(services, "my-app", func(u *unstructured.Unstructured) {
				want := env.parse(v2)
				for _, field := range []string{"selector", "ports"} {
					u.Object["spec"].(map[string]any)[field] = want.Object["spec"].(map[string]any)[field]
				}
			})
		}, v2},
		"a merge patch of the whole selector": {func(env *testEnv) {
			env.patch(services, "my-app", types.StrategicMergePatchType, `{"spec":{"selector":{"app":"shop","tier":"v2"}}}`)
		}, v2},
		"a merge patch of one label": {func(env *testEnv) {
			env.patch(services, "my-app", types.MergePatchType, `{"spec":{"selector":{"tier":"v2"}}}`)
		}, v2},
		"one port": {func(env *testEnv) {
			env.patch(services, "my-app", types.StrategicMergePatchType, `{"spec":{"ports":[{"port":80,"targetPort":9000}]}}`)
		}, strings.ReplaceAll(app, "8080", "9000")},
		"one port, to the page Pods' port": {func(env *testEnv) {
			env.patch(services, "my-app", types.StrategicMergePatchType, fmt.Sprintf(`{"spec":{"ports":[{"port":443,"targetPort":%d}]}}`, page.Port))
		}, strings.ReplaceAll(app, "targetPort: https", fmt.Sprintf("targetPort: %d", page.Port))},
		"a new port": {func(env *testEnv) {
			env.patch(services, "my-app", types.StrategicMergePatchType, `{"spec":{"ports":[{"name":"new","port":8080,"targetPort":"new"}]}}`)
		}, app + "    - {name: new, port: 8080, targetPort: new}\n"},
		"a forced server-side apply": {func(env *testEnv) {
			raw, err := env.parse(v2).MarshalJSON()
			require.NoError(env, err)
			force := true
			_, err = env.dynamic.Resource(services).Namespace(env.namespace).Patch(env.Context(), "my-app", types.ApplyPatchType, raw, metav1.PatchOptions{FieldManager: "gitops", Force: &force})
			require.NoError(env, err)
		}, v2},
	} {
		for _, watched := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, controller up %v", name, watched), func(t *testing.T) {
				t.Parallel()
				env := newTestEnv(t)
				env.apply(app)
				c := env.startController()
				env.enable(services, "my-app")
				set := requireOnPage(t, env.waitFor(services, "my-app", "active", state(annotations.Active)))
				if watched {
					tc.revert(env)
					env.waitFor(services, "my-app", "the page again", leadsToPage(set))
					env.waitFor(services, originOf("my-app"), "route to the new app", leadsToApp(tc.want))
					env.disable(services, "my-app")
				} else {
					c.stop()
					tc.revert(env)
					env.disable(services, "my-app")
					env.startController()
				}
				u := env.waitFor(services, "my-app", "restored", restored)
				assert.True(t, leadsToApp(tc.want)(u), "%s", routing(toService(u)))
				env.waitForCleanup()
			})
		}
	}
}

// TestContestedServiceServesTheAppInBetween: a merge patch leaves a selector that matches
// nothing. While the next swap is delayed, visitors get the app.
func TestContestedServiceServesTheAppInBetween(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(service("my-app"))
	env.startController()
	env.enable(services, "my-app")
	set := requireOnPage(t, env.waitFor(services, "my-app", "active", state(annotations.Active)))
	reverts := 0
	revert := func() {
		reverts++
		env.patch(services, "my-app", types.MergePatchType, fmt.Sprintf(`{"metadata":{"annotations":{"n":"%d"}},"spec":{"selector":{"app":"shop","tier":"web"}}}`, reverts))
	}
	for range 3 {
		revert()
		env.waitFor(services, "my-app", "swapped again", leadsToPage(set))
	}
	u := env.catch(services, "my-app", "contested", state(annotations.Contested), revert)
	assert.True(t, leadsToApp(service("my-app"))(u), "%s", routing(toService(u)))
	env.waitFor(services, "my-app", "swapped again", leadsToPage(set))
	env.disable(services, "my-app")
	assert.True(t, leadsToApp(service("my-app"))(env.waitFor(services, "my-app", "restored", restored)))
	env.waitForCleanup()
}

// TestServiceAndItsIngress, on and off in any order.
func TestServiceAndItsIngress(t *testing.T) {
	t.Parallel()
	kinds := []schemaGVR{ingresses, services}
	for _, on := range [][]schemaGVR{{kinds[0], kinds[1]}, {kinds[1], kinds[0]}} {
		for _, off := range [][]schemaGVR{{kinds[0], kinds[1]}, {kinds[1], kinds[0]}} {
			t.Run(fmt.Sprintf("on %s first, off %s first", on[0].Resource, off[0].Resource), func(t *testing.T) {
				t.Parallel()
				env := newTestEnv(t)
				env.apply(strings.ReplaceAll(ingress("my-app"), "name: app,", "name: my-app,"), service("my-app"))
				before := map[schemaGVR]string{}
				for _, gvr := range kinds {
					before[gvr] = spec(t, env.get(gvr, "my-app"))
				}
				env.startController()
				sets := map[string]bool{}
				for _, gvr := range on {
					env.enable(gvr, "my-app")
					sets[requireOnPage(t, env.waitFor(gvr, "my-app", "active", state(annotations.Active)))] = true
				}
				assert.Len(t, sets, 1, "the same content, one page set")
				env.waitFor(configMaps, defaultSet(), "both users in used-by", usedBy("Ingress/my-app,Service/my-app"))
				own := spec(t, env.get(services, defaultSet()))
				env.disable(off[0], "my-app")
				assert.Equal(t, before[off[0]], spec(t, env.waitFor(off[0], "my-app", "restored", restored)))
				requireOnPage(t, env.get(off[1], "my-app"))
				assert.Equal(t, own, spec(t, env.get(services, defaultSet())), "the page set's own Service is unchanged")
				env.disable(off[1], "my-app")
				assert.Equal(t, before[off[1]], spec(t, env.waitFor(off[1], "my-app", "restored", restored)))
				env.waitForCleanup()
			})
		}
	}
}

func TestOwnServiceIsNeverATarget(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(service("my-app"))
	env.startController()
	env.enable(services, "my-app")
	set := requireOnPage(t, env.waitFor(services, "my-app", "active", state(annotations.Active)))
	own := []string{set, originOf("my-app")}
	before := map[string]string{}
	for _, name := range own {
		before[name] = routing(toService(env.get(services, name)))
		env.enable(services, name)
	}
	// Once this one is active, the others have been seen.
	env.apply(service("other"))
	env.enable(services, "other")
	env.waitFor(services, "other", "active", state(annotations.Active))
	for _, name := range own {
		u := env.get(services, name)
		assert.Equal(t, before[name], routing(toService(u)))
		assert.Empty(t, u.GetAnnotations()[annotations.State])
	}
	env.disable(services, "my-app")
	env.disable(services, "other")
	env.waitForCleanup()
}

func TestTakenOriginNameBlocks(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(service("my-app"), service(originOf("my-app")))
	foreign := env.get(services, originOf("my-app")).GetResourceVersion()
	env.startController()
	env.enable(services, "my-app")
	u := env.waitFor(services, "my-app", "blocked", state(annotations.Blocked))
	assert.True(t, leadsToApp(service("my-app"))(u), "the app is served")
	assert.Contains(t, message(env.waitForEvent("my-app", "NameConflict")), originOf("my-app"))
	assert.Equal(t, foreign, env.get(services, originOf("my-app")).GetResourceVersion())
	require.NoError(t, env.client.CoreV1().Services(env.namespace).Delete(t.Context(), originOf("my-app"), metav1.DeleteOptions{}))
	env.waitFor(services, "my-app", "active, now that the name is free", state(annotations.Active))
}

func TestDeletedServiceDeletesItsOrigin(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(service("my-app"))
	env.startController()
	env.enable(services, "my-app")
	env.waitFor(services, "my-app", "active", state(annotations.Active))
	require.NoError(t, env.client.CoreV1().Services(env.namespace).Delete(t.Context(), "my-app", metav1.DeleteOptions{}))
	env.waitForCleanup()
}

func TestServiceFollowsItsCustomPage(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(service("my-app"), customPage("spring", "page.html", "<h1>one</h1>"))
	before := spec(t, env.get(services, "my-app"))
	serves := env.checkServing(services, "my-app")
	env.startController()
	env.annotate(services, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "spring"})
	first := requireOnPage(t, env.waitFor(services, "my-app", "active", state(annotations.Active)))
	serves.waitForCheckOf(first)
	env.edit(configMaps, "page-spring", func(u *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(u.Object, "<h1>two</h1>", "data", "page.html"))
	})
	u := env.waitFor(services, "my-app", "the new page", func(u *unstructured.Unstructured) bool {
		return u.GetAnnotations()[annotations.PageSet] != first && state(annotations.Active)(u)
	})
	assert.True(t, leadsToPage(requireOnPage(t, u))(u))
	serves.waitForCheckOf(requireOnPage(t, u))
	env.disable(services, "my-app")
	assert.Equal(t, before, spec(t, env.waitFor(services, "my-app", "restored", restored)))
	env.waitForCleanup()
}

// TestServiceTargetsAreOffByDefault runs the program with the rights of the manifests.
func TestServiceTargetsAreOffByDefault(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	kubeconfig := installManifests(t, plane, "service-targets.yaml")
	env.apply(service("my-app"), ingress("my-app"))
	before := spec(t, env.get(services, "my-app"))
	env.waitForRole(kubeconfig)
	args := []string{"--watch-namespaces=" + env.namespace, "--leader-elect=false"}
	p := startProcess(t, kubeconfig, args...)
	env.enable(services, "my-app")
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	assert.Equal(t, before, spec(t, env.get(services, "my-app")))
	p.Stop()

	p = startProcess(t, kubeconfig, append(args, "--targets=Ingress,IngressRoute,Service")...)
	env.waitFor(services, "my-app", "active", state(annotations.Active))
	env.disable(services, "my-app")
	env.disable(ingresses, "my-app")
	assert.Equal(t, before, spec(t, env.waitFor(services, "my-app", "restored", restored)))
	env.waitForCleanup()
	assert.NotContains(t, p.log.String(), "forbidden", "the manifests grant all rights that are needed")
}
