package apiserver

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/target"
)

var toolsSeed = flag.Uint64("tools-seed", 0, "seed of the tests with random tools and edits; 0 = a new one each time")

// randomSeed returns a seed, which the caller must log.
func randomSeed() uint64 {
	if *toolsSeed != 0 {
		return *toolsSeed
	}
	return rand.Uint64()
}

// TestSelfHealingToolIsContested: a tool reverts its backends whenever it finds them
// changed. The controller answers after longer and longer delays. The message names the
// tool and the section about it, and the restore gives back what the tool wrote.
func TestSelfHealingToolIsContested(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"like Argo CD", "like Flux", "like Terraform", "kubectl apply", "helm upgrade"} {
		for _, k := range target.Kinds() {
			if name == "helm upgrade" && k.Custom {
				continue // see TestHelmLeavesCustomResources
			}
			t.Run(name+" "+k.Name, func(t *testing.T) {
				t.Parallel()
				tools()[name].revertRepeatedly(newTestEnv(t), k)
			})
		}
	}
}

func (tool tool) revertRepeatedly(env *testEnv, k target.Kind) {
	_, git := env.releases(k.Name, "my-app")
	tool.write(env, git)
	want := env.authoredState(env.get(k.Resource, "my-app"))
	if tool.replacesAll { // such a tool needs the annotation in its manifest
		git.SetAnnotations(map[string]string{annotations.DefaultEnabled: "true"})
	}
	env.startController()
	env.enable(k.Resource, "my-app")
	slots := len(pageSetsOf(env.waitFor(k.Resource, "my-app", "active", state(annotations.Active))))
	onPage := func(u *unstructured.Unstructured) bool { return len(pageSetsOf(u)) == slots }
	var times []time.Duration
	for range 5 {
		writing := time.Now()
		tool.write(env, git)
		env.waitFor(k.Resource, "my-app", "the page again", onPage)
		times = append(times, time.Since(writing))
	}
	assert.GreaterOrEqual(env, times[3], time.Second, "the fourth time it waits for one second")
	assert.GreaterOrEqual(env, times[4], 2*time.Second, "and then for two seconds")

	section := plan.ToolOf(tool.manager).Section.String()
	contested := func(u *unstructured.Unstructured) bool {
		return len(pageSetsOf(u)) == 0 && state(annotations.Contested)(u)
	}
	u := env.catch(k.Resource, "my-app", "the app, contested", contested, func() { tool.write(env, git) })
	event := env.waitForMessage("my-app", "BackendReverted", "the state is contested")
	assert.Contains(env, event, "revert 4 in a row")
	for _, text := range []string{u.GetAnnotations()[annotations.Message], event} {
		assert.Contains(env, text, fmt.Sprintf("field manager %q", tool.manager))
		assert.Contains(env, text, section)
	}
	env.disable(k.Resource, "my-app")
	assert.Equal(env, want, env.authoredState(env.waitFor(k.Resource, "my-app", "restored", restored)))
}

// TestHelmLeavesCustomResources: for custom resources Helm compares only with its own last
// release, so an upgrade without changes leaves the page in place.
func TestHelmLeavesCustomResources(t *testing.T) {
	t.Parallel()
	env, k := newTestEnv(t), target.IngressRoute()
	release, _ := env.releases(k.Name, "my-app")
	helm(env, release)
	env.startController()
	env.enable(k.Resource, "my-app")
	before := env.waitFor(k.Resource, "my-app", "active", state(annotations.Active))
	helm(env, release)
	assert.Equal(t, before.GetResourceVersion(), env.get(k.Resource, "my-app").GetResourceVersion())
}

func TestContestedTargetBacksOff(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.startController()
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	onPage := func(u *unstructured.Unstructured) bool { return len(pageSetsOf(u)) == 4 }
	revert := func() {
		env.edit(ingresses, "my-app", func(u *unstructured.Unstructured) { u.Object["spec"] = env.parse(ingress("x")).Object["spec"] })
	}
	for range 3 {
		revert()
		env.waitFor(ingresses, "my-app", "swapped again at once", onPage)
	}
	reverting := time.Now()
	revert()
	u := env.waitFor(ingresses, "my-app", "contested", state(annotations.Contested))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], `"editor"`)
	env.waitFor(ingresses, "my-app", "swapped again", onPage)
	assert.GreaterOrEqual(t, time.Since(reverting), time.Second, "the fourth time it waits for one second")
	assert.Equal(t, annotations.Contested, env.get(ingresses, "my-app").GetAnnotations()[annotations.State])
	env.disable(ingresses, "my-app")
	assert.Equal(t, spec(t, env.parse(ingress("x"))), spec(t, env.waitFor(ingresses, "my-app", "restored", restored)))
}
