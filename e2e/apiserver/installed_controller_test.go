package apiserver

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/fakekubelet"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// The whole program as users run it: flags, service account, Lease, metrics.

func TestInstalledController(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	kubeconfig := installManifests(t, plane)
	env.apply(ingress("my-app"), ingressRoute("my-app"))
	before := spec(t, env.get(ingresses, "my-app"))
	env.waitForRole(kubeconfig)
	scope := "--watch-namespaces=" + env.namespace // other tests have controllers of their own
	first := startProcess(t, kubeconfig, scope)
	require.Contains(t, first.get(t, "/readyz"), "ok")
	leads := func(p *controllerProcess, want string) { p.waitForMetric(t, "maintenance_leader "+want) }
	leads(first, "1")
	second := startProcess(t, kubeconfig, scope)
	second.get(t, "/readyz")
	leads(second, "0")

	env.enable(ingresses, "my-app")
	env.enable(ingressRoutes, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	env.waitFor(ingressRoutes, "my-app", "active", state(annotations.Active))
	for _, want := range []string{
		`maintenance_targets{kind="Ingress",state="active"} 1`, `maintenance_targets{kind="IngressRoute",state="active"} 1`,
		"maintenance_oldest_start_timestamp_seconds 1.", "maintenance_page_sets 1",
	} {
		first.waitForMetric(t, want)
	}

	// SIGTERM: the Lease is released, and the second controller takes over at once.
	stopped := time.Now()
	assert.Equal(t, 0, first.Stop())
	leads(second, "1")
	assert.Less(t, time.Since(stopped), 30*time.Second, "before the Lease expires")
	env.disable(ingresses, "my-app")
	env.disable(ingressRoutes, "my-app")
	assert.Equal(t, before, spec(t, env.waitFor(ingresses, "my-app", "restored", restored)))
	env.waitFor(ingressRoutes, "my-app", "restored", restored)
	env.waitForCleanup()
	for _, p := range []*controllerProcess{first, second} {
		assert.NotContains(t, p.log.String(), "forbidden", "the manifest grants all rights that are needed")
	}
}

// TestRolesInWatchedNamespacesAreEnough: the manifest's ClusterRole is bound in two
// namespaces only.
func TestRolesInWatchedNamespacesAreEnough(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	installManifests(t, plane)
	kubeconfig, err := plane.KubeconfigFor("narrow", "system:authenticated")
	require.NoError(t, err)
	for _, namespace := range []string{env.namespace, env.controllerNamespace} {
		require.NoError(t, plane.Apply(t.Context(), fmt.Appendf(nil, `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: maintenance, namespace: %s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: maintenance-controller}
subjects: [{kind: User, apiGroup: rbac.authorization.k8s.io, name: narrow}]
`, namespace)))
	}
	env.apply(ingress("my-app"))
	env.waitForRole(kubeconfig)
	p := startProcess(t, kubeconfig, "--watch-namespaces="+env.namespace, "--namespace="+env.controllerNamespace, "--leader-elect=false")
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restored)
	env.waitForCleanup()
	assert.NotContains(t, p.log.String(), "forbidden")
}

// TestTargetCRDsCreatedAndDeleted has its own control plane, because CRDs are cluster-wide.
func TestTargetCRDsCreatedAndDeleted(t *testing.T) {
	t.Parallel()
	own, err := cluster.StartControlPlane(t.Context(), cluster.Options{})
	require.NoError(t, err)
	t.Cleanup(own.Stop)
	require.NoError(t, fakekubelet.Run(t.Context(), own.Config()))
	env := newTestEnvOn(t, own.Config(), target.Ingress(), target.Service())
	env.apply(ingress("my-app"))
	c := env.startController()
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	require.NoError(t, own.InstallCRDs(t.Context()))
	for _, k := range []target.Kind{target.IngressRoute(), target.HTTPRoute(), target.GRPCRoute()} {
		require.NoError(t, env.soundness.Follow(k))
		env.apply(manifests[k.Name]("my-route"))
		env.enable(k.Resource, "my-route")
		env.waitFor(k.Resource, "my-route", "active", state(annotations.Active))
	}
	// Only these CRDs: the API server takes a minute to delete a CRD that was just created
	// and never used.
	// only just come and was never used.
	crds := schemaGVR{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	for _, name := range []string{"ingressroutes.traefik.io", "httproutes.gateway.networking.k8s.io", "grpcroutes.gateway.networking.k8s.io"} {
		require.NoError(t, env.dynamic.Resource(crds).Delete(t.Context(), name, metav1.DeleteOptions{}))
	}
	env.waitFor(configMaps, defaultSet(), "the remaining user in used-by", usedBy("Ingress/my-app"))
	requireIdle(t, c.requests)
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restored)
	env.waitForCleanup()
}

// TestControllerSurvivesAPIServerRestart stops the API server while a target of each kind
// is in maintenance. The same process acts on the first changes after the restart, and on
// later ones.
func TestControllerSurvivesAPIServerRestart(t *testing.T) {
	t.Parallel()
	own, err := cluster.StartControlPlane(t.Context(), cluster.Options{CRDs: true})
	require.NoError(t, err)
	t.Cleanup(own.Stop)
	require.NoError(t, fakekubelet.Run(t.Context(), own.Config()))
	env := newTestEnvOn(t, own.Config(), target.Kinds()...)
	env.apiServerRestarts.Store(true)
	before := map[string]string{}
	for _, k := range target.Kinds() {
		env.apply(manifests[k.Name]("my-app"))
		before[k.Name] = spec(t, env.get(k.Resource, "my-app"))
	}
	p := env.newProxied()
	p.restart()
	all := func(what string, ask func(schemaGVR, string), ok condition) {
		for _, k := range target.Kinds() {
			ask(k.Resource, "my-app")
		}
		for _, k := range target.Kinds() {
			env.waitFor(k.Resource, "my-app", what, ok)
		}
	}
	all("active", env.enable, state(annotations.Active))

	own.StopAPIServer()
	require.Eventually(t, func() bool { return p.proxy.Watches() == 0 }, waitTimeout, 10*time.Millisecond, "the program loses its watches")
	back := make(chan error, 1)
	go func() { back <- own.StartAPIServer(t.Context()) }()
	all("restored", func(gvr schemaGVR, name string) {
		require.Eventually(t, func() bool {
			return env.tryAnnotate(gvr, name, map[string]any{annotations.DefaultEnabled: nil}) == nil
		}, waitTimeout, 10*time.Millisecond, "the API server answers again")
	}, restored)
	require.NoError(t, <-back)
	same := func() {
		t.Helper()
		for _, k := range target.Kinds() {
			assert.Equal(t, before[k.Name], spec(t, env.get(k.Resource, "my-app")), "the spec, byte by byte")
		}
		env.waitForCleanup()
	}
	same()
	all("active again", env.enable, state(annotations.Active))
	all("restored again", env.disable, restored)
	same()
	requireIdle(t, p.requests)
	select {
	case <-p.process().Done():
		t.Error("the program has exited")
	default:
	}
}
