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

// TestKilledAfterEveryWrite ends the real program by SIGKILL once its n-th write
// has taken effect, for every n until the scenario needs no more writes, starts it
// again, and wants the end of the scenario. On the way every revision is sound, and
// no target ever points at a page set that does not serve. The long form kills
// with three kinds at once, and after the answer as well as before it.
func TestKilledAfterEveryWrite(t *testing.T) {
	t.Parallel()
	kinds := []schemaGVR{ingresses, services}
	moments := map[string]func(func()) *faultproxy.Fault{"before the answer": faultproxy.Lose}
	if *long {
		kinds = append(kinds, ingressRoutes)
		moments["after the answer"] = faultproxy.Answered
	}
	var kills atomic.Int64
	t.Cleanup(func() { tally.Tell(t, "kills", kills.Load()) })
	for moment, fault := range moments {
		for name, scenario := range killScenarios(kinds) {
			t.Run(name+", "+moment, func(t *testing.T) {
				t.Parallel()
				for n := 1; ; n++ {
					died := false
					ok := t.Run(fmt.Sprintf("write %d", n), func(t *testing.T) { died = scenario.run(t, &execution{left: n, fault: fault}) })
					if !ok || !died {
						require.Greater(t, n, 1, "a scenario has writes")
						return
					}
					kills.Add(1)
				}
			})
		}
	}
}

// killScenario begins in a state that the program has brought about, has something
// done while it works on, and knows what must come of it.
type killScenario struct {
	setup func(*proxied)
	act   func(*proxied)
	end   func(context.Context, *proxied) bool // waits for the end, or for ctx
}

func (s killScenario) run(t *testing.T, e *execution) (died bool) {
	t.Helper()
	w := newWorld(t)
	w.wantNoHoles()
	w.apply(ingress("my-app"), ingressRoute("my-app"), service("my-app"), customPage("spring", "page.html", "<h1>spring</h1>"))
	r := w.proxied()
	r.restart()
	if s.setup != nil {
		s.setup(r)
	}
	e.run, e.died = r, make(chan struct{})
	r.proxy.Judge(e.judge)
	s.act(r)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	reached := make(chan bool)
	go func() { reached <- s.end(ctx, r) }()
	select {
	case <-e.died:
		cancel()
		<-reached
		r.proxy.Judge(nil)
		r.restart()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		require.True(t, s.end(ctx, r), "the end of the scenario")
		return true
	case ok := <-reached:
		require.True(t, ok, "the end of the scenario, with nobody killed")
		return false
	}
}

// execution kills the program after a write. What it sends later reaches nobody:
// it is dead, though it may take a moment to be.
type execution struct {
	fault func(func()) *faultproxy.Fault // when the kill is: before or after the answer
	run   *proxied
	died  chan struct{}

	mu   sync.Mutex
	left int
}

func (e *execution) judge(c faultproxy.Call) *faultproxy.Fault {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.left > 0 && c.Lasting() {
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

// usersOf is the used-by record of a set that the target of a name is on, of each kind.
func usersOf(kinds []schemaGVR, name string) string {
	var users []string
	for _, k := range target.Kinds() {
		if slices.Contains(kinds, k.Resource) {
			users = append(users, k.Name+"/"+name)
		}
	}
	slices.Sort(users)
	return strings.Join(users, ",")
}

// reach waits for all goals.
func reach(goals ...goal) func(context.Context, *proxied) bool {
	return func(ctx context.Context, r *proxied) bool {
		for _, g := range goals {
			if _, ok := r.reaches(ctx, g.gvr, g.name, g.ok); !ok {
				return false
			}
		}
		return true
	}
}

// killScenarios are those of the three kinds, or of some of them.
func killScenarios(all []schemaGVR) map[string]killScenario {
	on := func(r *proxied, which ...schemaGVR) {
		for _, gvr := range which {
			r.on(gvr, "my-app")
		}
	}
	off := func(r *proxied, which ...schemaGVR) {
		for _, gvr := range which {
			r.off(gvr, "my-app")
		}
	}
	active := func(which ...schemaGVR) func(*proxied) {
		return func(r *proxied) {
			on(r, which...)
			for _, gvr := range which {
				r.until(gvr, "my-app", "active", state(annotations.Active))
			}
			r.untilPods(2, anyPod)
		}
	}
	slots := map[schemaGVR]int{ingresses: 4, ingressRoutes: 2, services: 1}
	shown := func(set string, which ...schemaGVR) []goal {
		var goals []goal
		for _, gvr := range which {
			goals = append(goals, goal{gvr, "my-app", and(onSet(slots[gvr], annotations.Active), onNamed(set))})
		}
		return goals
	}
	spring := setNamed("<h1>spring</h1>")
	return map[string]killScenario{
		"on": {
			act: func(r *proxied) { on(r, all...) },
			end: reach(append(shown(defaultSet(), all...),
				goal{configMaps, defaultSet(), usedBy(usersOf(all, "my-app"))},
				goal{services, originOf("my-app"), leadsToApp(service("my-app"))})...),
		},
		"off and collect": {setup: active(all...), act: func(r *proxied) { off(r, all...) }, end: reach(gone()...)},
		"page change": {
			setup: active(all...),
			act: func(r *proxied) {
				for _, gvr := range all {
					r.annotate(gvr, "my-app", map[string]any{annotations.DefaultCustomPage: "spring"})
				}
			},
			end: reach(append(shown(spring, all...), goal{configMaps, defaultSet(), absent}, goal{services, defaultSet(), absent})...),
		},
		"share": {
			setup: active(ingresses),
			act:   func(r *proxied) { on(r, ingressRoutes) },
			end:   reach(append(shown(defaultSet(), ingresses, ingressRoutes), goal{configMaps, defaultSet(), usedBy("Ingress/my-app,IngressRoute/my-app")})...),
		},
		"one of two leaves": {
			setup: active(ingresses, ingressRoutes),
			act:   func(r *proxied) { off(r, ingresses) },
			end: reach(append(shown(defaultSet(), ingressRoutes),
				goal{ingresses, "my-app", specIs(ingress("my-app"))}, goal{configMaps, defaultSet(), usedBy("IngressRoute/my-app")})...),
		},
		"collect after a restart": {
			setup: func(r *proxied) {
				active(ingresses)(r)
				r.restart("--page-set-grace-period=1h")
				off(r, ingresses)
				r.until(ingresses, "my-app", "restored", restored)
			},
			act: func(r *proxied) { r.restart("--page-set-grace-period=100ms") },
			end: reach(gone()...),
		},
		"on again inside the collection window": {
			setup: active(ingresses),
			act:   func(r *proxied) { off(r, ingresses) },
			end: func(ctx context.Context, r *proxied) bool {
				// Its Service and its Pods are still there when the set is wanted again.
				if !r.halfway && reach(goal{configMaps, defaultSet(), absent})(ctx, r) {
					r.halfway = true
					assert.NoError(r, r.patched(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true"}))
				}
				return r.halfway && reach(shown(defaultSet(), ingresses)...)(ctx, r)
			},
		},
		"pod roll": {
			setup: active(ingresses),
			act:   func(r *proxied) { r.restart("--page-annotations=example.com/release=2") },
			end: func(ctx context.Context, r *proxied) bool {
				_, rolled := r.podsReach(ctx, 2, func(u *unstructured.Unstructured) bool { return u.GetAnnotations()["example.com/release"] == "2" })
				return rolled && reach(shown(defaultSet(), ingresses)...)(ctx, r)
			},
		},
	}
}
