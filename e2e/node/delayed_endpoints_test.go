package node

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"maintenance-controller.io/e2e/faultproxy"
	"maintenance-controller.io/pkg/annotations"
)

// TestEndpointsDelayedWithinLeadTime delays Traefik's watch of endpoints: each kind has its own
// watch, and the API server guarantees no order between them. As long as the delay is within
// --page-lead-time, no visitor notices.
func TestEndpointsDelayedWithinLeadTime(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	l, subjects := e.loadWithDelayedEndpoints(faultproxy.Stale(500 * time.Millisecond))
	set := ""
	for version := range 3 {
		l.phase(fmt.Sprintf("version %d", version))
		e.apply(customPage("spring", fmt.Sprintf("Version %d", version), 60))
		for _, s := range subjects {
			e.on(s.object(), annotations.DefaultCustomPage+"=spring", "--overwrite")
		}
		now := set
		for _, s := range subjects {
			now = s.await("shows the page", func(r revision) bool { return r.active && r.set != "" && r.set != set }).set
		}
		set = now
		l.await(50)
	}
	l.stop()
}

// TestEndpointsDelayedBeyondLeadTime proves that the test above notices a longer delay.
func TestEndpointsDelayedBeyondLeadTime(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	gate := faultproxy.NewGate()
	l, subjects := e.loadWithDelayedEndpoints(gate.Hold())
	gate.Shut()
	t.Cleanup(gate.Open)
	require.Zero(t, l.wrong(), "wrong answers before the switch")
	for _, s := range subjects {
		e.on(s.object())
	}
	l.awaitWrong()
	l.end()
	t.Log(l.counts())
}

// loadWithDelayedEndpoints starts a load on an Ingress and an IngressRoute, through a Traefik that
// receives changes of endpoints with a fault, for example a delay.
func (e *env) loadWithDelayedEndpoints(delay *faultproxy.Fault) (*load, []*subject) {
	e.Helper()
	at := e.traefikWithFaults(func(c faultproxy.Call) *faultproxy.Fault {
		if c.Verb == "watch" && c.Resource == endpointSlices.Resource {
			return delay
		}
		return nil
	})
	hosts := []string{e.host("one"), e.host("two")}
	e.deploy(hosts, app("my-app"), ingress("one", hosts[0], "my-app", 80), ingressRoute("two", hosts[1], "name: my-app, port: 80"))
	for _, host := range hosts {
		e.untilAnswerAt(at, host, fromApp)
	}
	return e.load(50, at, hosts...), []*subject{e.subject("Ingress", "one", hosts[0]), e.subject("IngressRoute", "two", hosts[1])}
}

// traefikWithFaults starts a Traefik whose calls to the API server have the faults that judge
// returns.
func (e *env) traefikWithFaults(judge faultproxy.FaultFunc) (url string) {
	e.Helper()
	access, err := site.TraefikAccess()
	require.NoError(e, err)
	upstream, err := clientcmd.BuildConfigFromFlags("", access)
	require.NoError(e, err)
	proxy, err := faultproxy.Start(upstream, judge)
	require.NoError(e, err)
	e.Cleanup(proxy.Close)
	kubeconfig := filepath.Join(e.TempDir(), "kubeconfig")
	require.NoError(e, proxy.WriteKubeconfig(kubeconfig, clientcmdapi.AuthInfo{}))
	url, stop, err := site.AnotherTraefik(e.Context(), kubeconfig)
	require.NoError(e, err)
	e.Cleanup(stop)
	return url
}
