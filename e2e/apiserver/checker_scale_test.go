package apiserver

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
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

// TestManyCheckers: checkers of ten Services each, an EndpointSlice of ten endpoints each:
// what the program takes for them, and how often it writes. At length they are 1,000 over
// 10,000 slices.
func TestManyCheckers(t *testing.T) {
	t.Parallel()
	const each = 10
	n := 50
	if *long {
		n = 1000
	}
	// The slices are the test's own: the controllers that would make others are off.
	own, err := cluster.StartControlPlane(t.Context(), cluster.Options{ControllerManagerArgs: []string{
		"--controllers=*,-endpointslice-controller,-endpoints-controller,-endpointslice-mirroring-controller",
	}})
	require.NoError(t, err)
	t.Cleanup(own.Stop)
	installCheckers(t, own)
	m := newMany(t, own, n, each)
	p := runProgram(t, own.Kubeconfig(), "--leader-elect=false", "--targets=Ingress", "--namespace="+m.namespace, "--watch-namespaces="+m.namespace)
	p.get(t, "/readyz")
	empty := p.number(t, "go_memstats_heap_alloc_bytes")

	m.inParallel(n*each, func(ctx context.Context, i int) error { return m.service(ctx, i) })
	began := time.Now()
	m.inParallel(n, func(ctx context.Context, i int) error { return m.checker(ctx, i) })
	p.untilMetric(t, fmt.Sprintf(`maintenance_checkers{available="True"} %d`, n))
	p.untilWritten(t, n)
	t.Logf("measured: checkers=%d slices=%d endpoints=%d until-all-written=%.1fs", n, n*each, n*each*10, time.Since(began).Seconds())
	wrote := p.number(t, "maintenance_checker_status_writes_total")
	t.Logf("measured: heap-before=%.1fMiB heap-after=%.1fMiB resident=%.1fMiB status-writes=%.0f", empty/mebi,
		p.number(t, "go_memstats_heap_alloc_bytes")/mebi, p.number(t, "process_resident_memory_bytes")/mebi, wrote)

	// All are down at once: one write when they are seen to be, one when they count.
	began = time.Now()
	m.inParallel(n*each, func(ctx context.Context, i int) error { return m.down(ctx, i) })
	p.untilMetric(t, fmt.Sprintf(`maintenance_checkers{available="False"} %d`, n))
	p.untilWritten(t, int(wrote)+n)
	m.settled(p)
	now := p.number(t, "maintenance_checker_status_writes_total")
	took := time.Since(began)
	t.Logf("measured: all-down-after=%.1fs status-writes=%.0f", took.Seconds(), now-wrote)
	assert.LessOrEqual(t, now-wrote, float64(n)*(took.Seconds()+1), "at most one a second each")
	select {
	case <-after(3 * time.Second):
	case <-t.Context().Done():
	}
	assert.Equal(t, now, p.number(t, "maintenance_checker_status_writes_total"), "nothing changed")
}

const mebi = 1 << 20

// many are checkers and what they name.
type many struct {
	*testing.T
	client    kubernetes.Interface
	dynamic   dynamic.Interface
	namespace string
	n, each   int
}

func newMany(t *testing.T, plane *cluster.ControlPlane, n, each int) *many {
	t.Helper()
	config := rest.CopyConfig(plane.Config())
	config.QPS, config.Burst = -1, 0
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	dyn, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	ns, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "many-"}}, metav1.CreateOptions{})
	require.NoError(t, err)
	return &many{T: t, client: client, dynamic: dyn, namespace: ns.Name, n: n, each: each}
}

func (m *many) inParallel(n int, do func(ctx context.Context, i int) error) {
	m.Helper()
	g, ctx := errgroup.WithContext(m.Context())
	g.SetLimit(16)
	for i := range n {
		g.Go(func() error { return do(ctx, i) })
	}
	require.NoError(m, g.Wait())
}

func (m *many) name(i int) string { return fmt.Sprintf("app-%d", i) }

func (m *many) service(ctx context.Context, i int) error {
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

func (m *many) slice(i int, ready bool) *discoveryv1.EndpointSlice {
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

func (m *many) down(ctx context.Context, i int) error {
	_, err := m.client.DiscoveryV1().EndpointSlices(m.namespace).Update(ctx, m.slice(i, false), metav1.UpdateOptions{})
	return err
}

func (m *many) checker(ctx context.Context, i int) error {
	names := ""
	for j := range m.each {
		names += fmt.Sprintf("{name: %s, critical: true}, ", m.name(i*m.each+j))
	}
	w := &world{namespace: m.namespace}
	u := w.parse(serviceChecker(fmt.Sprintf("checker-%d", i), "{for: 1s, services: ["+names+"]}"))
	_, err := m.dynamic.Resource(checkers).Namespace(m.namespace).Create(ctx, u, metav1.CreateOptions{})
	return err
}

// settled waits until every status says what the metrics say.
func (m *many) settled(p *installation) {
	m.Helper()
	for deadline := time.Now().Add(patience); ; <-after(100 * time.Millisecond) {
		list, err := m.dynamic.Resource(checkers).Namespace(m.namespace).List(m.Context(), metav1.ListOptions{})
		require.NoError(m, err)
		n := 0
		for i := range list.Items {
			if down := serviceSeen(&list.Items[i], m.each-1); checkerSees("Available", "False")(&list.Items[i]) && down["state"] == "Down" {
				n++
			}
		}
		if n == m.n {
			return
		}
		if time.Now().After(deadline) {
			m.Fatalf("%d of %d checkers say that they are down", n, m.n)
		}
	}
}

// number reads a metric without labels.
func (p *installation) number(t *testing.T, name string) float64 {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(p.get(t, "/metrics"))
	require.NotNil(t, found, name)
	value, err := strconv.ParseFloat(found[1], 64)
	require.NoError(t, err)
	return value
}

// untilWritten waits until so many statuses have been written.
func (p *installation) untilWritten(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(patience); p.number(t, "maintenance_checker_status_writes_total") < float64(n); <-after(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not written: %d", n)
		}
	}
}
