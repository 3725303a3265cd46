package apiserver

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
)

// TestLostLabelsAreRestored: an object that is found by a label gets a lost label back.
// Otherwise its targets would stay pending forever.
func TestLostLabelsAreRestored(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), service("my-app"), "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: default-deny}\nspec: {podSelector: {}, policyTypes: [Ingress]}\n")
	c := env.startController()
	for _, gvr := range []schemaGVR{ingresses, services} {
		env.enable(gvr, "my-app")
		env.waitFor(gvr, "my-app", "active", state(annotations.Active))
	}
	ref := ingressRef(env, "my-app")
	lost := map[schemaGVR][]string{
		configMaps: {defaultSet(), backup.Name(ref)}, services: {defaultSet(), originOf("my-app")}, budgets: {defaultSet()}, networkPolicies: {defaultSet()},
	}
	strip := func() map[string]map[string]string {
		had := map[string]map[string]string{}
		for gvr, names := range lost {
			for _, name := range names {
				labels := env.get(gvr, name).GetLabels()
				had[gvr.Resource+name] = labels
				env.edit(gvr, name, func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{"team": "shop"}) })
			}
		}
		return had
	}
	back := func(had map[string]map[string]string) {
		for gvr, names := range lost {
			for _, name := range names {
				env.waitFor(gvr, name, "its labels", func(u *unstructured.Unstructured) bool {
					if u == nil {
						return false // a budget is recreated
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
	env.apply(ingress("other"))
	env.enable(ingresses, "other")
	env.startController()
	env.waitFor(ingresses, "other", "active, on a set that no watch shows", state(annotations.Active))
	back(had)
	for name, gvr := range map[string]schemaGVR{"other": ingresses, "my-app": ingresses} {
		env.disable(gvr, name)
		env.waitFor(gvr, name, "restored", restored)
	}
	env.disable(services, "my-app")
	env.waitFor(services, "my-app", "restored", restored)
	env.waitForCleanup()
}

// TestUnlabelledPageSetIsCollected: a set without users has lost its labels.
func TestUnlabelledPageSetIsCollected(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	c := env.startController(func(c *controllerConfig, _ *restConfig) { c.Grace = time.Hour })
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restored)
	c.stop()
	env.edit(configMaps, defaultSet(), func(u *unstructured.Unstructured) { u.SetLabels(nil) })
	env.startController()
	env.waitFor(configMaps, defaultSet(), "deletion", absent)
	env.waitForCleanup()
}
