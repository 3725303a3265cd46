package apiserver

import (
	"cmp"
	"flag"
	"math"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"maintenance-controller.io/e2e/faultproxy"
	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// stormSeed lets a storm come again that has done damage.
var stormSeed = flag.Uint64("storm-seed", 0, "the seed of TestAStormOfFaults, as the one that failed has logged it; 0 for a random one")

// TestAStormOfFaults toggles 200 targets at random while a fifth of the program's
// calls goes wrong, with times in which nothing is answered at all, discovery fails,
// and rights are revoked, by a proxy and in earnest. The faults stay until each target
// is as its annotations say, all in the end are off, byte-identical to the originals,
// and nothing of the controller's is left over or was lost.
func TestAStormOfFaults(t *testing.T) {
	t.Parallel()
	size, calm, episode, silence := 200, 3*time.Second, 1500*time.Millisecond, 3*time.Second
	weather := faultproxy.Weather{Seed: cmp.Or(*stormSeed, rand.Uint64()), Share: 0.2, Wait: 300 * time.Millisecond, Life: 2 * time.Second}
	if *long {
		calm, episode, silence = 30*time.Second, 20*time.Second, 30*time.Second
		weather.Wait, weather.Life = 2*time.Second, 5*time.Second
	}
	w := newWorld(t)
	w.wantNoHoles()
	p := w.withToken()
	f := newFleet(p, weather.Seed, size)
	defer f.tellLost()
	p.flags = append(p.flags, "--leader-elect=true", "--lease-duration=6s", "--lease-renew-deadline=4s", "--lease-retry-period=500ms")
	storm := weather.Judge()
	p.proxy.Judge(storm)
	restarts := p.supervise()
	unavailable, forbidden := faultproxy.Refuse(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable), faultproxy.Refuse(http.StatusForbidden, metav1.StatusReasonForbidden)
	episodes := []struct {
		name  string // counted apart from the weather's faults
		lasts time.Duration
		which func(faultproxy.Call) bool
		fault *faultproxy.Fault
	}{
		{"discovery fails", episode, func(c faultproxy.Call) bool { return c.Discovery() }, unavailable},
		{"no updates of Ingresses", episode, forbids("update", target.Ingress().Resource.Resource), forbidden},
		{"no ConfigMaps", episode, forbids("", "configmaps"), forbidden},
		{"silence", silence, func(faultproxy.Call) bool { return true }, faultproxy.Hang(silence)},
	}
	f.toggle(calm)
	for _, e := range episodes {
		p.proxy.Judge(during(storm, e.which, e.fault.Named(e.name)))
		f.toggleUntil(e.lasts, e.name)
	}
	p.proxy.Judge(storm)
	w.revokeAll()
	f.toggle(episode)
	w.grantAll()
	f.toggleUntil(calm, weather.Names()...)
	on := f.untilAsAsked()
	assert.Positive(t, on)
	f.allOff()
	assert.Zero(t, f.untilAsAsked())
	w.untilClean()

	counts := p.proxy.Counts()
	t.Logf("%d steps, %d of %d calls went wrong (%s), %d restarts; the API server said: %v", f.steps, counts.Injected(), counts.Calls, told(counts.Faults), restarts(), counts.Answers)
	inWeather := counts.Calls
	for _, e := range episodes {
		assert.Positive(t, counts.Faults[e.name], e.name)
		inWeather -= counts.Faults[e.name]
	}
	assert.Positive(t, counts.Answers[http.StatusForbidden], "calls that the API server itself has forbidden")
	injected := 0
	for _, name := range weather.Names() {
		assert.Positive(t, counts.Faults[name], name)
		injected += counts.Faults[name]
	}
	// Four times the deviation that so many calls have; a slow machine makes fewer.
	near := max(0.04, 4*math.Sqrt(weather.Share*(1-weather.Share)/float64(inWeather)))
	assert.InDelta(t, weather.Share, float64(injected)/float64(inWeather), near, "the share of the calls that went wrong")
	tally.Tell(t, "toggles", int64(f.steps))
	tally.Tell(t, "faults injected", int64(counts.Injected()))
	tally.Tell(t, "calls to the API server", int64(counts.Calls))
}

// withToken is the program as a service account, whose rights can be revoked.
func (w *world) withToken() *proxied {
	w.Helper()
	file := filepath.Join(w.TempDir(), "token")
	w.writeToken(file, "first")
	return w.proxiedAs(rest.AnonymousClientConfig(w.config), clientcmdapi.AuthInfo{TokenFile: file})
}

// revokeAll takes all rights in the namespace of the targets away; grantAll gives
// them back.
func (w *world) revokeAll() {
	w.Helper()
	require.NoError(w, w.client.RbacV1().RoleBindings(w.namespace).Delete(w.Context(), everything, metav1.DeleteOptions{}))
}

func (w *world) grantAll() {
	w.Helper()
	require.NoError(w, w.grant(w.namespace))
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
