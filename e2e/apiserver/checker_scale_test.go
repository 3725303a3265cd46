package apiserver

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"maintenance-controller.io/e2e/cluster"
)

// TestManyCheckers measures the memory and the status writes of many checkers of ten
// Services each, each Service with an EndpointSlice of ten endpoints. The long form has
// 1,000 checkers and 10,000 slices.
func TestManyCheckers(t *testing.T) {
	t.Parallel()
	const each = 10
	n := 50
	if *long {
		n = 1000
	}
	// The test creates the slices itself, so the controllers that would create others are off.
	own, err := cluster.StartControlPlane(t.Context(), cluster.Options{ControllerManagerArgs: []string{
		"--controllers=*,-endpointslice-controller,-endpoints-controller,-endpointslice-mirroring-controller",
	}})
	require.NoError(t, err)
	t.Cleanup(own.Stop)
	installCheckers(t, own)
	m := newCheckerLoad(t, own, n, each)
	p := startProcess(t, own.Kubeconfig(), "--leader-elect=false", "--targets=Ingress", "--namespace="+m.namespace, "--watch-namespaces="+m.namespace)
	p.get(t, "/readyz")
	empty := p.metric(t, "go_memstats_heap_alloc_bytes")

	m.inParallel(n*each, func(ctx context.Context, i int) error { return m.service(ctx, i) })
	began := time.Now()
	m.inParallel(n, func(ctx context.Context, i int) error { return m.checker(ctx, i) })
	p.waitForMetric(t, fmt.Sprintf(`maintenance_checkers{available="True"} %d`, n))
	p.waitForStatusWrites(t, n)
	t.Logf("measured: checkers=%d slices=%d endpoints=%d until-all-written=%.1fs", n, n*each, n*each*10, time.Since(began).Seconds())
	wrote := p.metric(t, "maintenance_checker_status_writes_total")
	t.Logf("measured: heap-before=%.1fMiB heap-after=%.1fMiB resident=%.1fMiB status-writes=%.0f", empty/mebi,
		p.metric(t, "go_memstats_heap_alloc_bytes")/mebi, p.metric(t, "process_resident_memory_bytes")/mebi, wrote)

	// All go down at once. Each checker is written once when its services are seen to be
	// down, and once when they count as down.
	began = time.Now()
	m.inParallel(n*each, func(ctx context.Context, i int) error { return m.setDown(ctx, i) })
	p.waitForMetric(t, fmt.Sprintf(`maintenance_checkers{available="False"} %d`, n))
	p.waitForStatusWrites(t, int(wrote)+n)
	m.waitForStatuses(p)
	now := p.metric(t, "maintenance_checker_status_writes_total")
	took := time.Since(began)
	t.Logf("measured: all-down-after=%.1fs status-writes=%.0f", took.Seconds(), now-wrote)
	assert.LessOrEqual(t, now-wrote, float64(n)*(took.Seconds()+1), "at most one per second and checker")
	select {
	case <-after(3 * time.Second):
	case <-t.Context().Done():
	}
	assert.Equal(t, now, p.metric(t, "maintenance_checker_status_writes_total"), "nothing changed")
}

const mebi = 1 << 20

// checkerLoad creates checkers and the Services that they name.
type checkerLoad struct {
	*testing.T
	client                       kubernetes.Interface
	dynamic                      dynamic.Interface
	namespace                    string
	checkers, servicesPerChecker int
}

func newCheckerLoad(t *testing.T, plane *cluster.ControlPlane, n, each int) *checkerLoad {
	t.Helper()
	config := rest.CopyConfig(plane.Config())
	config.QPS, config.Burst = -1, 0
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	dyn, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	ns, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "many-"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return &checkerLoad{T: t, client: client, dynamic: dyn, namespace: ns.Name, checkers: n, servicesPerChecker: each}
}

func (m *checkerLoad) inParallel(n int, do func(ctx context.Context, i int) error) {
	m.Helper()
	g, ctx := errgroup.WithContext(m.Context())
	g.SetLimit(16)
	for i := range n {
		g.Go(func() error { return do(ctx, i) })
	}
	require.NoError(m, g.Wait())
}

func (m *checkerLoad) name(i int) string { return fmt.Sprintf("app-%d", i) }

func (m *checkerLoad) service(ctx context.Context, i int) error {
	_, err := m.client.CoreV1().Services(m.namespace).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: m.name(i)},
		Spec:       corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Selector: map[string]string{"app": m.name(i)}, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	_, err = m.client.DiscoveryV1().EndpointSlices(m.namespace).Create(ctx, m.slice(i, true), metav1.CreateOptions{})
	return err
}

func (m *checkerLoad) slice(i int, ready bool) *discoveryv1.EndpointSlice {
	es := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: m.name(i), Labels: map[string]string{discoveryv1.LabelServiceName: m.name(i)}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: ptr.To("http"), Port: ptr.To[int32](8080)}},
	}
	for e := range 10 {
		es.Endpoints = append(es.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.%d.%d.%d", 1+i/256, i%256, 1+e)}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: m.namespace, Name: fmt.Sprintf("%s-%d", m.name(i), e)},
		})
	}
	return es
}

func (m *checkerLoad) setDown(ctx context.Context, i int) error {
	_, err := m.client.DiscoveryV1().EndpointSlices(m.namespace).Update(ctx, m.slice(i, false), metav1.UpdateOptions{})
	return err
}

func (m *checkerLoad) checker(ctx context.Context, i int) error {
	names := ""
	for j := range m.servicesPerChecker {
		names += fmt.Sprintf("{name: %s, critical: true}, ", m.name(i*m.servicesPerChecker+j))
	}
	env := &testEnv{namespace: m.namespace}
	u := env.parse(serviceChecker(fmt.Sprintf("checker-%d", i), "{for: 1s, services: ["+names+"]}"))
	_, err := m.dynamic.Resource(checkers).Namespace(m.namespace).Create(ctx, u, metav1.CreateOptions{})
	return err
}

// waitForStatuses waits until all statuses agree with the metrics.
func (m *checkerLoad) waitForStatuses(p *controllerProcess) {
	m.Helper()
	for deadline := time.Now().Add(waitTimeout); ; <-after(100 * time.Millisecond) {
		list, err := m.dynamic.Resource(checkers).Namespace(m.namespace).List(m.Context(), metav1.ListOptions{})
		require.NoError(m, err)
		n := 0
		for i := range list.Items {
			down := checkerCondition("Available", "False")(&list.Items[i])
			for j := range m.servicesPerChecker {
				down = down && serviceStatus(&list.Items[i], j)["state"] == "Down"
			}
			if down {
				n++
			}
		}
		if n == m.checkers {
			return
		}
		if time.Now().After(deadline) {
			m.Fatalf("timed out: %d of %d checkers are down", n, m.checkers)
		}
	}
}

// waitForStatusWrites waits until this number of statuses has been written.
func (p *controllerProcess) waitForStatusWrites(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(waitTimeout); p.metric(t, "maintenance_checker_status_writes_total") < float64(n); <-after(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out: fewer than %d statuses were written", n)
		}
	}
}
