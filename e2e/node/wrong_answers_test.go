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

// long selects the long forms of tests, as `make soak` does.
var long = flag.Bool("long", false, "run TestNoWrongAnswersUnderLoad in its long form: maintenance on and off 50 times, the page changed 20 times")

// TestNoWrongAnswersUnderLoad switches an Ingress, an IngressRoute and a Service under a steady load,
// changes the page, and deletes or kills page Pods and controllers. Visitors only get the app
// or the page: only the page from 0.5 s after state=active, and only the app from 2.5 s after
// the restore. Downloads and WebSockets that started on the app are not cut off. Traefik keeps to
// these times only where nothing else needs the processors.
//
//tests:before-parallel
func TestNoWrongAnswersUnderLoad(t *testing.T) {
	rounds, pageChanges := 6, 3
	if *long {
		rounds, pageChanges = 50, 20
	}
	s := startScenario(newEnv(t), "")
	for i := range rounds {
		var with *disruption
		if n := i % (len(disruptions) + 1); n > 0 {
			with = &disruptions[n-1]
		}
		s.round((i+1)*pageChanges/rounds-i*pageChanges/rounds, with)
	}
	for subject, spec := range s.specs {
		assert.Equal(t, spec, s.spec(subject.object()), subject.object())
	}
	o := s.finish()
	t.Logf("outcome: %s", o)
	tally.Report(t, "requests sent", int64(o.Requests))
	tally.Report(t, "wrong answers", int64(o.Wrong))
	tally.Report(t, "toggles", int64(o.Switches))
	tally.Report(t, "page changes", int64(o.PageChanges))
	tally.Report(t, "page Pods deleted", int64(2*o.Disruptions["pods-deleted"]))
	tally.Report(t, "kills", int64(o.Disruptions["leader-killed"]+2*o.Disruptions["all-killed"]))
	tally.Report(t, "p99 ms", int64(math.Ceil(o.P99)))
	s.assertNone("wrong answers and visits", o.wrong)
	assert.GreaterOrEqual(t, o.PerSecond, 200., "visitors a second")
	assert.Equal(t, [2]int{2 * rounds, pageChanges}, [2]int{o.Switches, o.PageChanges})
	assert.Len(t, o.Disruptions, len(disruptions))
	assert.Greater(t, o.Judged, o.Requests/10, "answers that only one side could give")
	assert.Positive(t, o.Changing, "answers while the page changed")
	assert.Positive(t, o.Downloads, "downloads that survived a switch")
	assert.Positive(t, o.WebSockets, "WebSockets that survived a switch")
}

// TestJudgeFindsWrongAnswers proves that subject.judge finds each kind of wrong answer.
func TestJudgeFindsWrongAnswers(t *testing.T) {
	begin := time.Now()
	at := func(second float64) time.Time { return begin.Add(time.Duration(second * float64(time.Second))) }
	answered := func(second float64, from string) answer {
		return answer{visit: visit{host: "h"}, started: at(second), took: 100 * time.Millisecond, from: from}
	}
	// The app, then the first page from 2 s, the second page from 6 s, and the app from 10 s.
	all := []answer{answered(0.5, anApp), answered(3, "one"), answered(7, "two"), answered(11, anApp)}
	for name, test := range map[string]struct {
		more            answer
		wrong, changing int
	}{
		"another right answer":                    {answered(3.5, "one"), 0, 0},
		"the app before maintenance starts":       {answered(1.5, anApp), 0, 0},
		"the page before maintenance starts":      {answered(1.5, "one"), 0, 0},
		"the app during maintenance":              {answered(3, anApp), 1, 0},
		"another page than the right one":         {answered(3, "two"), 1, 0},
		"the old page while it changes":           {answered(5, "one"), 0, 1},
		"the new page while it changes":           {answered(5, "two"), 0, 1},
		"the app while the page changes":          {answered(5, anApp), 1, 0},
		"the old page once it has changed":        {answered(7, "one"), 1, 0},
		"the app while either may answer":         {answered(9, anApp), 0, 0},
		"the page while either may answer":        {answered(9, "two"), 0, 0},
		"the page after maintenance":              {answered(11, "two"), 1, 0},
		"asked before the switch, answered after": {answered(1.95, anApp), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := &subject{host: "h", kind: target.Ingress(), name: "x",
				expectations: []expectation{{anApp, at(0), at(1)}, {"one", at(2), at(4)}, {"two", at(6), at(8)}, {anApp, at(10), at(12)}},
				maintenance:  []expectation{{anyPage, at(2), at(8)}}}
			v := s.judge(append(slices.Clone(all), test.more))
			assert.Len(t, v.wrong, test.wrong)
			assert.Equal(t, test.changing, v.changing)
			assert.Empty(t, s.judge(all).wrong)
			assert.Len(t, s.judge(all[1:]).wrong, 1, "no visitor got the app")
		})
	}
}

