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

// TestPluginRunLosesTheCluster: a machine is offline for longer than its Lease lasts. The
// controller ends maintenance. Once the command is online again, it starts maintenance
// again, because nobody has ended it. A command with --kill-on-lapse is ended instead.
func TestPluginRunLosesTheCluster(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), ingress("careful"))
	env.startController()
	var away atomic.Bool
	proxy, err := faultproxy.Start(plane.Config(), func(faultproxy.Call) *faultproxy.Fault {
		if away.Load() {
			return faultproxy.Refuse(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)
		}
		return nil
	})
	require.NoError(t, err)
	t.Cleanup(proxy.Close)
	cutOff := &pluginUser{testEnv: env, kubeconfig: filepath.Join(t.TempDir(), "kubeconfig")}
	require.NoError(t, proxy.WriteKubeconfig(cutOff.kubeconfig, clientcmdapi.AuthInfo{}))

	c := cutOff.startRun("my-app", "--lease-duration=20s")
	careful := cutOff.startRun("careful", "--lease-duration=20s", "--kill-on-lapse")
	lease := annotatedLeases(env.get(ingresses, "my-app"))[0]
	away.Store(true)
	proxy.EndWatches()
	env.waitFor(ingresses, "my-app", "restored after the Lease expired", restored)
	env.waitFor(ingresses, "careful", "restored after the Lease expired", restored)
	away.Store(false)
	env.waitFor(ingresses, "my-app", "on again", func(u *unstructured.Unstructured) bool {
		return state(annotations.Active)(u) && slices.Contains(annotatedLeases(u), lease)
	})
	s := c.finish()
	require.Equal(t, 7, s.code, s)
	require.Contains(t, s.err, "Warning: the Lease of ingress/my-app could not be renewed, trying again")
	require.Contains(t, s.err, "The Lease of ingress/my-app is renewed again, so it stays in maintenance")
	require.True(t, restored(env.get(ingresses, "my-app")))
	s = <-careful.ended
	require.Equal(t, 125, s.code, s)
	require.Contains(t, s.err, "ending the command: ingress/careful is no longer kept in maintenance: the Lease could not be renewed for N")
	env.requireNoLeases()
}
