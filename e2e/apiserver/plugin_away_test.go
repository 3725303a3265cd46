package apiserver

import (
	"net/http"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"maintenance-controller.io/e2e/faultproxy"
	"maintenance-controller.io/pkg/annotations"
)

// TestPluginRunLosesTheCluster: a machine is cut off for longer than its Lease holds. The
// controller ends maintenance, and as soon as the command is heard of again it is on again:
// nobody has ended it. A command that must not run without it is ended.
func TestPluginRunLosesTheCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), ingress("careful"))
	w.start()
	var away atomic.Bool
	proxy, err := faultproxy.Start(plane.Config(), func(faultproxy.Call) *faultproxy.Fault {
		if away.Load() {
			return faultproxy.Refuse(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)
		}
		return nil
	})
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	cutOff := &person{world: w, kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	require.NoError(t, proxy.WriteKubeconfig(cutOff.kubeconfig, clientcmdapi.AuthInfo{}))

	c := cutOff.runs("my-app", "--lease-duration=10s")
	careful := cutOff.runs("careful", "--lease-duration=10s", "--kill-on-lapse")
	lease := annotatedLeases(w.get(ingresses, "my-app"))[0]
	away.Store(true)
	proxy.EndWatches()
	w.until(ingresses, "my-app", "its end by the Lease", restored)
	w.until(ingresses, "careful", "its end by the Lease", restored)
	away.Store(false)
	w.until(ingresses, "my-app", "on again", func(u *unstructured.Unstructured) bool {
		return state(annotations.Active)(u) && slices.Contains(annotatedLeases(u), lease)
	})
	s := c.letGo()
	require.Equal(t, 7, s.code, s)
	require.Contains(t, s.err, "Warning: the Lease of ingress/my-app could not be renewed, trying again")
	require.Contains(t, s.err, "The Lease of ingress/my-app is renewed again, and it is kept in maintenance")
	require.True(t, restored(w.get(ingresses, "my-app")))
	s = <-careful.ended
	require.Equal(t, 125, s.code, s)
	require.Contains(t, s.err, "the command is ended: ingress/careful is not kept in maintenance any more: the Lease could not be renewed for N")
	w.noLeases()
}
