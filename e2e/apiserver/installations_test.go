package apiserver

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	ids "maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/target"
)

// Two installations of the controller that see the same namespace.

// withInstallation sets the id of the controller's installation. The test sets what else
// the two differ in.
func withInstallation(id string, adopted ...string) controllerOption {
	return func(c *controllerConfig, _ *restConfig) {
		c.Installation = ids.Installation{ID: id, Adopted: adopted}
		c.Template.Labels = map[string]string{"of": id} // so that each takes the other's Pods for outdated
	}
}

// setOfInstallation is the name of an installation's page set of the built-in page.
func setOfInstallation(id string) string {
	return ids.Installation{ID: id}.SetName(pages.Default().Hash())
}

// hasInstallation: the object has the id and the label of an installation.
func hasInstallation(id string) condition {
	return func(u *unstructured.Unstructured) bool { return u != nil && ids.Of(u) == id }
}

// separations are the ways in which two installations can share a namespace: their
// configuration, and what puts the target of the second one in maintenance.
func separations() map[string]struct {
	first, second controllerOption
	on            map[string]any
	manifest      string
} {
	classes := func(names ...string) controllerOption {
		return func(c *controllerConfig, _ *restConfig) { c.Classes = names }
	}
	key := func(enabled string) controllerOption {
		return func(c *controllerConfig, _ *restConfig) { c.Keys.Enabled = enabled }
	}
	return map[string]struct {
		first, second controllerOption
		on            map[string]any
		manifest      string
	}{
		"by class": {classes("traefik"), classes("nginx"), map[string]any{annotations.DefaultEnabled: "true"}, withClass("theirs", "nginx")},
		"by key":   {key(annotations.DefaultEnabled), key("red.example/maintenance"), map[string]any{"red.example/maintenance": "true"}, ingress("theirs")},
	}
}

// TestTwoInstallations, separated by class or by key: neither writes the other's targets,
// and the Pods of both are created once.
func TestTwoInstallations(t *testing.T) {
	t.Parallel()
	for name, split := range separations() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t)
			env.requireNoGaps()
			env.apply(ingress("ours"), split.manifest)
			before := map[string]string{"ours": spec(t, env.get(ingresses, "ours")), "theirs": spec(t, env.get(ingresses, "theirs"))}
			made := env.countPods()
			first, second := env.startController(withInstallation("blue"), split.first), env.startController(withInstallation("red"), split.second)
			env.enable(ingresses, "ours")
			env.annotate(ingresses, "theirs", split.on)
			for target, id := range map[string]string{"ours": "blue", "theirs": "red"} {
				u := env.waitFor(ingresses, target, "active", state(annotations.Active))
				assert.Equal(t, setOfInstallation(id), requireOnPage(t, u))
				assert.Equal(t, id, ids.Of(u))
				env.waitFor(configMaps, backup.Name(ingressRef(env, target)), "its installation", hasInstallation(id))
				for _, gvr := range []schemaGVR{configMaps, services, budgets} {
					env.waitFor(gvr, setOfInstallation(id), "its installation", hasInstallation(id))
				}
			}
			env.waitForPods(4, exists)
			first.stop() // restart, so that both reconcile everything
			second.stop()
			env.startController(withInstallation("blue"), split.first)
			env.startController(withInstallation("red"), split.second)
			seen := env.watchRevisions(ingresses, "theirs", func(*unstructured.Unstructured) {})
			env.disable(ingresses, "ours")
			assert.Equal(t, before["ours"], spec(t, env.waitFor(ingresses, "ours", "restored", restored)))
			env.waitFor(configMaps, setOfInstallation("blue"), "deletion", absent)
			assert.Equal(t, 1, seen(), "nobody writes to the other's target")
			assert.Equal(t, 4, made(), "each Pod is created once")
			assert.Equal(t, setOfInstallation("red"), requireOnPage(t, env.get(ingresses, "theirs")), "the other's target stays on its page")
			assert.Nil(t, env.get(configMaps, setOfInstallation("red")).GetDeletionTimestamp())
			for key := range split.on {
				env.annotate(ingresses, "theirs", map[string]any{key: nil})
			}
			assert.Equal(t, before["theirs"], spec(t, env.waitFor(ingresses, "theirs", "restored", restored)))
			env.waitForCleanup()
		})
	}
}

func ingressRef(env *testEnv, name string) target.Ref {
	return target.Ref{Kind: "Ingress", Namespace: env.namespace, Name: name}
}

