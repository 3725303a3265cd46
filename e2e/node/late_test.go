package node

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
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
	for name, tt := range map[string]struct {
		late  time.Duration
		holes bool
	}{
		"a little": {late: 500 * time.Millisecond},
		"too late": {late: 6 * time.Second, holes: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			at := w.lateTraefik(tt.late)
			hosts := []string{w.host("one"), w.host("two")}
			w.serve(hosts, app("my-app"), customPage("spring", "Version 0", 60),
				ingress("one", hosts[0], "my-app", 80), ingressRoute("two", hosts[1], "name: my-app, port: 80"))
			for _, host := range hosts {
				w.arrivesAt(at, host, fromApp)
			}
			subjects := []*subject{w.subject("Ingress", "one", hosts[0]), w.subject("IngressRoute", "two", hosts[1])}
			l := w.load(50, at, hosts...)
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
			l.end()
			t.Log(l.counts())
			if tt.holes {
				assert.NotEmpty(t, l.holes(), "they are not noticed")
			} else {
				w.report("wrong answers", l.holes())
			}
		})
	}
}

// lateTraefik starts a Traefik that hears of endpoints so much later.
func (w *world) lateTraefik(late time.Duration) (url string) {
	w.Helper()
	access, err := site.TraefikAccess()
	require.NoError(w, err)
	upstream, err := clientcmd.BuildConfigFromFlags("", access)
	require.NoError(w, err)
	proxy, err := faultproxy.Start(upstream, func(c faultproxy.Call) *faultproxy.Fault {
		if c.Verb == "watch" && c.Resource == endpointSlices.Resource {
			return faultproxy.Stale(late)
		}
		return nil
	})
	require.NoError(w, err)
	w.Cleanup(proxy.Close)
	kubeconfig := filepath.Join(w.TempDir(), "kubeconfig")
	require.NoError(w, proxy.WriteKubeconfig(kubeconfig, clientcmdapi.AuthInfo{}))
	url, stop, err := site.AnotherTraefik(w.Context(), kubeconfig)
	require.NoError(w, err)
	w.Cleanup(stop)
	return url
}
