package apiserver

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	ids "maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/target"
)

// Two installations of the controller that see the same namespace.

// of runs a controller of an installation. What two of them are to differ in, besides,
// is for the test to say.
func of(id string, adopted ...string) option {
	return func(c *controllerConfig, _ *restConfig) {
		c.Installation = ids.Installation{ID: id, Adopted: adopted}
		c.Template.Labels = map[string]string{"of": id} // a Pod of the other's is an outdated one
	}
}

// set is the name of an installation's set of the built-in page.
func set(id string) string { return ids.Installation{ID: id}.SetName(pages.Default().Hash()) }

// carries: an object has the id and the label of an installation.
func carries(id string) condition {
	return func(u *unstructured.Unstructured) bool { return u != nil && ids.Of(u) == id }
}

// splits are the ways in which two installations can share a namespace: what the second
// one is configured with, and what puts its target in maintenance.
func splits() map[string]struct {
	first, second option
	on            map[string]any
	manifest      string
} {
	classes := func(names ...string) option {
		return func(c *controllerConfig, _ *restConfig) { c.Classes = names }
	}
	key := func(enabled string) option {
		return func(c *controllerConfig, _ *restConfig) { c.Keys.Enabled = enabled }
	}
	return map[string]struct {
		first, second option
		on            map[string]any
		manifest      string
	}{
		"by class": {classes("traefik"), classes("nginx"), map[string]any{annotations.DefaultEnabled: "true"}, withClass("theirs", "nginx")},
		"by key":   {key(annotations.DefaultEnabled), key("red.example/maintenance"), map[string]any{"red.example/maintenance": "true"}, ingress("theirs")},
	}
}

// TestTwoInstallations that are told apart by classes or by keys each serve their own:
// neither writes the other's targets, and Pods of both are made once.
func TestTwoInstallations(t *testing.T) {
	t.Parallel()
	for name, split := range splits() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.wantNoHoles()
			w.apply(ingress("ours"), split.manifest)
			before := map[string]string{"ours": spec(t, w.get(ingresses, "ours")), "theirs": spec(t, w.get(ingresses, "theirs"))}
			made := w.countPods()
			first, second := w.start(of("blue"), split.first), w.start(of("red"), split.second)
			w.on(ingresses, "ours")
			w.annotate(ingresses, "theirs", split.on)
			for target, id := range map[string]string{"ours": "blue", "theirs": "red"} {
				u := w.until(ingresses, target, "active", state(annotations.Active))
				assert.Equal(t, set(id), allOn(t, u))
				assert.Equal(t, id, ids.Of(u))
				w.until(configMaps, backup.Name(refOf(w, target)), "its mark", carries(id))
				for _, gvr := range []schemaGVR{configMaps, services, budgets} {
					w.until(gvr, set(id), "its mark", carries(id))
				}
			}
			w.untilPods(4, exists)
			first.stop() // to look at everything anew
			second.stop()
			w.start(of("blue"), split.first)
			w.start(of("red"), split.second)
			seen := w.watchRevisions(ingresses, "theirs", func(*unstructured.Unstructured) {})
			w.off(ingresses, "ours")
			assert.Equal(t, before["ours"], spec(t, w.until(ingresses, "ours", "restored", restored)))
			w.until(configMaps, set("blue"), "its end", absent)
			assert.Equal(t, 1, seen(), "nobody writes what the other has in maintenance")
			assert.Equal(t, 4, made(), "each Pod is made once")
			assert.Equal(t, set("red"), allOn(t, w.get(ingresses, "theirs")), "the other's stays")
			assert.Nil(t, w.get(configMaps, set("red")).GetDeletionTimestamp())
			for key := range split.on {
				w.annotate(ingresses, "theirs", map[string]any{key: nil})
			}
			assert.Equal(t, before["theirs"], spec(t, w.until(ingresses, "theirs", "restored", restored)))
			w.untilClean()
		})
	}
}

func refOf(w *world, name string) target.Ref {
	return target.Ref{Kind: "Ingress", Namespace: w.namespace, Name: name}
}

