package node

import (
	"context"
	"flag"
	"math"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/faultproxy"
	"maintenance-controller.io/e2e/image"
	"maintenance-controller.io/e2e/mutant"
	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/target"
)

// long asks for the long forms of the tests that have one; `make soak` does.
var long = flag.Bool("long", false, "run TestNoHoleUnderLoad at length: maintenance on and off 50 times, the page changed 20 times")

// TestNoHoleUnderLoad switches an Ingress, an IngressRoute and a Service under a
// steady load, changes the page, and takes page Pods and controllers away. Nobody
// gets anything but the app and the page: the page and no app from half a second
// after state=active on, the app and no page from 2.5 s after the restore on. What
// began on the app, and lasts, is not cut.
func TestNoHoleUnderLoad(t *testing.T) {
	rounds, pageChanges := 6, 3
	if *long {
		rounds, pageChanges = 50, 20
	}
	s := openScene(newWorld(t), "")
	for i := range rounds {
		var with *trouble
		if n := i % (len(troubles) + 1); n > 0 {
			with = &troubles[n-1]
		}
		s.round((i+1)*pageChanges/rounds-i*pageChanges/rounds, with)
	}
	for subject, spec := range s.specs {
		assert.Equal(t, spec, s.spec(subject.object()), subject.object())
	}
	o := s.close()
	t.Logf("outcome: %s", o)
	tally.Tell(t, "requests sent", int64(o.Requests))
	tally.Tell(t, "wrong answers", int64(o.Wrong))
	tally.Tell(t, "toggles", int64(o.Switches))
	tally.Tell(t, "page changes", int64(o.PageChanges))
	tally.Tell(t, "page Pods deleted", int64(2*o.Troubles["pods-deleted"]))
	tally.Tell(t, "kills", int64(o.Troubles["leader-killed"]+2*o.Troubles["all-killed"]))
	tally.Tell(t, "p99 ms", int64(math.Ceil(o.P99)))
	s.report("answers and visits that are wrong", o.wrong)
	assert.GreaterOrEqual(t, o.PerSecond, 200., "visitors a second")
	assert.Equal(t, [2]int{2 * rounds, pageChanges}, [2]int{o.Switches, o.PageChanges})
	assert.Len(t, o.Troubles, len(troubles))
	assert.Greater(t, o.Judged, o.Requests/10, "answers of which it was certain who had to give them")
	assert.Positive(t, o.Changing, "answers while the page changed")
	assert.Positive(t, o.Downloads, "downloads that lived through a switch")
	assert.Positive(t, o.WebSockets, "WebSockets that lived through a switch")
}

// TestTheJudgeFindsWhoShouldNotAnswer: what is judged by it can fail.
func TestTheJudgeFindsWhoShouldNotAnswer(t *testing.T) {
	begin := time.Now()
	at := func(second float64) time.Time { return begin.Add(time.Duration(second * float64(time.Second))) }
	answered := func(second float64, from string) answer {
		return answer{visit: visit{host: "h"}, started: at(second), took: 100 * time.Millisecond, from: from}
	}
	// The app, the first page from 2 s on, the second one from 6 s on, the app from 10 s on.
	all := []answer{answered(0.5, anApp), answered(3, "one"), answered(7, "two"), answered(11, anApp)}
	for name, test := range map[string]struct {
		more            answer
		wrong, changing int
	}{
		"nothing more":                            {answered(3.5, "one"), 0, 0},
		"the app before maintenance has begun":    {answered(1.5, anApp), 0, 0},
		"the page before maintenance has begun":   {answered(1.5, "one"), 0, 0},
		"the app on the page":                     {answered(3, anApp), 1, 0},
		"another page than the one":               {answered(3, "two"), 1, 0},
		"the old page while it changes":           {answered(5, "one"), 0, 1},
		"the new page while it changes":           {answered(5, "two"), 0, 1},
		"the app while the page changes":          {answered(5, anApp), 1, 0},
		"the old page once it has changed":        {answered(7, "one"), 1, 0},
		"the app once it may be":                  {answered(9, anApp), 0, 0},
		"the page while it may be":                {answered(9, "two"), 0, 0},
		"the page once it may not be any more":    {answered(11, "two"), 1, 0},
		"asked for before, and answered after it": {answered(1.95, anApp), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := &subject{host: "h", kind: target.Ingress(), name: "x",
				expectations: []expectation{{anApp, at(0), at(1)}, {"one", at(2), at(4)}, {"two", at(6), at(8)}, {anApp, at(10), at(12)}},
				maintenance:  []expectation{{somePage, at(2), at(8)}}}
			v := s.judge(append(slices.Clone(all), test.more))
			assert.Len(t, v.wrong, test.wrong)
			assert.Equal(t, test.changing, v.changing)
			assert.Empty(t, s.judge(all).wrong)
			assert.Len(t, s.judge(all[1:]).wrong, 1, "nobody came to the app")
		})
	}
}

