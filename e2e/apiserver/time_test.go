package apiserver

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"maintenance-controller.io/e2e/clock"
	"maintenance-controller.io/pkg/annotations"
)

// TestTheClockJumps sets the wall clock of the program three days ahead and back in
// the middle of maintenance. It goes on leading, ends maintenance, and waits out its
// grace periods; and nothing that it says has a time below zero.
func TestTheClockJumps(t *testing.T) {
	t.Parallel()
	const days = 72 * time.Hour
	for name, off := range map[string]time.Duration{"ahead": days, "back": -days} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.wantNoHoles()
			w.apply(ingress("my-app"), ingress("later"))
			p := w.proxied()
			address := freeAddress(t)
			p.restart("--leader-elect=true", "--lease-duration=3s", "--lease-renew-deadline=2s", "--lease-retry-period=300ms", "--listen="+address)
			w.on(ingresses, "my-app")
			w.until(ingresses, "my-app", "active", state(annotations.Active))
			transitions := w.leaseTransitions()

			require.NoError(t, clock.Set(p.program().Pid(), off))
			w.on(ingresses, "later")
			u := w.until(ingresses, "later", "active", state(annotations.Active))
			since, err := time.Parse(time.RFC3339, u.GetAnnotations()[annotations.Since])
			require.NoError(t, err)
			assert.WithinDuration(t, time.Now().Add(off), since, time.Minute, "the program's clock has jumped")
			untilMetric(t, address, "maintenance_leader 1")
			w.off(ingresses, "my-app")
			w.until(ingresses, "my-app", "restored", specIs(ingress("my-app")))
			assert.NotContains(t, message(w.untilEvent("my-app", "MaintenanceEnded")), "-", "no time below zero")

			require.NoError(t, clock.Set(p.program().Pid(), 0))
			w.off(ingresses, "later")
			w.until(ingresses, "later", "restored", specIs(ingress("later")))
			w.untilClean()
			assert.Equal(t, transitions, w.leaseTransitions(), "it led all the time")
			select {
			case <-p.program().Done():
				t.Error("the program has ended")
			default:
			}
		})
	}
}

// leaseTransitions tells how often the Lease has changed hands.
func (w *world) leaseTransitions() int32 {
	w.Helper()
	lease, err := w.client.CoordinationV1().Leases(w.own).Get(w.Context(), leaseName, metav1.GetOptions{})
	require.NoError(w, err)
	require.NotNil(w, lease.Spec.LeaseTransitions)
	return *lease.Spec.LeaseTransitions
}

// TestATokenExpires: the API server takes the program's token no more (the Secret
// that it was bound to is deleted, the quickest way to that). Once the kubelet has
// put another into the same file, all goes on in the same process: within a minute,
// which is how often client-go reads the file.
func TestATokenExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	file := filepath.Join(t.TempDir(), "token")
	w.writeToken(file, "first")
	upstream := rest.AnonymousClientConfig(w.config)
	p := w.proxiedAs(upstream, clientcmdapi.AuthInfo{TokenFile: file})
	p.restart()
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))

	require.NoError(t, w.client.CoreV1().Secrets(w.own).Delete(t.Context(), "first", metav1.DeleteOptions{}))
	deadline := after(patience)
	for i := 0; p.proxy.Counts().Answers[http.StatusUnauthorized] == 0; i++ {
		select {
		case <-deadline:
			t.Fatal("the API server takes the token still")
		case <-after(100 * time.Millisecond):
			w.annotate(ingresses, "my-app", map[string]any{"example.com/look": fmt.Sprint(i), annotations.DefaultEnabled: []any{"true", "false"}[i%2]})
		}
	}
	w.annotate(ingresses, "my-app", map[string]any{"example.com/look": nil})
	w.off(ingresses, "my-app")
	w.writeToken(file, "second")
	w.until(ingresses, "my-app", "restored", specIs(ingress("my-app")))
	w.untilClean()
	select {
	case <-p.program().Done():
		t.Error("the program has ended")
	default:
	}
}

// writeToken puts a token of a service account that may do all in the world's
// namespaces into a file. It is good for as long as a Secret is there.
func (w *world) writeToken(file, secret string) {
	w.Helper()
	if secret == "first" {
		for _, namespace := range []string{w.namespace, w.own} {
			require.NoError(w, w.grant(namespace))
		}
	}
	s, err := w.client.CoreV1().Secrets(w.own).Create(w.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: secret}}, metav1.CreateOptions{})
	require.NoError(w, err)
	own := *w
	own.namespace = w.own
	own.until(corev1.SchemeGroupVersion.WithResource("serviceaccounts"), "default", "service account", exists)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: s.Name, UID: s.UID},
	}}
	token, err := w.client.CoreV1().ServiceAccounts(w.own).CreateToken(w.Context(), "default", request, metav1.CreateOptions{})
	require.NoError(w, err)
	require.NoError(w, os.WriteFile(file, []byte(token.Status.Token), 0o600))
}

// everything is the name of the RoleBinding by which a token may do all in a namespace.
const everything = "everything"

func (w *world) grant(namespace string) error {
	return plane.Apply(w.Context(), fmt.Appendf(nil, `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: %s, namespace: %s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: default, namespace: %s}]
`, everything, namespace, w.own))
}
