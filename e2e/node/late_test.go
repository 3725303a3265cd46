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

// TestEndpointsThatAreHeardOfLate has a Traefik that hears of endpoints later than of
// Ingresses: each kind has a watch of its own, and the API server keeps no order
// between them. For as long as --page-lead-time allows nobody notices.
func TestEndpointsThatAreHeardOfLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l, subjects := w.lateVisitors(faultproxy.Stale(500 * time.Millisecond))
	set := ""
	for version := range 3 {
		l.phase(fmt.Sprintf("version %d", version))
		w.apply(customPage("spring", fmt.Sprintf("Version %d", version), 60))
		for _, s := range subjects {
			w.on(s.object(), annotations.DefaultCustomPage+"=spring", "--overwrite")
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

// TestEndpointsThatAreHeardOfTooLate, however late that is: the test above would notice.
func TestEndpointsThatAreHeardOfTooLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	gate := faultproxy.NewGate()
	l, subjects := w.lateVisitors(gate.Hold())
	gate.Shut()
	t.Cleanup(gate.Open)
	for _, s := range subjects {
		w.on(s.object())
	}
	require.Zero(t, l.wrong(), "wrong answers before anything could be heard of")
	l.awaitWrong()
	l.end()
	t.Log(l.counts())
}

// lateVisitors come through a Traefik that hears of endpoints only after the delay, to an
// Ingress and an IngressRoute.
func (w *world) lateVisitors(delay *faultproxy.Fault) (*load, []*subject) {
	w.Helper()
	at := w.traefikBehind(func(c faultproxy.Call) *faultproxy.Fault {
		if c.Verb == "watch" && c.Resource == endpointSlices.Resource {
			return delay
		}
		return nil
	})
	hosts := []string{w.host("one"), w.host("two")}
	w.serve(hosts, app("my-app"), ingress("one", hosts[0], "my-app", 80), ingressRoute("two", hosts[1], "name: my-app, port: 80"))
	for _, host := range hosts {
		w.arrivesAt(at, host, fromApp)
	}
	return w.load(50, at, hosts...), []*subject{w.subject("Ingress", "one", hosts[0]), w.subject("IngressRoute", "two", hosts[1])}
}

// traefikBehind starts a Traefik whose calls go wrong as the judge says.
func (w *world) traefikBehind(judge faultproxy.Judge) (url string) {
	w.Helper()
	access, err := site.TraefikAccess()
	require.NoError(w, err)
	upstream, err := clientcmd.BuildConfigFromFlags("", access)
	require.NoError(w, err)
	proxy, err := faultproxy.Start(upstream, judge)
	require.NoError(w, err)
	w.Cleanup(proxy.Close)
	kubeconfig := filepath.Join(w.TempDir(), "kubeconfig")
	require.NoError(w, proxy.WriteKubeconfig(kubeconfig, clientcmdapi.AuthInfo{}))
	url, stop, err := site.AnotherTraefik(w.Context(), kubeconfig)
	require.NoError(w, err)
	w.Cleanup(stop)
	return url
}
