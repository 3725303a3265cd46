package apiserver

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"maintenance-controller.io/pkg/annotations"
)

// TestExpiredTokenIsReplaced: the API server no longer accepts the controller's token,
// because the Secret that it is bound to was deleted. Once there is a new token in the same
// file, the same process goes on within a minute: client-go reads the file that often.
func TestExpiredTokenIsReplaced(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	file := filepath.Join(t.TempDir(), "token")
	env.writeToken(file, "first")
	upstream := rest.AnonymousClientConfig(env.config)
	p := env.newProxiedAs(upstream, clientcmdapi.AuthInfo{TokenFile: file})
	p.restart()
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))

	require.NoError(t, env.client.CoreV1().Secrets(env.controllerNamespace).Delete(t.Context(), "first", metav1.DeleteOptions{}))
	deadline := after(waitTimeout)
	for i := 0; p.proxy.Counts().Answers[http.StatusUnauthorized] == 0; i++ {
		select {
		case <-deadline:
			t.Fatal("timed out: the API server still accepts the token")
		case <-after(100 * time.Millisecond):
			env.annotate(ingresses, "my-app", map[string]any{"example.com/look": fmt.Sprint(i), annotations.DefaultEnabled: []any{"true", "false"}[i%2]})
		}
	}
	env.annotate(ingresses, "my-app", map[string]any{"example.com/look": nil})
	env.disable(ingresses, "my-app")
	env.writeToken(file, "second")
	env.waitFor(ingresses, "my-app", "restored", restoredTo(ingress("my-app")))
	env.waitForCleanup()
	select {
	case <-p.process().Done():
		t.Error("the program has exited")
	default:
	}
}

// writeToken writes a token of a service account that may do everything in both namespaces.
// It is valid for as long as the Secret exists.
func (env *testEnv) writeToken(file, secret string) {
	env.Helper()
	if secret == "first" {
		for _, namespace := range []string{env.namespace, env.controllerNamespace} {
			require.NoError(env, env.grant(namespace))
		}
	}
	s, err := env.client.CoreV1().Secrets(env.controllerNamespace).Create(env.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: secret}}, metav1.CreateOptions{})
	require.NoError(env, err)
	own := *env
	own.namespace = env.controllerNamespace
	own.waitFor(corev1.SchemeGroupVersion.WithResource("serviceaccounts"), "default", "service account", exists)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: s.Name, UID: s.UID},
	}}
	token, err := env.client.CoreV1().ServiceAccounts(env.controllerNamespace).CreateToken(env.Context(), "default", request, metav1.CreateOptions{})
	require.NoError(env, err)
	require.NoError(env, os.WriteFile(file, []byte(token.Status.Token), 0o600))
}

// roleBindingName is the RoleBinding that lets the service account do everything in a namespace.
const roleBindingName = "everything"

func (env *testEnv) grant(namespace string) error {
	return plane.Apply(env.Context(), fmt.Appendf(nil, `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: %s, namespace: %s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: default, namespace: %s}]
`, roleBindingName, namespace, env.controllerNamespace))
}

// newProxiedWithToken runs the program as a service account whose rights can be revoked.
func (env *testEnv) newProxiedWithToken() *proxiedController {
	env.Helper()
	file := filepath.Join(env.TempDir(), "token")
	env.writeToken(file, "first")
	return env.newProxiedAs(rest.AnonymousClientConfig(env.config), clientcmdapi.AuthInfo{TokenFile: file})
}

// revokeAll takes away all rights in the namespace of the targets, and grantAll gives them back.
func (env *testEnv) revokeAll() {
	env.Helper()
	require.NoError(env, env.client.RbacV1().RoleBindings(env.namespace).Delete(env.Context(), roleBindingName, metav1.DeleteOptions{}))
}

func (env *testEnv) grantAll() {
	env.Helper()
	require.NoError(env, env.grant(env.namespace))
}
