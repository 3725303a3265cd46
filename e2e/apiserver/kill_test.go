package apiserver

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/e2e/faultproxy"
	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// TestKilledAfterEveryWrite kills the real program with SIGKILL once its n-th write has
// taken effect, for every n until the scenario needs no more writes. It starts the program
// again and requires the end state of the scenario. On the way every revision is checked,
// and no target may lead to a page set that does not serve. The long form has three kinds
// at once, and kills after the answer as well as before it.
func TestKilledAfterEveryWrite(t *testing.T) {
	t.Parallel()
	kinds := []schemaGVR{ingresses, services}
	moments := map[string]func(func()) *faultproxy.Fault{"before the answer": faultproxy.LoseAnswer}
	if *long {
		kinds = append(kinds, ingressRoutes)
		moments["after the answer"] = faultproxy.AfterAnswer
	}
	var kills atomic.Int64
	t.Cleanup(func() { tally.Report(t, "kills", kills.Load()) })
	for moment, fault := range moments {
		for name, scenario := range killScenarios(kinds) {
			t.Run(name+", "+moment, func(t *testing.T) {
				t.Parallel()
				for n := 1; ; n++ {
					died := false
					ok := t.Run(fmt.Sprintf("write %d", n), func(t *testing.T) { died = scenario.run(t, &killer{left: n, fault: fault}) })
					if !ok || !died {
						require.Greater(t, n, 1, "a scenario has at least one write")
						return
					}
					kills.Add(1)
				}
			})
		}
	}
}

// killScenario brings about a state with the program, changes something while it runs, and
// waits for the end state.
type killScenario struct {
	setup func(*proxiedController)
	act   func(*proxiedController)
	end   func(context.Context, *proxiedController) bool // waits for the end state, or for ctx
}

func (s killScenario) run(t *testing.T, e *killer) (died bool) {
	t.Helper()
	env := newTestEnv(t)
	env.requireNoGaps()
	env.apply(ingress("my-app"), ingressRoute("my-app"), service("my-app"), customPage("spring", "page.html", "<h1>spring</h1>"))
	r := env.newProxied()
	r.restart()
	if s.setup != nil {
		s.setup(r)
	}
	e.run, e.died = r, make(chan struct{})
	r.proxy.SetFaults(e.judge)
	s.act(r)

	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	reached := make(chan bool)
	go func() { reached <- s.end(ctx, r) }()
	select {
	case <-e.died:
		cancel()
		<-reached
		r.proxy.SetFaults(nil)
		r.restart()
		ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
		defer cancel()
		require.True(t, s.end(ctx, r), "the end state of the scenario")
		return true
	case ok := <-reached:
		require.True(t, ok, "the end state of the scenario, without a kill")
		return false
	}
}

// killer kills the program after a write. Later requests get no answer, because the process
// may take a moment to end.
type killer struct {
	fault func(func()) *faultproxy.Fault // kills before or after the answer
	run   *proxiedController
	died  chan struct{}

	mu   sync.Mutex
	left int
}

func (e *killer) judge(c faultproxy.Call) *faultproxy.Fault {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.left > 0 && c.ChangesObjects() {
		if e.left--; e.left == 0 {
			return e.fault(func() {
				e.run.kill()
				close(e.died)
			})
		}
	}
	if e.left == 0 {
		return faultproxy.Hang(0)
	}
	return nil
}

// usedByRecord is the used-by record of a page set that targets of these kinds and this
// name are on.
func usedByRecord(kinds []schemaGVR, name string) string {
	var users []string
	for _, k := range target.Kinds() {
		if slices.Contains(kinds, k.Resource) {
			users = append(users, k.Name+"/"+name)
		}
	}
	slices.Sort(users)
	return strings.Join(users, ",")
}

// waitForGoals waits for all goals.
func waitForGoals(goals ...goal) func(context.Context, *proxiedController) bool {
	return func(ctx context.Context, r *proxiedController) bool {
		for _, g := range goals {
			if _, ok := r.tryWaitFor(ctx, g.gvr, g.name, g.ok); !ok {
				return false
			}
		}
		return true
	}
}

