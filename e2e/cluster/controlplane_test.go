package cluster_test

import (
	"context"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"maintenance-controller.io/e2e/cluster"
)

// A control plane starts beside others, lets in whom it should, and keeps its
// objects over a restart of its API server.
func TestControlPlane(t *testing.T) {
	ctx := t.Context()
	begin := time.Now()
	cp, err := cluster.StartControlPlane(ctx, cluster.Options{Dir: t.TempDir(), Log: os.Stderr, CRDs: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cp.Stop)
	t.Logf("started in %s", time.Since(begin))
	client, err := kubernetes.NewForConfig(cp.Config())
	if err != nil {
		t.Fatal(err)
	}

	t.Run("a second one runs beside it", func(t *testing.T) {
		second, err := cluster.StartControlPlane(ctx, cluster.Options{Log: os.Stderr})
		if err != nil {
			t.Fatal(err)
		}
		second.Stop()
	})
	t.Run("admission enforces PodSecurity", func(t *testing.T) {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: "strict", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
		}}
		if _, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the namespace's service account", func(ctx context.Context) bool {
			_, err := client.CoreV1().ServiceAccounts("strict").Get(ctx, "default", metav1.GetOptions{})
			return err == nil
		})
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "root"},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "none"}}},
		}
		_, err := client.CoreV1().Pods("strict").Create(ctx, pod, metav1.CreateOptions{})
		if !apierrors.IsForbidden(err) {
			t.Errorf("a Pod without securityContext: got %v, want forbidden", err)
		}
	})
	t.Run("an unknown user may nothing", func(t *testing.T) {
		config, err := cp.ConfigFor("alice", "app-team")
		if err != nil {
			t.Fatal(err)
		}
		alice, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		_, err = alice.CoreV1().Pods("default").List(ctx, metav1.ListOptions{})
		if !apierrors.IsForbidden(err) {
			t.Errorf("list Pods: got %v, want forbidden", err)
		}
	})
	t.Run("objects outlive a restart", func(t *testing.T) {
		if err := cp.RestartAPIServer(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := client.CoreV1().Namespaces().Get(ctx, "strict", metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// eventually waits for something that controllers bring about, such as the start of the first Pods.
func eventually(t *testing.T, what string, ok func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	for !ok(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("%s did not come", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