// TestBothAreAsked for one target, which cannot work: one has it, the other says so, and
// what it had begun goes. So it stays while the one that has it is away; and if both begin
// at the same moment.
func TestBothAreAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.wantNoHoles()
	w.apply(ingress("my-app"))
	before := spec(t, w.get(ingresses, "my-app"))
	w.on(ingresses, "my-app")
	w.start(of("blue"))
	w.start(of("red"))
	u := w.until(ingresses, "my-app", "active", state(annotations.Active))
	winner, loser := ids.Of(u), map[string]string{"blue": "red", "red": "blue"}[ids.Of(u)]
	require.NotEmpty(t, loser)
	assert.Equal(t, set(winner), allOn(t, u))
	said := w.untilTold("my-app", "ForeignInstallation", "")
	assert.Contains(t, said, fmt.Sprintf("installation %q has this in maintenance, so that installation %q leaves it alone", winner, loser))
	w.until(configMaps, set(loser), "its end", absent)
	w.until(configMaps, backup.Name(refOf(w, "my-app")), "of the winner", carries(winner))
	version := w.get(ingresses, "my-app").GetResourceVersion()
	w.annotate(ingresses, "my-app", map[string]any{"team": "shop"}) // both look again
	w.untilPods(2, exists)
	assert.NotEqual(t, version, w.get(ingresses, "my-app").GetResourceVersion())
	w.off(ingresses, "my-app")
	assert.Equal(t, before, spec(t, w.until(ingresses, "my-app", "restored", restored)))
	w.untilClean()
}

// TestStrippedOfItsOwnInstallation: without our annotations, the backup and the page set
// tell whose a target is.
func TestStrippedOfItsOwnInstallation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	blue := w.start(of("blue"))
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	blue.stop()
	w.annotate(ingresses, "my-app", map[string]any{annotations.State: nil, annotations.Original: nil, annotations.PageSet: nil, annotations.Installation: nil, annotations.Since: nil})
	seen := w.watchRevisions(ingresses, "my-app", func(*unstructured.Unstructured) {})
	w.start(of("red"))
	w.untilTold("my-app", "ForeignInstallation", `"blue"`)
	assert.Equal(t, 1, seen(), "as it was")
	w.off(ingresses, "my-app")
	w.start(of("blue"))
	assert.True(t, specIs(ingress("my-app"))(w.until(ingresses, "my-app", "restored", restored)))
	w.untilClean()
}

// TestAnUpgradeToIDs: what is from before installations had ids is taken as it is, by an
// installation whose id is in the names of its sets too. The next page has the id.
func TestAnUpgradeToIDs(t *testing.T) {
	t.Parallel()
	for _, id := range []string{ids.Default, "blue"} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.wantNoHoles()
			w.apply(ingress("my-app"), ingressRoute("my-app"))
			none := func(c *controllerConfig, _ *restConfig) { c.Installation = ids.Installation{} }
			earlier := w.start(none)
			for _, gvr := range []schemaGVR{ingresses, ingressRoutes} {
				w.on(gvr, "my-app")
				w.until(gvr, "my-app", "active", state(annotations.Active))
			}
			w.untilPods(2, exists)
			earlier.stop()
			before := w.get(ingresses, "my-app")
			require.Empty(t, ids.Of(before))
			made := w.countPods()
			sets := w.get(configMaps, defaultSet()).GetResourceVersion()
			own := func(c *controllerConfig, _ *restConfig) { c.Installation = ids.Installation{ID: id} }
			now := w.start(own)
			<-now.Synced()
			w.apply(ingress("later"))
			w.on(ingresses, "later")
			later := w.until(ingresses, "later", "active", state(annotations.Active))
			assert.Equal(t, set(id), allOn(t, later))
			assert.Equal(t, before, w.get(ingresses, "my-app"), "nothing is written to what is in maintenance")
			if id != ids.Default {
				assert.Equal(t, sets, w.get(configMaps, defaultSet()).GetResourceVersion(), "nor to its page set")
				w.untilPods(4, exists)
			} else {
				assert.Equal(t, id, ids.Of(w.get(configMaps, defaultSet())), "marked with the user that is written")
				assert.Equal(t, 2, made(), "and no Pod is made anew")
			}
			w.apply(customPage("sale", "page.html", "<h1>sale</h1>"))
			w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultCustomPage: "sale"})
			u := w.until(ingresses, "my-app", "the other page", func(u *unstructured.Unstructured) bool {
				return ids.Of(u) == id && state(annotations.Active)(u)
			})
			assert.NotEqual(t, defaultSet(), allOn(t, u))
			for _, gvr := range []schemaGVR{ingresses, ingressRoutes} {
				w.off(gvr, "my-app")
				w.until(gvr, "my-app", "restored", restored)
			}
			w.off(ingresses, "later")
			w.untilClean()
		})
	}
}