// TestTheLoadNoticesHoles runs controllers with a fault that makes holes. They are
// noticed, or the test above proves nothing. How long a hole is open depends on how
// fast the machine is, so something keeps it open until a visitor has met it.
func TestTheLoadNoticesHoles(t *testing.T) {
	w := newWorld(t)
	t.Cleanup(func() { require.NoError(t, install(context.WithoutCancel(w.Context()), site.image, nil)) })
	for name, until := range map[string]func(s *scene, ingress *faultproxy.Gate, met func()){
		"swap-before-serving": noPageStarts,
		"delete-at-once":      nobodyHearsOfTheRestore,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			longer := map[string]any{"controller": map[string]any{"pageSetGracePeriod": (2 * patience).String()}}
			require.NoError(t, install(t.Context(), w.mutantImage(name), longer))
			gate := faultproxy.NewGate()
			s := openScene(w, w.traefikBehind(func(c faultproxy.Call) *faultproxy.Fault {
				if c.Verb == "watch" {
					return gate.Hold()
				}
				return nil
			}))
			until(s, gate, func() {
				require.Zero(t, s.visitors.wrong(), "wrong answers before the fault shows")
				s.visitors.awaitWrong()
			})
			t.Log(s.close())
			t.Log(s.visitors.holes()[0])
		})
	}
}

// noPageStarts switches on while no node takes a Pod.
func noPageStarts(s *scene, _ *faultproxy.Gate, met func()) {
	s.Helper()
	nodes := []string{"node-1", "node-2"}
	s.Cleanup(func() {
		for _, node := range nodes {
			s.uncordon(node)
		}
	})
	s.kubectl(append([]string{"cordon"}, nodes...)...)
	s.on()
	met()
}

// nobodyHearsOfTheRestore switches off while the ingress controller goes by what it
// heard before.
func nobodyHearsOfTheRestore(s *scene, ingress *faultproxy.Gate, met func()) {
	s.Helper()
	s.on()
	s.all("shows the page", showsPage)
	s.visitors.arrives(fromPage)
	ingress.Shut()
	s.Cleanup(ingress.Open)
	s.off()
	met()
}

// mutantImage builds a controller with a fault, and gives the nodes its image.
func (w *world) mutantImage(name string) (reference string) {
	w.Helper()
	m, err := mutant.Named(name)
	require.NoError(w, err)
	dir := filepath.Join(site.dir, name)
	overlay, err := m.Overlay(w.Context(), dir)
	require.NoError(w, err)
	cache, err := binaries.NewCache(nil)
	require.NoError(w, err)
	controller := filepath.Join(dir, "maintenance-controller")
	require.NoError(w, cache.BuildOwn(w.Context(), "./cmd/maintenance-controller", controller, "-overlay="+overlay))
	reference, archive := "maintenance-controller:"+name, filepath.Join(dir, "image.tar")
	require.NoError(w, image.Write(archive, image.Spec{
		Reference: reference, Programs: []string{controller, filepath.Join(site.dir, "maintenance-page")}, Entrypoint: "maintenance-controller",
	}))
	require.NoError(w, site.LoadImage(w.Context(), archive))
	return reference
}
