package apiserver

import (
	"cmp"
	"flag"
	"math"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/e2e/faultproxy"
	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/target"
)

// faultsSeed repeats the faults of an earlier run.
var faultsSeed = flag.Uint64("faults-seed", 0, "seed of TestRandomFaults, as logged by a failed run; 0 = a new one each time")

// TestRandomFaults toggles 200 targets at random while a fifth of the program's calls
// fails. There are also periods in which nothing is answered, discovery fails, or rights
// are revoked, by the proxy and for real. The faults go on until each target is as its
// annotations say. In the end maintenance is off everywhere, all specs are restored byte by
// byte, and nothing is lost or left over.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	size, calm, episode, silence := 200, 3*time.Second, 1500*time.Millisecond, 3*time.Second
	random := faultproxy.RandomFaults{Seed: cmp.Or(*faultsSeed, rand.Uint64()), Share: 0.2, Wait: 300 * time.Millisecond, Life: 2 * time.Second}
	if *long {
		calm, episode, silence = 30*time.Second, 20*time.Second, 30*time.Second
		random.Wait, random.Life = 2*time.Second, 5*time.Second
	}
	env := newTestEnv(t)
	env.requireNoGaps()
	p := env.newProxiedWithToken()
	f := newToggler(p, random.Seed, size)
	defer f.reportLost()
	p.flags = append(p.flags, "--leader-elect=true", "--lease-duration=6s", "--lease-renew-deadline=4s", "--lease-retry-period=500ms")
	randomFaults := random.Func()
	p.proxy.SetFaults(randomFaults)
	restarts := p.supervise()
	unavailable, forbidden := faultproxy.Refuse(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable), faultproxy.Refuse(http.StatusForbidden, metav1.StatusReasonForbidden)
	episodes := []struct {
		name  string // counted separately
		lasts time.Duration
		which func(faultproxy.Call) bool
		fault *faultproxy.Fault
	}{
		{"discovery fails", episode, func(c faultproxy.Call) bool { return c.Discovery() }, unavailable},
		{"no updates of Ingresses", episode, callsTo("update", target.Ingress().Resource.Resource), forbidden},
		{"no ConfigMaps", episode, callsTo("", "configmaps"), forbidden},
		{"silence", silence, func(faultproxy.Call) bool { return true }, faultproxy.Hang(silence)},
	}
	f.toggle(calm)
	for _, e := range episodes {
		p.proxy.SetFaults(duringEpisode(randomFaults, e.which, e.fault.Named(e.name)))
		f.toggleUntil(e.lasts, e.name)
	}
	p.proxy.SetFaults(randomFaults)
	env.revokeAll()
	f.toggleUntilAnswered(episode, http.StatusForbidden) // by the API server itself
	env.grantAll()
	f.toggleUntil(calm, random.Names()...)
	on := f.waitUntilAsRequested()
	assert.Positive(t, on)
	f.allOff()
	assert.Zero(t, f.waitUntilAsRequested())
	env.waitForCleanup()

	counts := p.proxy.Counts()
	t.Logf("%d steps, %d of %d calls failed (%s), %d restarts; answers of the API server: %v", f.steps, counts.Injected(), counts.Calls, formatCounts(counts.Faults), restarts(), counts.Answers)
	ordinaryCalls := counts.Calls
	for _, e := range episodes {
		assert.Positive(t, counts.Faults[e.name], e.name)
		ordinaryCalls -= counts.Faults[e.name]
	}
	assert.Positive(t, counts.Answers[http.StatusForbidden], "calls that the API server itself refused")
	injected := 0
	for _, name := range random.Names() {
		assert.Positive(t, counts.Faults[name], name)
		injected += counts.Faults[name]
	}
	// Four times the standard deviation for this number of calls: a slow machine makes fewer.
	near := max(0.04, 4*math.Sqrt(random.Share*(1-random.Share)/float64(ordinaryCalls)))
	assert.InDelta(t, random.Share, float64(injected)/float64(ordinaryCalls), near, "the share of calls that failed")
	tally.Report(t, "toggles", int64(f.steps))
	tally.Report(t, "faults injected", int64(counts.Injected()))
	tally.Report(t, "calls to the API server", int64(counts.Calls))
}

// duringEpisode adds an episode to the random faults: all calls of some kind get the same fault.
func duringEpisode(randomFaults faultproxy.FaultFunc, which func(faultproxy.Call) bool, fault *faultproxy.Fault) faultproxy.FaultFunc {
	return func(c faultproxy.Call) *faultproxy.Fault {
		if which(c) {
			return fault
		}
		return randomFaults(c)
	}
}

// callsTo is for calls with a verb, or with any, to a resource.
func callsTo(verb, resource string) func(faultproxy.Call) bool {
	return func(c faultproxy.Call) bool { return c.Resource == resource && (verb == "" || verb == c.Verb) }
}