// TestARenamedReleaseTakesOver what the one of the earlier name has in maintenance: the
// page sets stay, and no visitor is moved.
func TestARenamedReleaseTakesOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.wantNoHoles()
	w.apply(ingress("my-app"))
	before := spec(t, w.get(ingresses, "my-app"))
	earlier := w.start(of("blue"))
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	earlier.stop()
	stranger := w.start(of("green"))
	w.untilTold("my-app", "ForeignInstallation", `"blue"`)
	stranger.stop()
	version := w.get(ingresses, "my-app").GetResourceVersion()
	w.start(of("red", "blue"))
	w.apply(ingress("other"))
	w.on(ingresses, "other")
	assert.Equal(t, set("red"), allOn(t, w.until(ingresses, "other", "active", state(annotations.Active))))
	assert.Equal(t, version, w.get(ingresses, "my-app").GetResourceVersion(), "nothing is written for the name")
	w.off(ingresses, "my-app")
	assert.Equal(t, before, spec(t, w.until(ingresses, "my-app", "restored", restored)))
	w.until(configMaps, set("blue"), "its end", absent)
	w.off(ingresses, "other")
	w.untilClean()
}

// TestRestoreOfOneInstallation: restore --all, which is what an uninstall does, ends what
// is its own or has no id, and leaves the other's sets and targets.
func TestRestoreOfOneInstallation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("ours"), ingress("theirs"), ingress("stripped"), ingressRoute("old"))
	in := func(k target.Kind, name string, of option) {
		c := w.start(of, func(c *controllerConfig, _ *restConfig) { c.Kinds = []target.Kind{k} })
		w.on(k.Resource, name)
		w.until(k.Resource, name, "active", state(annotations.Active))
		c.stop()
	}
	in(target.IngressRoute(), "old", func(c *controllerConfig, _ *restConfig) { c.Installation = ids.Installation{} })
	in(target.Ingress(), "ours", of("blue"))
	in(target.Ingress(), "theirs", of("red"))
	in(target.Ingress(), "stripped", of("red"))
	w.annotate(ingresses, "stripped", map[string]any{annotations.State: nil, annotations.Original: nil, annotations.PageSet: nil, annotations.Installation: nil, annotations.Since: nil})
	theirs, stripped := w.get(ingresses, "theirs"), w.get(ingresses, "stripped")

	code, out := w.restoreCommand("--installation-id=blue", "--all", "--watch-namespaces="+w.namespace)
	require.Equal(t, 0, code, out)
	assert.True(t, restored(w.get(ingresses, "ours")))
	assert.True(t, restored(w.get(ingressRoutes, "old")))
	for _, name := range []string{"theirs", "stripped"} {
		assert.Contains(t, out, "left alone Ingress "+w.namespace+"/"+name+`: installation "red" has it in maintenance`)
		w.until(configMaps, backup.Name(refOf(w, name)), "to stay", exists)
	}
	assert.Equal(t, theirs, w.get(ingresses, "theirs"))
	assert.Equal(t, stripped, w.get(ingresses, "stripped"))
	assert.Contains(t, out, "deleted    page set "+w.namespace+"/"+set("blue"))
	assert.Nil(t, w.get(configMaps, set("red")).GetDeletionTimestamp())

	code, out = w.restoreCommand("--installation-id=blue", "ingress/theirs", "-n", w.namespace, "--remove-annotations")
	require.Equal(t, 0, code, out)
	assert.Contains(t, out, `installation "red" has it in maintenance`)
	assert.True(t, restored(w.get(ingresses, "theirs")), "who names it means it")
	code, out = w.restoreCommand("--installation-id=blue", "--all", "--all-installations", "--watch-namespaces="+w.namespace)
	require.Equal(t, 0, code, out)
	assert.True(t, restored(w.get(ingresses, "stripped")))
	w.untilClean()
}