// TestLoadDetectsFaultyControllers runs controllers with a fault that causes wrong answers, to prove
// that the test above notices them. On a fast machine the fault may show only for a moment, so
// the test holds that moment until a visitor gets a wrong answer.
func TestLoadDetectsFaultyControllers(t *testing.T) {
	e := newEnv(t)
	t.Cleanup(func() { require.NoError(t, install(context.WithoutCancel(e.Context()), site.image, nil)) })
	for name, provoke := range map[string]func(s *scenario, ingress *faultproxy.Gate){
		"swap-before-page-serves":     blockPagePods,
		"skip-grace-period-and-drain": hideRestore,
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			longer := map[string]any{"controller": map[string]any{"pageSetGracePeriod": (2 * waitTimeout).String()}}
			require.NoError(t, install(t.Context(), e.mutantImage(name), longer))
			gate := faultproxy.NewGate()
			s := startScenario(e, e.traefikWithFaults(func(c faultproxy.Call) *faultproxy.Fault {
				if c.Verb == "watch" {
					return gate.Hold()
				}
				return nil
			}))
			provoke(s, gate)
			s.visitors.awaitWrong()
			t.Log(s.finish())
			t.Log(s.visitors.wrongAnswers()[0])
		})
	}
}

// blockPagePods switches maintenance on while no node accepts a Pod.
func blockPagePods(s *scenario, _ *faultproxy.Gate) {
	s.Helper()
	nodes := []string{"node-1", "node-2"}
	s.Cleanup(func() {
		for _, node := range nodes {
			s.uncordon(node)
		}
	})
	s.kubectl(append([]string{"cordon"}, nodes...)...)
	s.requireNoneWrong()
	s.on()
}

// hideRestore switches maintenance off while the ingress controller receives no changes.
func hideRestore(s *scenario, ingress *faultproxy.Gate) {
	s.Helper()
	s.on()
	s.untilAll("shows the page", showsPage)
	s.visitors.untilAnswer(fromPage)
	ingress.Shut()
	s.Cleanup(ingress.Open)
	s.requireNoneWrong()
	s.off()
}

// requireNoneWrong is called just before the switch: the fault may have its effect before kubectl
// returns from that.
func (s *scenario) requireNoneWrong() {
	s.Helper()
	require.Zero(s, s.visitors.wrong(), "wrong answers before the fault has an effect")
}

// mutantImage builds a controller with a fault and loads its image into the nodes.
func (e *env) mutantImage(name string) (reference string) {
	e.Helper()
	m, err := mutant.Named(name)
	require.NoError(e, err)
	dir := filepath.Join(site.dir, name)
	overlay, err := m.Overlay(e.Context(), dir)
	require.NoError(e, err)
	cache, err := binaries.NewCache(nil)
	require.NoError(e, err)
	controller := filepath.Join(dir, "maintenance-controller")
	require.NoError(e, cache.BuildOwn(e.Context(), "./cmd/maintenance-controller", controller, "-overlay="+overlay))
	reference, archive := "maintenance-controller:"+name, filepath.Join(dir, "image.tar")
	require.NoError(e, image.Write(archive, image.Spec{
		Reference: reference, Programs: []string{controller, filepath.Join(site.dir, "maintenance-page")}, Entrypoint: "maintenance-controller",
	}))
	require.NoError(e, site.LoadImage(e.Context(), archive))
	return reference
}
