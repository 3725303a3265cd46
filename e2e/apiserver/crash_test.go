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

// TestCrashAfterEveryWrite stops the controller after its n-th write, for every n
// of a scenario, starts another, and wants the right end. That nothing is lost on
// the way is watched at every revision (soundness).
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

// crashScenario begins in a state that a controller has brought about, has
// something done, and knows what must come of it.
type crashScenario struct {
	setup func(*world) // with a controller at work
	act   func(*world) // with none
	goals []goal
}

type goal struct {
	gvr  schemaGVR
	name string
	ok   condition
}

// crash says whether the controller wrote often enough to be killed.
func crash(t *testing.T, s crashScenario, n int) (died bool) {
	t.Helper()
	w := newWorld(t)
	w.apply(ingress("my-app"), ingressRoute("my-app"), service("my-app"), customPage("spring", "page.html", "<h1>spring</h1>"))
	if s.setup != nil {
		c := w.start()
		s.setup(w)
		c.stop()
	}
	s.act(w)
	k := newKiller(n)
	c := w.start(k.wrap)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	reached := make(chan struct{})
	go func() {
		defer close(reached)
		for _, g := range s.goals {
			if _, ok := w.reaches(ctx, g.gvr, g.name, g.ok); !ok {
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
		w.start()
	}
	for _, g := range s.goals {
		w.until(g.gvr, g.name, "the end of the scenario", g.ok)
	}
	return died
}

func crashScenarios() map[string]crashScenario {
	both := func(w *world, f func(schemaGVR)) {
		for _, gvr := range []schemaGVR{ingresses, ingressRoutes, services} {
			f(gvr)
		}
	}
	enter := func(w *world) { both(w, func(gvr schemaGVR) { w.on(gvr, "my-app") }) }
	untilActive := func(w *world) {
		both(w, func(gvr schemaGVR) { w.until(gvr, "my-app", "active", state(annotations.Active)) })
	}
	active := []goal{
		{ingresses, "my-app", onSet(4, annotations.Active)},
		{ingressRoutes, "my-app", onSet(2, annotations.Active)},
		{services, "my-app", onSet(1, annotations.Active)},
		{services, originOf("my-app"), leadsToApp(service("my-app"))},
	}
	return map[string]crashScenario{
		"on":  {act: enter, goals: active},
		"off": {setup: func(w *world) { enter(w); untilActive(w) }, act: func(w *world) { both(w, func(gvr schemaGVR) { w.off(gvr, "my-app") }) }, goals: gone()},
		"page change": {
			setup: func(w *world) { enter(w); untilActive(w) },
			act: func(w *world) {
				both(w, func(gvr schemaGVR) {
					w.annotate(gvr, "my-app", map[string]any{annotations.DefaultCustomPage: "spring"})
				})
			},
			goals: append([]goal{{configMaps, defaultSet(), absent}}, active...),
		},
		"by itself": {
			act: func(w *world) {
				w.apply(plain("plain"))
				w.annotate(ingresses, "plain", byItself())
				w.annotate(services, "my-app", byItself())
			},
			goals: []goal{
				{ingresses, "plain", onSet(1, annotations.Active)},
				{services, "my-app", onSet(1, annotations.Active)},
				{services, originOf("my-app"), leadsToApp(service("my-app"))},
			},
		},
		"by itself, and back once the app is ready": {
			setup: func(w *world) {
				w.apply(plain("plain"))
				w.annotate(ingresses, "plain", byItself(annotations.RestoreWhen, annotations.RestoreReady))
				w.until(ingresses, "plain", "active", state(annotations.Active))
			},
			act: func(w *world) { w.appRuns() },
			goals: []goal{
				{ingresses, "plain", specIs(plain("plain"))},
				{configMaps, backup.Name(target.Ref{Kind: "Ingress", Name: "plain"}), absent},
				{configMaps, defaultSet(), usedBy("Ingress/plain")},
			},
		},
		"one of two leaves": {
			setup: func(w *world) { enter(w); untilActive(w) },
			act:   func(w *world) { w.off(ingresses, "my-app") },
			goals: []goal{
				{ingresses, "my-app", specIs(ingress("my-app"))},
				{ingressRoutes, "my-app", onSet(2, annotations.Active)},
				{configMaps, defaultSet(), usedBy("IngressRoute/my-app,Service/my-app")},
			},
		},
		"reverted while it was down": {
			setup: func(w *world) { enter(w); untilActive(w) },
			act: func(w *world) {
				w.edit(ingresses, "my-app", func(u *unstructured.Unstructured) { u.Object["spec"] = w.parse(ingress("x")).Object["spec"] })
			},
			goals: active,
		},
	}
}

// gone: the three of my-app are as they were, and nothing is left behind.
func gone() []goal {
	goals := []goal{
		{ingresses, "my-app", specIs(ingress("my-app"))},
		{ingressRoutes, "my-app", specIs(ingressRoute("my-app"))},
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

// onSet: n slots, all on the set that the annotation names, in this state.
func onSet(n int, want string) condition {
	return func(u *unstructured.Unstructured) bool {
		sets := setsOf(u)
		for _, s := range sets {
			if s != u.GetAnnotations()[annotations.PageSet] {
				return false
			}
		}
		return len(sets) == n && state(want)(u)
	}
}

// specIs: restored, to the byte.
func specIs(manifest string) condition {
	return func(u *unstructured.Unstructured) bool {
		if !restored(u) {
			return false
		}
		w := &world{}
		want := w.parse(manifest)
		return spec(panicking{}, want) == spec(panicking{}, u)
	}
}

// panicking stands in for a test where there is none.
type panicking struct{}

func (panicking) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (panicking) FailNow()                          { panic("failed") }