// TestTwoInstallationsForOneTarget cannot work: one has the target, and the other reports
// that and undoes what it had begun. They start at the same moment.
func TestTwoInstallationsForOneTarget(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.requireNoGaps()
	env.apply(ingress("my-app"))
	before := spec(t, env.get(ingresses, "my-app"))
	env.enable(ingresses, "my-app")
	env.startController(withInstallation("blue"))
	env.startController(withInstallation("red"))
	u := env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	winner, loser := ids.Of(u), map[string]string{"blue": "red", "red": "blue"}[ids.Of(u)]
	require.NotEmpty(t, loser)
	assert.Equal(t, setOfInstallation(winner), requireOnPage(t, u))
	text := env.waitForMessage("my-app", "InstallationConflict", "")
	assert.Contains(t, text, fmt.Sprintf("installation %q already has this in maintenance, so installation %q leaves it alone", winner, loser))
	env.waitFor(configMaps, setOfInstallation(loser), "deletion", absent)
	env.waitFor(configMaps, backup.Name(ingressRef(env, "my-app")), "the winner's installation", hasInstallation(winner))
	version := env.get(ingresses, "my-app").GetResourceVersion()
	env.annotate(ingresses, "my-app", map[string]any{"team": "shop"}) // both reconcile it again
	env.waitForPods(2, exists)
	assert.NotEqual(t, version, env.get(ingresses, "my-app").GetResourceVersion())
	env.disable(ingresses, "my-app")
	assert.Equal(t, before, spec(t, env.waitFor(ingresses, "my-app", "restored", restored)))
	env.waitForCleanup()
}

// TestStrippedTargetKeepsItsInstallation: without the annotations, the backup and the page
// set tell which installation has the target.
func TestStrippedTargetKeepsItsInstallation(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	blue := env.startController(withInstallation("blue"))
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	blue.stop()
	env.annotate(ingresses, "my-app", map[string]any{annotations.State: nil, annotations.Original: nil, annotations.PageSet: nil, annotations.Installation: nil, annotations.Since: nil})
	seen := env.watchRevisions(ingresses, "my-app", func(*unstructured.Unstructured) {})
	env.startController(withInstallation("red"))
	env.waitForMessage("my-app", "InstallationConflict", `"blue"`)
	assert.Equal(t, 1, seen(), "nobody writes to the target")
	env.disable(ingresses, "my-app")
	env.startController(withInstallation("blue"))
	assert.True(t, restoredTo(ingress("my-app"))(env.waitFor(ingresses, "my-app", "restored", restored)))
	env.waitForCleanup()
}

// TestUpgradeToInstallationIDs: an installation takes over what is from before there were
// ids, without a change, even if its id is part of the names of its page sets. The next
// page set has the id.
func TestUpgradeToInstallationIDs(t *testing.T) {
	t.Parallel()
	for _, id := range []string{ids.Default, "blue"} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t)
			env.requireNoGaps()
			env.apply(ingress("my-app"), ingressRoute("my-app"))
			none := func(c *controllerConfig, _ *restConfig) { c.Installation = ids.Installation{} }
			earlier := env.startController(none)
			for _, gvr := range []schemaGVR{ingresses, ingressRoutes} {
				env.enable(gvr, "my-app")
				env.waitFor(gvr, "my-app", "active", state(annotations.Active))
			}
			env.waitForPods(2, exists)
			env.waitFor(configMaps, defaultSet(), "both users in used-by", usedBy("Ingress/my-app,IngressRoute/my-app"))
			earlier.stop()
			before := env.get(ingresses, "my-app")
			require.Empty(t, ids.Of(before))
			made := env.countPods()
			sets := env.get(configMaps, defaultSet()).GetResourceVersion()
			own := func(c *controllerConfig, _ *restConfig) { c.Installation = ids.Installation{ID: id} }
			now := env.startController(own)
			<-now.Synced()
			env.apply(ingress("later"))
			env.enable(ingresses, "later")
			later := env.waitFor(ingresses, "later", "active", state(annotations.Active))
			assert.Equal(t, setOfInstallation(id), requireOnPage(t, later))
			assert.Equal(t, before, env.get(ingresses, "my-app"), "nobody writes to the target")
			if id != ids.Default {
				assert.Equal(t, sets, env.get(configMaps, defaultSet()).GetResourceVersion(), "nor to its page set")
				env.waitForPods(4, exists)
			} else {
				env.waitFor(configMaps, defaultSet(), "the id, which it gets when its users are written", func(u *unstructured.Unstructured) bool { return ids.Of(u) == id })
				assert.Equal(t, 2, made(), "no Pod is recreated")
			}
			env.apply(customPage("sale", "page.html", "<h1>sale</h1>"))
			env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultCustomPage: "sale"})
			u := env.waitFor(ingresses, "my-app", "the other page", func(u *unstructured.Unstructured) bool {
				return ids.Of(u) == id && state(annotations.Active)(u)
			})
			assert.NotEqual(t, defaultSet(), requireOnPage(t, u))
			for _, gvr := range []schemaGVR{ingresses, ingressRoutes} {
				env.disable(gvr, "my-app")
				env.waitFor(gvr, "my-app", "restored", restored)
			}
			env.disable(ingresses, "later")
			env.waitForCleanup()
		})
	}
}

