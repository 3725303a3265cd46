package apiserver

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/played"
	"maintenance-controller.io/e2e/program"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// The whole program, as a user runs it: flags, service account, Lease, metrics.

// installation is a running maintenance-controller, a process of its own.
type installation struct {
	*program.Program
	address string
	log     *output
}

type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func runProgram(t *testing.T, kubeconfig string, args ...string) *installation {
	t.Helper()
	p := &installation{address: freeAddress(t), log: &output{}}
	var err error
	args = append([]string{"--kubeconfig=" + kubeconfig, theInstallation, "--listen=" + p.address, "--page-image=" + imageServes, "--page-lead-time=20ms", "--settle-time=100ms",
		"--page-set-grace-period=300ms", "--lease-duration=3s", "--lease-renew-deadline=2s", "--lease-retry-period=500ms"}, args...)
	p.Program, err = program.Start(p.log, args...)
	require.NoError(t, err)
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Log(p.log)
		}
	})
	return p
}

// freeAddress gives an address of the loopback where nobody listens.
func freeAddress(t require.TestingT) string {
	port, err := cluster.FreePort()
	require.NoError(t, err)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

func (p *installation) get(t *testing.T, path string) string {
	t.Helper()
	return get(t, p.address, path)
}

func (p *installation) untilMetric(t *testing.T, line string) {
	t.Helper()
	untilMetric(t, p.address, line)
}

// get waits until the program at an address answers a path with 200.
func get(tb testing.TB, address, path string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), patience)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
		require.NoError(tb, err)
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err == nil && resp.StatusCode == http.StatusOK {
				return string(body)
			}
		}
		select {
		case <-ctx.Done():
			tb.Fatalf("%s: %v", path, err)
		case <-after(20 * time.Millisecond):
		}
	}
}

// untilMetric waits until the metrics of the program at an address have a line.
func untilMetric(tb testing.TB, address, line string) {
	tb.Helper()
	deadline := time.Now().Add(patience)
	for !strings.Contains(get(tb, address, "/metrics"), "\n"+line) {
		if time.Now().After(deadline) {
			tb.Fatalf("no metric %s", line)
		}
		<-after(20 * time.Millisecond)
	}
}

// installed applies the project's own manifest and gives a kubeconfig of its
// service account: what the program may do is what the manifest grants, and those
// that are named beside it.
func installed(t *testing.T, plane *cluster.ControlPlane, more ...string) (kubeconfig string) {
	t.Helper()
	manifest, err := os.ReadFile("../../deploy/manifests/install.yaml")
	require.NoError(t, err)
	// Its Pods would only stand in the way: the program runs here.
	text := strings.Replace(string(manifest), "replicas: 2", "replicas: 0", 1)
	require.NoError(t, plane.Apply(t.Context(), []byte(text)))
	for _, name := range more {
		manifest, err := os.ReadFile("../../deploy/manifests/" + name)
		require.NoError(t, err)
		require.NoError(t, plane.Apply(t.Context(), manifest))
	}
	const sa = "system:serviceaccount:maintenance-system:maintenance-controller"
	kubeconfig, err = plane.KubeconfigFor(sa, "system:serviceaccounts", "system:serviceaccounts:maintenance-system", "system:authenticated")
	require.NoError(t, err)
	return kubeconfig
}

func TestTheProgramAsInstalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	kubeconfig := installed(t, plane)
	w.apply(ingress("my-app"), ingressRoute("my-app"))
	before := spec(t, w.get(ingresses, "my-app"))
	scope := "--watch-namespaces=" + w.namespace // other tests have controllers of their own
	const lease, renew = "--lease-duration=60s", "--lease-renew-deadline=40s"
	first := runProgram(t, kubeconfig, scope, lease, renew)
	require.Contains(t, first.get(t, "/readyz"), "ok")
	leads := func(p *installation, want string) { p.untilMetric(t, "maintenance_leader "+want) }
	leads(first, "1")
	second := runProgram(t, kubeconfig, scope, lease, renew)
	second.get(t, "/readyz")
	leads(second, "0")

	w.on(ingresses, "my-app")
	w.on(ingressRoutes, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	w.until(ingressRoutes, "my-app", "active", state(annotations.Active))
	for _, want := range []string{
		`maintenance_targets{kind="Ingress",state="active"} 1`, `maintenance_targets{kind="IngressRoute",state="active"} 1`,
		"maintenance_oldest_start_timestamp_seconds 1.", "maintenance_page_sets 1",
	} {
		first.untilMetric(t, want)
	}

	// SIGTERM: the Lease is released, and the second one takes over at once.
	stopped := time.Now()
	assert.Equal(t, 0, first.Stop())
	leads(second, "1")
	assert.Less(t, time.Since(stopped), 30*time.Second, "sooner than the Lease runs out")
	w.off(ingresses, "my-app")
	w.off(ingressRoutes, "my-app")
	assert.Equal(t, before, spec(t, w.until(ingresses, "my-app", "restored", restored)))
	w.until(ingressRoutes, "my-app", "restored", restored)
	w.untilClean()
	for _, p := range []*installation{first, second} {
		assert.NotContains(t, p.log.String(), "forbidden", "the manifest grants all that is needed")
	}
}

