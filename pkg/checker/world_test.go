package checker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/pkg/apis/v1alpha1"
	"maintenance-controller.io/pkg/checker"
	"maintenance-controller.io/pkg/kubetest"
	"maintenance-controller.io/pkg/readiness"
)

// world is a running Registry and Writer in fake time.
type world struct {
	*testing.T
	*kubetest.Cluster
	registry *checker.Registry
	events   *record.FakeRecorder
	served   *served
	config   checker.Config
	stop     func()
}

// served is a discovery client that says whether the CRD is served.
type served struct {
	discovery.DiscoveryInterface
	crd atomic.Bool
}

func (s *served) ServerResourcesForGroupVersion(group string) (*metav1.APIResourceList, error) {
	if !s.crd.Load() {
		return nil, apierrors.NewNotFound(schema.GroupResource{}, group)
	}
	return &metav1.APIResourceList{GroupVersion: group, APIResources: []metav1.APIResource{{Name: v1alpha1.Resource().Resource}}}, nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, Cluster: kubetest.New(t), events: record.NewFakeRecorder(1000), served: &served{}}
	w.config = checker.Config{Dynamic: w.Dynamic, Discovery: w.served, Log: zap.NewNop(), DiscoveryInterval: 10 * time.Second}
	return w
}

// inWorld runs a test in which the CRD is served.
func inWorld(t *testing.T, test func(w *world), change ...func(*checker.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.served.crd.Store(true)
		for _, c := range change {
			c(&w.config)
		}
		w.start()
		defer func() { w.stop() }()
		test(w)
	})
}

// start starts a process; an earlier one must have stopped.
func (w *world) start() {
	c := w.config
	c.Readiness = readiness.New(readiness.Config{Client: w.Client, Log: c.Log})
	w.registry = checker.New(c)
	writer := checker.NewWriter(checker.WriterConfig{Registry: w.registry, Dynamic: w.Dynamic, Recorder: w.events, Log: c.Log})
	ctx, cancel := context.WithCancel(w.Context())
	var done sync.WaitGroup
	done.Go(func() { c.Readiness.Run(ctx) })
	done.Go(func() { w.registry.Run(ctx) })
	done.Go(func() { writer.Run(ctx) })
	w.stop = func() { cancel(); done.Wait() }
	w.pass(time.Second)
}

func (w *world) pass(d time.Duration) {
	time.Sleep(d) // fake time
	synctest.Wait()
}

func (w *world) apply(name, spec string) {
	w.Helper()
	var fields map[string]any
	require.NoError(w, yaml.Unmarshal([]byte(spec), &fields))
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion().String(), "kind": v1alpha1.Kind,
		"metadata": map[string]any{"namespace": namespace, "name": name, "generation": int64(1)}, "spec": fields,
	}}
	client := w.Dynamic.Resource(v1alpha1.Resource()).Namespace(namespace)
	if there, err := client.Get(w.Context(), name, metav1.GetOptions{}); err == nil {
		there.SetGeneration(there.GetGeneration() + 1)
		there.Object["spec"] = fields
		_, err = client.Update(w.Context(), there, metav1.UpdateOptions{})
		require.NoError(w, err)
		return
	}
	_, err := client.Create(w.Context(), u, metav1.CreateOptions{})
	require.NoError(w, err)
}

func (w *world) remove(name string) {
	w.Helper()
	require.NoError(w, w.Dynamic.Resource(v1alpha1.Resource()).Namespace(namespace).Delete(w.Context(), name, metav1.DeleteOptions{}))
}

func (w *world) get(name string) *v1alpha1.ServiceChecker {
	w.Helper()
	u, err := w.Dynamic.Resource(v1alpha1.Resource()).Namespace(namespace).Get(w.Context(), name, metav1.GetOptions{})
	require.NoError(w, err)
	delete(u.Object, "spec") // the spec of a test may have another shape
	var c v1alpha1.ServiceChecker
	require.NoError(w, runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &c))
	return &c
}

// conditions of a checker: Available/Degraded.
func (w *world) conditions(name string) string {
	w.Helper()
	var all []string
	for _, c := range w.get(name).Status.Conditions {
		all = append(all, fmt.Sprintf("%s=%s(%s)", c.Type, c.Status, c.Reason))
	}
	return strings.Join(all, " ")
}

// service creates or updates a Service with that many ready endpoints; below 0 deletes it.
func (w *world) service(name string, ready int) {
	w.Helper()
	ctx := w.Context()
	services, slices := w.Client.CoreV1().Services(namespace), w.Client.DiscoveryV1().EndpointSlices(namespace)
	if ready < 0 {
		require.NoError(w, services.Delete(ctx, name, metav1.DeleteOptions{}))
		require.NoError(w, slices.Delete(ctx, name, metav1.DeleteOptions{}))
		return
	}
	none := ""
	es := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &none}},
	}
	for i := range ready {
		es.Endpoints = append(es.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.1.0.%d", i)}})
	}
	if _, err := services.Get(ctx, name, metav1.GetOptions{}); err == nil {
		_, err = slices.Update(ctx, es, metav1.UpdateOptions{})
		require.NoError(w, err)
		return
	}
	_, err := slices.Create(ctx, es, metav1.CreateOptions{})
	require.NoError(w, err)
	_, err = services.Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.0.0.1", Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	require.NoError(w, err)
}

// newEvents returns the Events since the last call.
func (w *world) newEvents() []string {
	var all []string
	for {
		select {
		case e := <-w.events.Events:
			all = append(all, e)
		default:
			return all
		}
	}
}

// writes counts the status writes so far.
func (w *world) writes() int {
	return len(slices.DeleteFunc(w.Requests(), func(r string) bool { return !strings.HasPrefix(r, "patch servicecheckers") }))
}
