package scripts

import (
	"context"
	"fmt"
	"hash/fnv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/app"
)

// startController runs the controller as the program does, with the flags given,
// until the test ends or stop is called.
func startController(t *testing.T, kubeconfig string, flags ...string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	args := append([]string{
		"--kubeconfig=" + kubeconfig, "--listen=", "--log-format=console", "--settle-time=100ms", "--page-set-grace-period=1s",
		"--lease-retry-period=200ms", "--lease-renew-deadline=10s",
	}, flags...)
	var work sync.WaitGroup
	code := 0
	work.Go(func() {
		none := func(string) (string, bool) { return "", false }
		code = app.Main(ctx, app.Process{Args: args, Env: none, Stdout: t.Output(), Stderr: t.Output()})
	})
	work.Go(func() { playKubelet(ctx, t) })
	stop = sync.OnceFunc(func() {
		cancel()
		work.Wait()
		if code != 0 {
			t.Errorf("the controller ended with %d", code)
		}
	})
	t.Cleanup(stop)
	return stop
}

const nodeName = "played"

// playKubelet binds page Pods to the node, lets them run and be ready, and finishes
// their deletion.
func playKubelet(ctx context.Context, t *testing.T) {
	t.Helper()
	client, err := kubernetes.NewForConfig(plane.Config())
	if err != nil {
		t.Error(err)
		return
	}
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{LabelSelector: annotations.ManagedByLabel + "=" + annotations.ManagedBy})
		if err != nil {
			continue // the next look may do
		}
		for _, p := range pods.Items {
			switch now := int64(0); {
			case p.DeletionTimestamp != nil:
				_ = client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
			case p.Spec.NodeName == "":
				_ = client.CoreV1().Pods(p.Namespace).Bind(ctx, &corev1.Binding{
					ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name},
					Target:     corev1.ObjectReference{Kind: "Node", Name: nodeName},
				}, metav1.CreateOptions{})
			case p.Status.PodIP == "":
				p.Status = running(&p)
				_, _ = client.CoreV1().Pods(p.Namespace).UpdateStatus(ctx, &p, metav1.UpdateOptions{})
			}
		}
	}
}

func running(p *corev1.Pod) corev1.PodStatus {
	h := fnv.New32()
	_, _ = h.Write([]byte(p.UID))
	n := h.Sum32()
	ip := fmt.Sprintf("10.%d.%d.%d", 1+n>>16&0x7f, n>>8&0xff, 1+n&0x7f)
	return corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: ip, PodIPs: []corev1.PodIP{{IP: ip}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}},
	}
}

// inNamespace makes a namespace and makes it kubectl's current one.
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

// ownNamespace makes the controller's namespace once for all tests.
func (p *person) ownNamespace() {
	p.Helper()
	p.run("kubectl get namespace maintenance-system >/dev/null 2>&1 || kubectl create namespace maintenance-system")
}

const (
	specOf  = "kubectl get %s -o jsonpath='{.spec}'"
	stateOf = "kubectl get %s -o jsonpath='{.metadata.annotations.maintenance/state}'"
)

func (p *person) untilState(object, state string) {
	p.Helper()
	p.until(fmt.Sprintf(stateOf, object), func(out string) bool { return out == state })
}

func (p *person) traefik() {
	p.Helper()
	require.NoError(p, plane.InstallTraefikCRDs(p.Context()))
}