// TestRolesInWatchedNamespacesAreEnough: the manifest's ClusterRole, bound in
// two namespaces only.
func TestRolesInWatchedNamespacesAreEnough(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	installed(t, plane)
	kubeconfig, err := plane.KubeconfigFor("narrow", "system:authenticated")
	require.NoError(t, err)
	for _, namespace := range []string{w.namespace, w.own} {
		require.NoError(t, plane.Apply(t.Context(), fmt.Appendf(nil, `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: maintenance, namespace: %s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: maintenance-controller}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: narrow}]
`, namespace)))
	}
	w.apply(ingress("my-app"))
	p := runProgram(t, kubeconfig, "--watch-namespaces="+w.namespace, "--namespace="+w.own, "--leader-elect=false")
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", restored)
	w.untilClean()
	assert.NotContains(t, p.log.String(), "forbidden")
}

// TestTheCRDComesAndGoes has a control plane of its own, since the CRD is there
// for all or for none.
func TestTheCRDComesAndGoes(t *testing.T) {
	t.Parallel()
	own, err := cluster.StartControlPlane(t.Context(), cluster.Options{})
	require.NoError(t, err)
	t.Cleanup(own.Stop)
	require.NoError(t, played.Kubelet(t.Context(), own.Config()))
	w := newWorldOn(t, own.Config(), target.Ingress(), target.Service())
	w.apply(ingress("my-app"))
	c := w.start()
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	require.NoError(t, own.InstallCRDs(t.Context()))
	for _, k := range []target.Kind{target.IngressRoute(), target.HTTPRoute(), target.GRPCRoute()} {
		require.NoError(t, w.sound.Follow(k))
		w.apply(manifests[k.Name]("my-route"))
		w.on(k.Resource, "my-route")
		w.until(k.Resource, "my-route", "active", state(annotations.Active))
	}
	// Of this kind alone: the API server takes a minute to end a CRD that has
	// only just come and was never used.
	crds := schemaGVR{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	for _, name := range []string{"ingressroutes.traefik.io", "httproutes.gateway.networking.k8s.io", "grpcroutes.gateway.networking.k8s.io"} {
		require.NoError(t, w.dynamic.Resource(crds).Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
	w.until(configMaps, defaultSet(), "the user that is left", usedBy("Ingress/my-app"))
	wantRest(t, c.requests)
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", restored)
	w.untilClean()
}

// TestItOutlivesTheAPIServer takes the API server away while a target of each kind is
// in maintenance. What is asked of it first when it is back, before the program has
// found it again, is done by the same process; and so is what comes later.
func TestItOutlivesTheAPIServer(t *testing.T) {
	t.Parallel()
	own, err := cluster.StartControlPlane(t.Context(), cluster.Options{CRDs: true})
	require.NoError(t, err)
	t.Cleanup(own.Stop)
	require.NoError(t, played.Kubelet(t.Context(), own.Config()))
	w := newWorldOn(t, own.Config(), target.Kinds()...)
	w.restarts.Store(true)
	before := map[string]string{}
	for _, k := range target.Kinds() {
		w.apply(manifests[k.Name]("my-app"))
		before[k.Name] = spec(t, w.get(k.Resource, "my-app"))
	}
	p := w.proxied()
	p.restart()
	all := func(what string, ask func(schemaGVR, string), ok condition) {
		for _, k := range target.Kinds() {
			ask(k.Resource, "my-app")
		}
		for _, k := range target.Kinds() {
			w.until(k.Resource, "my-app", what, ok)
		}
	}
	all("active", w.on, state(annotations.Active))

	own.StopAPIServer()
	require.Eventually(t, func() bool { return p.proxy.Watches() == 0 }, patience, 10*time.Millisecond, "the program sees that nobody is there")
	back := make(chan error, 1)
	go func() { back <- own.StartAPIServer(t.Context()) }()
	all("restored", func(gvr schemaGVR, name string) {
		require.Eventually(t, func() bool {
			return w.patched(gvr, name, map[string]any{annotations.DefaultEnabled: nil}) == nil
		}, patience, 10*time.Millisecond, "the API server answers again")
	}, restored)
	require.NoError(t, <-back)
	same := func() {
		t.Helper()
		for _, k := range target.Kinds() {
			assert.Equal(t, before[k.Name], spec(t, w.get(k.Resource, "my-app")), "the spec, to the byte")
		}
		w.untilClean()
	}
	same()
	all("active again", w.on, state(annotations.Active))
	all("restored again", w.off, restored)
	same()
	wantRest(t, p.calls)
	select {
	case <-p.program().Done():
		t.Error("the program has ended")
	default:
	}
}
