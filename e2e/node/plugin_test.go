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

// TestACommandOnAMachineThatDies: kubectl maintenance run is killed in the middle, and
// nobody is there to end the maintenance. Its Lease does.
func TestACommandOnAMachineThatDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve([]string{w.host("my-app")}, app("my-app"), ingress("my-app", w.host("my-app"), "my-app", 80))
	before := w.spec("ingress/my-app")

	root, err := binaries.Root()
	require.NoError(t, err)
	folder := t.TempDir()
	require.NoError(t, binaries.Own{Root: root, Package: "./cmd/kubectl-maintenance"}.Build(t.Context(), filepath.Join(folder, "kubectl-maintenance")))
	// As a person types it: kubectl finds its plugins on the PATH.
	run := exec.CommandContext(t.Context(), site.kubectl, "maintenance", "run", "ingress/my-app", "--namespace="+w.namespace, "--lease-duration=10s", "--", "sh", "-c", "echo runs; exec sleep 600")
	run.Env = append(os.Environ(), "KUBECONFIG="+site.Kubeconfig(), "KUBECACHEDIR="+site.kubecache, "PATH="+folder+string(os.PathListSeparator)+os.Getenv("PATH"))
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := run.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, run.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "runs\n", line)
	u := w.get(ingresses, "my-app")
	require.True(t, active(u), "the command begins when visitors get the page")
	w.arrives(w.host("my-app"), fromPage)
	lease := u.GetAnnotations()[annotations.Lease]
	renewed := func() string { return w.kubectl("get", "lease", lease, "-o", "jsonpath={.spec.renewTime}") }
	first := renewed()
	w.until(leases, lease, "a renewal", func(u *unstructured.Unstructured) bool {
		at, _, _ := unstructured.NestedString(u.Object, "spec", "renewTime")
		return at != first
	})
	require.Equal(t, u.GetResourceVersion(), w.get(ingresses, "my-app").GetResourceVersion(), "what renews writes the Lease, and never the target")

	// kubectl has become the plugin; on a machine that dies, the command goes with it.
	require.NoError(t, syscall.Kill(-run.Process.Pid, syscall.SIGKILL))
	_ = run.Wait()
	w.until(ingresses, "my-app", "its end by the Lease", restored)
	w.arrives(w.host("my-app"), fromApp)
	require.Equal(t, before, w.spec("ingress/my-app"))
	for key := range w.get(ingresses, "my-app").GetAnnotations() {
		require.False(t, strings.HasPrefix(key, annotations.Prefix), key)
	}
}
