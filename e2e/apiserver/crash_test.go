package apiserver

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/target"
)

// TestCrashAfterEveryWrite stops the controller after its n-th write, for every n of a
// scenario, starts another one and requires the right end state. Every revision in between
// is checked as well (see package soundness).
func TestCrashAfterEveryWrite(t *testing.T) {
	t.Parallel()
	for name, scenario := range crashScenarios() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				died := false
				ok := t.Run(fmt.Sprintf("after write %d", n), func(t *testing.T) { died = crash(t, scenario, n) })
				if !ok || !died {
					t.Logf("ended at write %d", n)
					require.Greater(t, n, 2, "a scenario has more than one write")
					return
				}
			}
		})
	}
}

// crashScenario brings about a state with a controller, changes something without one, and
// has the goals that must be reached then.
type crashScenario struct {
	setup func(*testEnv) // while a controller works
	act   func(*testEnv) // while none works
	goals []goal
}

type goal struct {
	gvr  schemaGVR
	name string
	ok   condition
}

// crash says whether the controller made enough writes to be stopped.
func crash(t *testing.T, s crashScenario, n int) (died bool) {
	t.Helper()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), ingressRoute("my-app"), service("my-app"), customPage("spring", "page.html", "<h1>spring</h1>"))
	if s.setup != nil {
		c := env.startController()
		s.setup(env)
		c.stop()
	}
	s.act(env)
	k := newCrasher(n)
	c := env.startController(k.wrap)
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	reached := make(chan struct{})
	go func() {
		defer close(reached)
		for _, g := range s.goals {
			if _, ok := env.tryWaitFor(ctx, g.gvr, g.name, g.ok); !ok {
				return
			}
		}
	}()
	select {
	case <-k.died:
		cancel()
		died = true
	case <-reached:
	}
	<-reached
	c.stop()
	if died {
		env.startController()
	}
	for _, g := range s.goals {
		env.waitFor(g.gvr, g.name, "the goal of the scenario", g.ok)
	}
	return died
}

func crashScenarios() map[string]crashScenario {
	both := func(env *testEnv, f func(schemaGVR)) {
		for _, gvr := range []schemaGVR{ingresses, ingressRoutes, services} {
			f(gvr)
		}
	}
	enter := func(env *testEnv) { both(env, func(gvr schemaGVR) { env.enable(gvr, "my-app") }) }
	untilActive := func(env *testEnv) {
		both(env, func(gvr schemaGVR) { env.waitFor(gvr, "my-app", "active", state(annotations.Active)) })
	}
	active := []goal{
		{ingresses, "my-app", onPage(4, annotations.Active)},
		{ingressRoutes, "my-app", onPage(2, annotations.Active)},
		{services, "my-app", onPage(1, annotations.Active)},
		{services, originOf("my-app"), leadsToApp(service("my-app"))},
	}
	return map[string]crashScenario{
		"on":  {act: enter, goals: active},
		"off": {setup: func(env *testEnv) { enter(env); untilActive(env) }, act: func(env *testEnv) { both(env, func(gvr schemaGVR) { env.disable(gvr, "my-app") }) }, goals: cleanedUp()},
		"page change": {
			setup: func(env *testEnv) { enter(env); untilActive(env) },
			act: func(env *testEnv) {
				both(env, func(gvr schemaGVR) {
					env.annotate(gvr, "my-app", map[string]any{annotations.DefaultCustomPage: "spring"})
				})
			},
			goals: append([]goal{{configMaps, defaultSet(), absent}}, active...),
		},
		"automatic maintenance": {
			act: func(env *testEnv) {
				env.apply(simpleIngress("plain"))
				env.annotate(ingresses, "plain", automatic())
				env.annotate(services, "my-app", automatic())
			},
			goals: []goal{
				{ingresses, "plain", onPage(1, annotations.Active)},
				{services, "my-app", onPage(1, annotations.Active)},
				{services, originOf("my-app"), leadsToApp(service("my-app"))},
			},
		},
		"automatic maintenance, and its end": {
			setup: func(env *testEnv) {
				env.apply(simpleIngress("plain"))
				env.annotate(ingresses, "plain", automatic(annotations.RestoreWhen, annotations.RestoreReady))
				env.waitFor(ingresses, "plain", "active", state(annotations.Active))
			},
			act: func(env *testEnv) { env.runApp() },
			goals: []goal{
				{ingresses, "plain", restoredTo(simpleIngress("plain"))},
				{configMaps, backup.Name(target.Ref{Kind: "Ingress", Name: "plain"}), absent},
				{configMaps, defaultSet(), usedBy("Ingress/plain")},
			},
		},
		"one of two ends": {
			setup: func(env *testEnv) { enter(env); untilActive(env) },
			act:   func(env *testEnv) { env.disable(ingresses, "my-app") },
			goals: []goal{
				{ingresses, "my-app", restoredTo(ingress("my-app"))},
				{ingressRoutes, "my-app", onPage(2, annotations.Active)},
				{configMaps, defaultSet(), usedBy("IngressRoute/my-app,Service/my-app")},
			},
		},
		"reverted without a controller": {
			setup: func(env *testEnv) { enter(env); untilActive(env) },
			act: func(env *testEnv) {
				env.edit(ingresses, "my-app", func(u *unstructured.Unstructured) { u.Object["spec"] = env.parse(ingress("x")).Object["spec"] })
			},
			goals: active,
		},
	}
}

// cleanedUp: all objects named my-app are restored, and nothing is left behind.
func cleanedUp() []goal {
	goals := []goal{
		{ingresses, "my-app", restoredTo(ingress("my-app"))},
		{ingressRoutes, "my-app", restoredTo(ingressRoute("my-app"))},
		{services, "my-app", and(restored, leadsToApp(service("my-app")))},
		{services, originOf("my-app"), absent},
		{configMaps, defaultSet(), absent},
		{services, defaultSet(), absent},
	}
	for _, k := range target.Kinds() {
		goals = append(goals, goal{configMaps, backup.Name(target.Ref{Kind: k.Name, Name: "my-app"}), absent})
	}
	return goals
}