// TestLostLabels: what is found by a label and has lost it gets it back; a set that
// nobody can find again would leave its targets pending for ever.
func TestLostLabels(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), service("my-app"), "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: default-deny}\nspec: {podSelector: {}, policyTypes: [Ingress]}\n")
	c := w.start()
	for _, gvr := range []schemaGVR{ingresses, services} {
		w.on(gvr, "my-app")
		w.until(gvr, "my-app", "active", state(annotations.Active))
	}
	ref := refOf(w, "my-app")
	lost := map[schemaGVR][]string{
		configMaps: {defaultSet(), backup.Name(ref)}, services: {defaultSet(), originOf("my-app")}, budgets: {defaultSet()}, networkPolicies: {defaultSet()},
	}
	strip := func() map[string]map[string]string {
		had := map[string]map[string]string{}
		for gvr, names := range lost {
			for _, name := range names {
				labels := w.get(gvr, name).GetLabels()
				had[gvr.Resource+name] = labels
				w.edit(gvr, name, func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{"team": "shop"}) })
			}
		}
		return had
	}
	back := func(had map[string]map[string]string) {
		for gvr, names := range lost {
			for _, name := range names {
				w.until(gvr, name, "its labels", func(u *unstructured.Unstructured) bool {
					if u == nil {
						return false // a budget is made anew
					}
					for key, value := range had[gvr.Resource+name] {
						if u.GetLabels()[key] != value {
							return false
						}
					}
					return true
				})
			}
		}
	}
	back(strip())
	c.stop()
	had := strip()
	w.apply(ingress("other"))
	w.on(ingresses, "other")
	w.start()
	w.until(ingresses, "other", "active, on a set of which no watch shows a thing", state(annotations.Active))
	back(had)
	for name, gvr := range map[string]schemaGVR{"other": ingresses, "my-app": ingresses} {
		w.off(gvr, name)
		w.until(gvr, name, "restored", restored)
	}
	w.off(services, "my-app")
	w.until(services, "my-app", "restored", restored)
	w.untilClean()
}

// TestASetIsCollectedThoughItLostItsLabels while nobody used it.
func TestASetIsCollectedThoughItLostItsLabels(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	c := w.start(func(c *controllerConfig, _ *restConfig) { c.Grace = time.Hour })
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", restored)
	c.stop()
	w.edit(configMaps, defaultSet(), func(u *unstructured.Unstructured) { u.SetLabels(nil) })
	w.start()
	w.until(configMaps, defaultSet(), "its end", absent)
	w.untilClean()
}

// TestNamedTwice: a namespace that is watched twice shows each Pod once.
func TestNamedTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	made := w.countPods()
	runProgram(t, plane.Kubeconfig(), "--watch-namespaces="+w.namespace+","+w.namespace, "--targets=Ingress,ingress", "--namespace="+w.own, "--leader-elect=false", "--page-replicas=1")
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second) // in which Pods were deleted and made before
	defer cancel()
	_, _ = w.podsReach(ctx, -1, exists)
	assert.Equal(t, 1, made())
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", restored)
	w.untilClean()
	_, err := w.client.CoreV1().ConfigMaps(w.namespace).Get(t.Context(), defaultSet(), metav1.GetOptions{})
	assert.Error(t, err)
}