// killScenarios are for these kinds.
func killScenarios(all []schemaGVR) map[string]killScenario {
	on := func(r *proxiedController, which ...schemaGVR) {
		for _, gvr := range which {
			r.enable(gvr, "my-app")
		}
	}
	off := func(r *proxiedController, which ...schemaGVR) {
		for _, gvr := range which {
			r.disable(gvr, "my-app")
		}
	}
	active := func(which ...schemaGVR) func(*proxiedController) {
		return func(r *proxiedController) {
			on(r, which...)
			for _, gvr := range which {
				r.waitFor(gvr, "my-app", "active", state(annotations.Active))
			}
			r.waitForPods(2, anyPod)
		}
	}
	slots := map[schemaGVR]int{ingresses: 4, ingressRoutes: 2, services: 1}
	shown := func(set string, which ...schemaGVR) []goal {
		var goals []goal
		for _, gvr := range which {
			goals = append(goals, goal{gvr, "my-app", and(onPage(slots[gvr], annotations.Active), namesSet(set))})
		}
		return goals
	}
	spring := setOfPage("<h1>spring</h1>")
	return map[string]killScenario{
		"on": {
			act: func(r *proxiedController) { on(r, all...) },
			end: waitForGoals(append(shown(defaultSet(), all...),
				goal{configMaps, defaultSet(), usedBy(usedByRecord(all, "my-app"))},
				goal{services, originOf("my-app"), leadsToApp(service("my-app"))})...),
		},
		"off and collect": {setup: active(all...), act: func(r *proxiedController) { off(r, all...) }, end: waitForGoals(cleanedUp()...)},
		"page change": {
			setup: active(all...),
			act: func(r *proxiedController) {
				for _, gvr := range all {
					r.annotate(gvr, "my-app", map[string]any{annotations.DefaultCustomPage: "spring"})
				}
			},
			end: waitForGoals(append(shown(spring, all...), goal{configMaps, defaultSet(), absent}, goal{services, defaultSet(), absent})...),
		},
		"share": {
			setup: active(ingresses),
			act:   func(r *proxiedController) { on(r, ingressRoutes) },
			end:   waitForGoals(append(shown(defaultSet(), ingresses, ingressRoutes), goal{configMaps, defaultSet(), usedBy("Ingress/my-app,IngressRoute/my-app")})...),
		},
		"one of two ends": {
			setup: active(ingresses, ingressRoutes),
			act:   func(r *proxiedController) { off(r, ingresses) },
			end: waitForGoals(append(shown(defaultSet(), ingressRoutes),
				goal{ingresses, "my-app", restoredTo(ingress("my-app"))}, goal{configMaps, defaultSet(), usedBy("IngressRoute/my-app")})...),
		},
		"collected after a restart": {
			setup: func(r *proxiedController) {
				active(ingresses)(r)
				r.restart("--page-set-grace-period=1h")
				off(r, ingresses)
				r.waitFor(ingresses, "my-app", "restored", restored)
			},
			act: func(r *proxiedController) { r.restart("--page-set-grace-period=100ms") },
			end: waitForGoals(cleanedUp()...),
		},
		"enabled during the collection": {
			setup: active(ingresses),
			act:   func(r *proxiedController) { off(r, ingresses) },
			end: func(ctx context.Context, r *proxiedController) bool {
				// The Service and the Pods of the set still exist when the set is wanted again.
				if !r.halfway && waitForGoals(goal{configMaps, defaultSet(), absent})(ctx, r) {
					r.halfway = true
					assert.NoError(r, r.tryAnnotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true"}))
				}
				return r.halfway && waitForGoals(shown(defaultSet(), ingresses)...)(ctx, r)
			},
		},
		"template change": {
			setup: active(ingresses),
			act:   func(r *proxiedController) { r.restart("--page-annotations=example.com/release=2") },
			end: func(ctx context.Context, r *proxiedController) bool {
				_, rolled := r.tryWaitForPods(ctx, 2, func(u *unstructured.Unstructured) bool { return u.GetAnnotations()["example.com/release"] == "2" })
				return rolled && waitForGoals(shown(defaultSet(), ingresses)...)(ctx, r)
			},
		},
	}
}
