package controller

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/util/intstr"

	"maintenance-controller.io/pkg/checker"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/readiness"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

// TestJudgeBackends: together for the beginning of maintenance, and one by one for its end.
func TestJudgeBackends(t *testing.T) {
	t.Parallel()
	early, late := time.Unix(1000, 0), time.Unix(2000, 0)
	ref := target.Ref{Kind: "Ingress", Namespace: namespace, Name: "my-app"}
	to := func(name string) swap.Backend {
		return swap.Backend{Namespace: namespace, Name: name, Port: "80", Weight: 1}
	}
	idle, bucket, abroad := to("idle"), to("bucket"), to("abroad")
	idle.Weight, bucket.Unjudged, abroad.Namespace = 0, "it is of kind Bucket, not a Service", "other"
	states := map[string]readiness.State{
		"up":      {Known: true, Exists: true, Judgeable: true, Ready: 2, Since: early},
		"new":     {Known: true, Exists: true, Judgeable: true, Ready: 1, Since: late},
		"down":    {Known: true, Exists: true, Judgeable: true, Terminating: 2, Since: early},
		"hung":    {Known: true, Exists: true, Judgeable: true, Endpoints: 2, Since: late},
		"gone":    {Known: true, Judgeable: true, Since: early, Message: "does not exist"},
		"outside": {Known: true, Exists: true, Message: "is an ExternalName"},
		"dark":    {Ready: 1, Since: early},
		"idle":    {Known: true, Exists: true, Judgeable: true, Ready: 1, Since: early},
	}
	not := func(name, why string) plan.Backend { return plan.Backend{Name: "Service shop/" + name, Why: why} }
	for name, tc := range map[string]struct {
		backends []swap.Backend
		want     wanted.Observed
		gate     []plan.Backend
	}{
		"no backends":                      {want: wanted.Observed{Verdict: wanted.Up}},
		"one of several is up":             {backends: []swap.Backend{to("down"), to("up")}, want: wanted.Observed{Verdict: wanted.Up, Since: early, Causes: []string{"Service shop/down has no ready endpoint"}}, gate: []plan.Backend{not("down", "has no ready endpoint"), {Name: "Service shop/up", Ready: true, Since: early}}},
		"the earliest time counts":         {backends: []swap.Backend{to("new"), to("up")}, want: wanted.Observed{Verdict: wanted.Up, Since: early}, gate: []plan.Backend{{Name: "Service shop/new", Ready: true, Since: late}, {Name: "Service shop/up", Ready: true, Since: early}}},
		"all down, the latest time counts": {backends: []swap.Backend{to("hung"), to("down")}, want: wanted.Observed{Verdict: wanted.Down, Since: late, Causes: []string{"Service shop/hung has no ready endpoint", "Service shop/down has no ready endpoint"}}, gate: []plan.Backend{not("hung", "has no ready endpoint"), not("down", "has no ready endpoint")}},
		"does not exist":                   {backends: []swap.Backend{to("gone")}, want: wanted.Observed{Verdict: wanted.Down, Since: early, Causes: []string{"Service shop/gone does not exist"}}, gate: []plan.Backend{not("gone", "does not exist")}},
		"one is unknown":                   {backends: []swap.Backend{to("down"), to("dark")}, want: wanted.Observed{Causes: []string{"Service shop/down has no ready endpoint"}}, gate: []plan.Backend{not("down", "has no ready endpoint"), not("dark", "is currently unknown")}},
		"up next to an unknown one":        {backends: []swap.Backend{to("dark"), to("up")}, want: wanted.Observed{Verdict: wanted.Up, Since: early}, gate: []plan.Backend{not("dark", "is currently unknown"), {Name: "Service shop/up", Ready: true, Since: early}}},
		"weight 0":                         {backends: []swap.Backend{to("down"), idle}, want: wanted.Observed{Verdict: wanted.Down, Since: early, Causes: []string{"Service shop/down has no ready endpoint"}}, gate: []plan.Backend{not("down", "has no ready endpoint")}},
		"only weight 0":                    {backends: []swap.Backend{idle}, want: wanted.Observed{Verdict: wanted.Up}},
		"an ExternalName":                  {backends: []swap.Backend{to("down"), to("outside")}, want: wanted.Observed{Verdict: wanted.Up, Causes: []string{"Service shop/down has no ready endpoint"}, Notes: []string{"Service shop/outside counts as serving: it is an ExternalName"}}, gate: []plan.Backend{not("down", "has no ready endpoint")}},
		"no Service":                       {backends: []swap.Backend{bucket}, want: wanted.Observed{Verdict: wanted.Up, Notes: []string{`backend "bucket" counts as serving because it is of kind Bucket, not a Service`}}},
		"another namespace":                {backends: []swap.Backend{abroad}, want: wanted.Observed{Verdict: wanted.Up, Notes: []string{"Service other/abroad counts as serving because it is in another namespace than the target"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var seen []readiness.State
			for _, b := range tc.backends {
				seen = append(seen, states[b.Name])
			}
			assert.Equal(t, tc.want, judgeBackends(ref, tc.backends, seen))
			gate := gateOf(ref, tc.backends, seen, time.Minute)
			for i := range gate.Backends {
				if !gate.Backends[i].Ready {
					gate.Backends[i].Since = time.Time{}
				}
			}
			assert.Equal(t, &plan.Gate{Timeout: time.Minute, Backends: tc.gate}, gate)
		})
	}
}

func TestJudgeByChecker(t *testing.T) {
	t.Parallel()
	at, causes := time.Unix(1000, 0), []string{"Service data/db has no ready endpoint among 2"}
	assert.Equal(t, wanted.Observed{}, judgeByChecker("shop", checker.Verdict{RecoverFor: time.Second}))
	assert.Equal(t, wanted.Observed{Verdict: wanted.Up, Since: at}, judgeByChecker("shop", checker.Verdict{State: checker.Up, Since: at, RecoverFor: time.Minute}))
	assert.Equal(t, wanted.Observed{Verdict: wanted.Down, Since: at, Causes: causes}, judgeByChecker("shop", checker.Verdict{State: checker.Down, Since: at, Causes: causes}))
	gone := judgeByChecker("shop", checker.Verdict{State: checker.Deleted, Since: at, RecoverFor: time.Minute})
	assert.Equal(t, time.Minute, gone.Recovery)
	assert.Equal(t, wanted.Gone, gone.Verdict)
	assert.Len(t, gone.Notes, 1)
}

func TestServicePort(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]intstr.IntOrString{"": {}, "80": intstr.FromInt32(80), "web": intstr.FromString("web")} {
		assert.Equal(t, want, servicePortOf(swap.Backend{Port: text}).port)
	}
}
