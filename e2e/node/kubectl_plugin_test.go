package node

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/pkg/annotations"
)

// TestLeaseEndsMaintenanceOfKilledCommand kills `kubectl maintenance run`, so that only its
// Lease can end the maintenance.
func TestLeaseEndsMaintenanceOfKilledCommand(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.deploy([]string{e.host("my-app")}, app("my-app"), ingress("my-app", e.host("my-app"), "my-app", 80))
	before := e.spec("ingress/my-app")

	root, err := binaries.Root()
	require.NoError(t, err)
	folder := t.TempDir()
	require.NoError(t, binaries.Own{Root: root, Package: "./cmd/kubectl-maintenance"}.Build(t.Context(), filepath.Join(folder, "kubectl-maintenance")))
	// Run it as users do: kubectl finds plugins on the PATH.
	run := exec.CommandContext(t.Context(), site.kubectl, "maintenance", "run", "ingress/my-app", "--namespace="+e.namespace, "--lease-duration=10s", "--", "sh", "-c", "echo runs; exec sleep 600")
	run.Env = append(os.Environ(), "KUBECONFIG="+site.Kubeconfig(), "KUBECACHEDIR="+site.kubecache, "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := run.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, run.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "runs\n", line)
	u := e.get(ingresses, "my-app")
	require.True(t, active(u), "the command started before the target was active")
	e.untilAnswer(e.host("my-app"), fromPage)
	lease := u.GetAnnotations()[annotations.Lease]
	renewed := func() string { return e.kubectl("get", "lease", lease, "-o", "jsonpath={.spec.renewTime}") }
	first := renewed()
	e.until(leases, lease, "a renewal", func(u *unstructured.Unstructured) bool {
		at, _, _ := unstructured.NestedString(u.Object, "spec", "renewTime")
		return at != first
	})
	require.Equal(t, u.GetResourceVersion(), e.get(ingresses, "my-app").GetResourceVersion(), "renewing the Lease wrote to the target")

	// Kill the whole process group, as if the machine died: kubectl has replaced itself by the plugin.
	require.NoError(t, syscall.Kill(-run.Process.Pid, syscall.SIGKILL))
	_ = run.Wait()
	e.until(ingresses, "my-app", "ended by its Lease", restored)
	e.untilAnswer(e.host("my-app"), fromApp)
	require.Equal(t, before, e.spec("ingress/my-app"))
	for key := range e.get(ingresses, "my-app").GetAnnotations() {
		require.False(t, strings.HasPrefix(key, annotations.Prefix), key)
	}
}
