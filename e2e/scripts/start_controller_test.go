package scripts

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"maintenance-controller.io/e2e/controllerproc"
)

// startController runs the program maintenance-controller with flags, until the test ends or
// stop is called.
func startController(t *testing.T, kubeconfig string, flags ...string) (stop func()) {
	t.Helper()
	args := append([]string{
		"--kubeconfig=" + kubeconfig, "--listen=", "--log-format=console", "--page-lead-time=20ms", "--settle-time=100ms", "--page-set-grace-period=1s",
		"--lease-retry-period=200ms", "--lease-renew-deadline=10s",
	}, flags...)
	p, err := controllerproc.Start(t.Output(), args...)
	require.NoError(t, err)
	stop = sync.OnceFunc(func() {
		if code := p.Stop(); code != 0 {
			t.Errorf("the controller ended with exit code %d", code)
		}
	})
	t.Cleanup(stop)
	return stop
}

// inNamespace creates a namespace and makes it kubectl's default.
func (p *person) inNamespace(name string) {
	p.Helper()
	p.run("kubectl create namespace " + name)
	p.Cleanup(func() { _, _ = p.try("kubectl delete namespace --wait=false " + name) })
	config := p.TempDir() + "/kubeconfig"
	p.run("cp " + plane.Kubeconfig() + " " + config)
	p.environment = append(p.environment, "KUBECONFIG="+config)
	p.run("kubectl config set-context --current --namespace=" + name)
	p.until("kubectl get serviceaccount default -o name", func(string) bool { return true })
}

// ownNamespace creates the controller's namespace, if it does not exist yet.
func (p *person) ownNamespace() {
	p.Helper()
	p.run("kubectl get namespace maintenance-system >/dev/null 2>&1 || kubectl create namespace maintenance-system")
}

const (
	specOf  = "kubectl get %s -o jsonpath='{.spec}'"
	stateOf = "kubectl get %s -o jsonpath='{.metadata.annotations.maintenance/state}'"
)

// untilState waits until an object has this maintenance/state.
func (p *person) untilState(object, state string) {
	p.Helper()
	p.until(fmt.Sprintf(stateOf, object), func(out string) bool { return out == state })
}

// traefik installs Traefik's CRDs.
func (p *person) traefik() {
	p.Helper()
	require.NoError(p, plane.InstallTraefikCRDs(p.Context()))
}