// TestRenamedReleaseTakesOver what the release with the old name has in maintenance: the
// page sets stay, and visitors are not moved.
func TestRenamedReleaseTakesOver(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.requireNoGaps()
	env.apply(ingress("my-app"))
	before := spec(t, env.get(ingresses, "my-app"))
	earlier := env.startController(withInstallation("blue"))
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	earlier.stop()
	stranger := env.startController(withInstallation("green"))
	env.waitForMessage("my-app", "InstallationConflict", `"blue"`)
	stranger.stop()
	version := env.get(ingresses, "my-app").GetResourceVersion()
	env.startController(withInstallation("red", "blue"))
	env.apply(ingress("other"))
	env.enable(ingresses, "other")
	assert.Equal(t, setOfInstallation("red"), requireOnPage(t, env.waitFor(ingresses, "other", "active", state(annotations.Active))))
	assert.Equal(t, version, env.get(ingresses, "my-app").GetResourceVersion(), "the new name alone causes no write")
	env.disable(ingresses, "my-app")
	assert.Equal(t, before, spec(t, env.waitFor(ingresses, "my-app", "restored", restored)))
	env.waitFor(configMaps, setOfInstallation("blue"), "deletion", absent)
	env.disable(ingresses, "other")
	env.waitForCleanup()
}

// TestRestoreAllOfOneInstallation: restore --all, which an uninstall runs, restores its own
// targets and those without an id. It leaves the other installation's targets and page sets alone.
func TestRestoreAllOfOneInstallation(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("ours"), ingress("theirs"), ingress("stripped"), ingressRoute("old"))
	in := func(k target.Kind, name string, of controllerOption) {
		c := env.startController(of, func(c *controllerConfig, _ *restConfig) { c.Kinds = []target.Kind{k} })
		env.enable(k.Resource, name)
		env.waitFor(k.Resource, name, "active", state(annotations.Active))
		c.stop()
	}
	in(target.IngressRoute(), "old", func(c *controllerConfig, _ *restConfig) { c.Installation = ids.Installation{} })
	in(target.Ingress(), "ours", withInstallation("blue"))
	in(target.Ingress(), "theirs", withInstallation("red"))
	in(target.Ingress(), "stripped", withInstallation("red"))
	env.annotate(ingresses, "stripped", map[string]any{annotations.State: nil, annotations.Original: nil, annotations.PageSet: nil, annotations.Installation: nil, annotations.Since: nil})
	theirs, stripped := env.get(ingresses, "theirs"), env.get(ingresses, "stripped")

	code, out := env.restoreCommand("--installation-id=blue", "--all", "--watch-namespaces="+env.namespace)
	require.Equal(t, 0, code, out)
	assert.True(t, restored(env.get(ingresses, "ours")))
	assert.True(t, restored(env.get(ingressRoutes, "old")))
	for _, name := range []string{"theirs", "stripped"} {
		assert.Contains(t, out, "left alone Ingress "+env.namespace+"/"+name+`: installation "red" has it in maintenance`)
		env.waitFor(configMaps, backup.Name(ingressRef(env, name)), "still there", exists)
	}
	assert.Equal(t, theirs, env.get(ingresses, "theirs"))
	assert.Equal(t, stripped, env.get(ingresses, "stripped"))
	assert.Contains(t, out, "deleted    page set "+env.namespace+"/"+setOfInstallation("blue"))
	assert.Nil(t, env.get(configMaps, setOfInstallation("red")).GetDeletionTimestamp())

	code, out = env.restoreCommand("--installation-id=blue", "ingress/theirs", "-n", env.namespace, "--remove-annotations")
	require.Equal(t, 0, code, out)
	assert.Contains(t, out, `installation "red" has it in maintenance`)
	assert.True(t, restored(env.get(ingresses, "theirs")), "a named target is restored whoever has it")
	code, out = env.restoreCommand("--installation-id=blue", "--all", "--all-installations", "--watch-namespaces="+env.namespace)
	require.Equal(t, 0, code, out)
	assert.True(t, restored(env.get(ingresses, "stripped")))
	env.waitForCleanup()
}
