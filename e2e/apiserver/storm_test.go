package apiserver

import (
	"context"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/e2e/faultproxy"
	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// TestAStormOfFaults toggles 200 targets at random while a fifth of the program's
// calls goes wrong, with times in which nothing is answered at all, discovery fails,
// and rights are revoked. The faults stay until each target is as its annotations
// say, all in the end are off, byte-identical to the originals, and nothing of the
// controller's is left over or was lost.
func TestAStormOfFaults(t *testing.T) {
	t.Parallel()
	size, calm, episode, silence := 200, 3*time.Second, 1500*time.Millisecond, 3*time.Second
	weather := faultproxy.Weather{Seed: rand.Uint64(), Share: 0.2, Wait: 300 * time.Millisecond, Life: 2 * time.Second}
	if *long {
		calm, episode, silence = 30*time.Second, 20*time.Second, 30*time.Second
		weather.Wait, weather.Life = 2*time.Second, 5*time.Second
	}
	w := newWorld(t)
	w.wantNoHoles()
	p := w.proxied()
	f := newFleet(p, weather.Seed, size)
	defer f.tellLost()
	p.flags = append(p.flags, "--leader-elect=true", "--lease-duration=6s", "--lease-renew-deadline=4s", "--lease-retry-period=500ms")
	storm := weather.Judge()
	p.proxy.Judge(storm)
	restarts := p.supervise()
	for _, e := range []struct {
		lasts time.Duration
		judge faultproxy.Judge
	}{
		{calm, storm},
		{episode, during(storm, func(c faultproxy.Call) bool { return c.Discovery() }, faultproxy.Refuse(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable))},
		{episode, during(storm, forbids("update", target.Ingress().Resource.Resource), faultproxy.Refuse(http.StatusForbidden, metav1.StatusReasonForbidden))},
		{episode, during(storm, forbids("", "configmaps"), faultproxy.Refuse(http.StatusForbidden, metav1.StatusReasonForbidden))},
		{silence, during(storm, func(faultproxy.Call) bool { return true }, faultproxy.Hang(silence))},
		{calm, storm},
	} {
		p.proxy.Judge(e.judge)
		ctx, cancel := context.WithTimeout(t.Context(), e.lasts)
		f.toggle(ctx, 10*time.Millisecond)
		cancel()
	}
	on := f.untilAsAsked()
	assert.Positive(t, on)
	f.allOff()
	assert.Zero(t, f.untilAsAsked())
	w.untilClean()

	counts := p.proxy.Counts()
	assert.Greater(t, counts.Injected(), counts.Calls/8, "a fifth of the calls, and some watches")
	t.Logf("%d steps, %d of %d calls went wrong (%s), %d restarts", f.steps, counts.Injected(), counts.Calls, told(counts.Faults), restarts())
	tally.Tell(t, "toggles", int64(f.steps))
	tally.Tell(t, "faults injected", int64(counts.Injected()))
	tally.Tell(t, "calls to the API server", int64(counts.Calls))
}

// during adds an episode to the weather: calls of a sort all go wrong in one way.
func during(storm faultproxy.Judge, which func(faultproxy.Call) bool, fault *faultproxy.Fault) faultproxy.Judge {
	return func(c faultproxy.Call) *faultproxy.Fault {
		if which(c) {
			return fault
		}
		return storm(c)
	}
}

// forbids a verb, or all, on a resource.
func forbids(verb, resource string) func(faultproxy.Call) bool {
	return func(c faultproxy.Call) bool { return c.Resource == resource && (verb == "" || verb == c.Verb) }
}

// TestASetIsCollectedThoughBackupsAreSeenLate: the watch of ConfigMaps lags behind
// that of targets, so that the last trace of a set's user is a backup, which moves on
// to another set.
func TestASetIsCollectedThoughBackupsAreSeenLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), ingress("other"), customPage("spring", "page.html", "<h1>spring</h1>"))
	p := w.proxied()
	gate := faultproxy.NewGate()
	p.proxy.Judge(func(c faultproxy.Call) *faultproxy.Fault {
		if c.Verb == "watch" && c.Resource == "configmaps" {
			return gate.Hold()
		}
		return nil
	})
	p.restart()
	w.on(ingresses, "my-app")
	w.annotate(ingresses, "other", map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "spring"})
	for _, name := range []string{"my-app", "other"} {
		w.until(ingresses, name, "active", state(annotations.Active))
	}
	gate.Shut()
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultCustomPage: "spring"})
	w.until(ingresses, "my-app", "active on the other's set", and(onNamed(setNamed("<h1>spring</h1>")), state(annotations.Active)))
	gate.Open()
	w.until(configMaps, defaultSet(), "its end", absent)
}
