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

	"github.com/stretchr/testify/assert"
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

const namespace = "shop"

// world is a Registry and a Writer at work, in time that passes at once.
type world struct {
	*testing.T
	*kubetest.Cluster
	registry *checker.Registry
	events   *record.FakeRecorder
	served   *served
	config   checker.Config
	stop     func()
}

// served is a discovery in which the CRD is there, or is not.
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
	w.config = checker.Config{Dynamic: w.Dynamic, Discovery: w.served, Log: zap.NewNop(), Discover: 10 * time.Second}
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

// start begins a process, the one before having ended.
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
	time.Sleep(d) // of the bubble
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
	delete(u.Object, "spec") // a test's may be of another form
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

// service with so many ready endpoints; below 0 is none at all.
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

// told are the events since.
func (w *world) told() []string {
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

// writes counts those of statuses so far.
func (w *world) writes() int {
	return len(slices.DeleteFunc(w.Requests(), func(r string) bool { return !strings.HasPrefix(r, "patch servicecheckers") }))
}

const onlyWeb = `{services: [{name: web, critical: true}]}`

// TestDownAndUp: a critical service that is down counts after spec.for, and back after
// spec.recoverFor; the status says at once that it is, and events when it counts.
func TestDownAndUp(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("web", 2)
		w.apply("mine", `{for: 5s, recoverFor: 20s, services: [{name: web, critical: true}]}`)
		w.pass(time.Second)
		assert.Equal(t, "Available=True(AllUp) Degraded=False(AllUp)", w.conditions("mine"))
		assert.Equal(t, "1/1", w.get("mine").Status.ReadyServices)
		assert.Equal(t, checker.Up, w.registry.Down(namespace, "mine").State)
		assert.Empty(t, w.told())

		w.service("web", 0)
		w.pass(time.Second)
		s := w.get("mine").Status.Services[0]
		assert.False(t, s.Ready)
		assert.Equal(t, v1alpha1.Up, s.State)
		assert.Equal(t, "has no endpoints: no Pod that its selector matches is there", s.Message)
		w.pass(3 * time.Second)
		assert.Equal(t, checker.Up, w.registry.Down(namespace, "mine").State)
		w.pass(2 * time.Second)
		assert.Equal(t, "Available=False(CriticalServiceDown) Degraded=True(ServiceDown)", w.conditions("mine"))
		v := w.registry.Down(namespace, "mine")
		assert.Equal(t, checker.Down, v.State)
		assert.Equal(t, 20*time.Second, v.RecoverFor)
		assert.Equal(t, []string{"Service shop/web has no endpoints: no Pod that its selector matches is there"}, v.Causes)
		assert.Equal(t, []string{"Warning CriticalServiceDown Service shop/web has no endpoints: no Pod that its selector matches is there, and was not ready for 5s"}, w.told())

		w.service("web", 1)
		w.pass(time.Second)
		assert.Equal(t, "is ready again, and counts as up once it has been for 20s", w.get("mine").Status.Services[0].Message)
		w.pass(18 * time.Second)
		assert.Equal(t, checker.Down, w.registry.Down(namespace, "mine").State)
		w.pass(2 * time.Second)
		assert.Equal(t, checker.Up, w.registry.Down(namespace, "mine").State)
		assert.Equal(t, "Available=True(AllUp) Degraded=False(AllUp)", w.conditions("mine"))
		assert.Equal(t, []string{"Normal CriticalServiceUp Service shop/web has been ready for 20s"}, w.told())
	})
}

// TestNothingChangedNothingWritten: a checker that is left alone is not written, whatever
// its endpoints do that it does not show; nor by the process after.
func TestNothingChangedNothingWritten(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("web", 2)
		w.service("db", 0)
		w.apply("mine", `{services: [{name: web, critical: true}, {name: db}]}`)
		w.pass(time.Minute)
		before := w.writes()
		assert.LessOrEqual(t, before, 2, "what is seen, and that db counts as down")
		w.pass(24 * time.Hour)
		w.service("web", 2)
		w.pass(time.Hour)
		w.stop()
		w.start()
		w.pass(time.Hour)
		assert.Equal(t, before, w.writes())
		assert.Equal(t, "Available=True(AllUp) Degraded=True(ServiceDown)", w.conditions("mine"))
	})
}

// TestOneWriteASecond: endpoints that come and go make one write a second at most, and the
// last one is seen within a second.
func TestOneWriteASecond(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("web", 1)
		w.apply("mine", onlyWeb)
		w.pass(10 * time.Second)
		before := w.writes()
		for i := range 100 {
			w.service("web", 1+i%7)
			w.pass(100 * time.Millisecond)
		}
		w.service("web", 9)
		w.pass(time.Second)
		assert.LessOrEqual(t, w.writes()-before, 12)
		assert.GreaterOrEqual(t, w.writes()-before, 9)
		assert.EqualValues(t, 9, w.get("mine").Status.Services[0].ReadyEndpoints)
	})
}

// TestARestartTakesUpWhatTheStatusSays: what counted as down goes on to, since when it did, and
// neither the status nor the events say otherwise meanwhile.
func TestARestartTakesUpWhatTheStatusSays(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("web", 0)
		w.apply("mine", onlyWeb)
		w.pass(time.Minute)
		before := w.get("mine").Status
		assert.Equal(t, v1alpha1.Down, before.Services[0].State)
		assert.Len(t, w.told(), 1)
		w.stop()
		w.start()
		assert.Equal(t, checker.Down, w.registry.Down(namespace, "mine").State)
		w.pass(time.Minute)
		assert.Equal(t, before, w.get("mine").Status)
		assert.Empty(t, w.told())
	})
}

// TestBadInput: what the schema lets pass and the controller cannot do is said, and what is
// asked of Services of others is not told.
func TestBadInput(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("web", 1)
		w.apply("mine", `{services: [{name: web, namespace: other, critical: true}, {name: web}, {name: web, namespace: shop}]}`)
		w.pass(2 * time.Second)
		assert.Equal(t, "Available=Unknown(InvalidService) Degraded=True(InvalidService)", w.conditions("mine"))
		s := w.get("mine").Status
		assert.Equal(t, "is in another namespace than the checker: --checkers-across-namespaces would allow it", s.Services[0].Message)
		assert.Equal(t, "is named twice: name it once", s.Services[2].Message)
		assert.Equal(t, checker.Unknown, w.registry.Down(namespace, "mine").State, "nobody is sent to a page by a typo, nor back")
		all, known := w.registry.Services()
		assert.True(t, known)
		require.Len(t, all, 1)
		assert.Equal(t, "shop", all[0].Namespace)
		assert.Len(t, w.told(), 2)
		w.pass(time.Hour)
		assert.Empty(t, w.told(), "once")

		// Another CRD of this name, whose fields are others.
		w.apply("odd", `{services: web, for: 7}`)
		w.pass(2 * time.Second)
		assert.Equal(t, "Available=Unknown(InvalidService) Degraded=True(InvalidService)", w.conditions("odd"))
		assert.Contains(t, w.get("odd").Status.Conditions[0].Message, "spec cannot be read")
		w.apply("odd", `{}`)
		w.pass(2 * time.Second)
		assert.Equal(t, "0/0", w.get("odd").Status.ReadyServices)
		w.apply("odd", `{for: -5s, services: [{name: web, minReady: -1}, {name: ""}]}`)
		w.pass(2 * time.Second)
		assert.Equal(t, "1/2", w.get("odd").Status.ReadyServices)
	})
}

// TestNamedTwice: the schema takes a Service with its namespace and without for two. The
// first is judged all the same, and the second neither resets it nor makes a write.
func TestNamedTwice(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("web", 1)
		w.apply("mine", `{for: 5s, services: [{name: web, critical: true}, {name: web, namespace: shop}]}`)
		w.pass(time.Minute)
		w.told()
		w.service("web", 0)
		w.pass(4 * time.Second)
		assert.Equal(t, checker.Up, w.registry.Down(namespace, "mine").State)
		w.pass(2 * time.Second)
		assert.Equal(t, checker.Down, w.registry.Down(namespace, "mine").State)
		before, told := w.writes(), w.told()
		require.Len(t, told, 1)
		assert.Contains(t, told[0], "CriticalServiceDown")
		w.pass(10 * time.Minute)
		assert.Equal(t, before, w.writes(), "at rest")
		status := w.get("mine").Status
		assert.Equal(t, []v1alpha1.ServiceState{v1alpha1.Down, v1alpha1.Unknown}, []v1alpha1.ServiceState{status.Services[0].State, status.Services[1].State})

		w.stop()
		w.start()
		assert.Equal(t, checker.Down, w.registry.Down(namespace, "mine").State)
		w.pass(10 * time.Minute)
		assert.Equal(t, before, w.writes(), "nor by the process after")
		assert.Equal(t, status, w.get("mine").Status)
		assert.NotContains(t, strings.Join(w.told(), "\n"), "CriticalServiceDown", "it was told")
	})
}

// TestAcrossNamespaces: where the flag allows it, Services of others are watched.
func TestAcrossNamespaces(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply("mine", `{services: [{name: web, namespace: other}, {name: web, namespace: third}]}`)
		w.pass(20 * time.Second)
		s := w.get("mine").Status
		assert.Equal(t, "does not exist", s.Services[0].Message)
		assert.Equal(t, "is in a namespace that --watch-namespaces leaves out", s.Services[1].Message)
	}, func(c *checker.Config) { c.AcrossNamespaces, c.Namespaces = true, []string{namespace, "other"} })
}

// TestEditedEverySecond: a list that is edited all the time is followed, and nothing is
// left of what it named.
func TestEditedEverySecond(t *testing.T) {
	inWorld(t, func(w *world) {
		for i := range 600 {
			w.apply("mine", fmt.Sprintf(`{services: [{name: a-%d, critical: true}, {name: b-%d}]}`, i, i%3))
			w.pass(time.Second)
		}
		w.pass(20 * time.Second)
		s := w.get("mine").Status
		assert.Equal(t, "a-599", s.Services[0].Name)
		assert.EqualValues(t, 600, s.ObservedGeneration)
		all, _ := w.registry.Services()
		assert.Len(t, all, 2)
		v := w.registry.Down(namespace, "mine")
		assert.Equal(t, []string{"Service shop/a-599 does not exist"}, v.Causes)
	})
}

// TestACheckerThatNeverWas: whoever asked before that was known is told once it is.
func TestACheckerThatNeverWas(t *testing.T) {
	inWorld(t, func(w *world) {
		w.served.crd.Store(false)
		w.stop()
		w.start()
		var told atomic.Int32
		w.registry.Notify(func(string, string) { told.Add(1) })
		assert.Equal(t, checker.Unknown, w.registry.Down(namespace, "never").State)
		w.pass(time.Hour)
		assert.Zero(t, told.Load())
		w.served.crd.Store(true)
		w.pass(time.Minute)
		assert.Equal(t, int32(1), told.Load())
		assert.Equal(t, checker.Deleted, w.registry.Down(namespace, "never").State)
		w.pass(time.Hour)
		assert.Equal(t, int32(1), told.Load())
	})
}

// TestDeletedInTheMiddle: that a checker was deleted is believed once its CRD has been seen
// after it; with its CRD, nothing is known any more.
func TestDeletedInTheMiddle(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply("mine", `{recoverFor: 30s, services: [{name: web, critical: true}]}`)
		w.pass(20 * time.Second)
		assert.Equal(t, checker.Down, w.registry.Down(namespace, "mine").State)
		var mu sync.Mutex
		told := 0
		w.registry.Notify(func(_, name string) {
			mu.Lock()
			defer mu.Unlock()
			if name == "mine" {
				told++
			}
		})
		w.remove("mine")
		w.pass(time.Second)
		assert.Equal(t, checker.Verdict{RecoverFor: 30 * time.Second}, w.registry.Down(namespace, "mine"))
		w.pass(20 * time.Second)
		v := w.registry.Down(namespace, "mine")
		assert.Equal(t, checker.Deleted, v.State)
		assert.Equal(t, 30*time.Second, v.RecoverFor)
		assert.NotZero(t, v.Since)
		mu.Lock()
		assert.Equal(t, 2, told, "when it went, and when that is believed")
		mu.Unlock()
		w.pass(time.Hour)
		assert.Equal(t, v, w.registry.Down(namespace, "mine"))
		assert.Equal(t, checker.Deleted, w.registry.Down(namespace, "typo").State)

		// With its CRD: the API server deletes the objects first.
		w.apply("mine", onlyWeb)
		w.pass(20 * time.Second)
		assert.Equal(t, checker.Down, w.registry.Down(namespace, "mine").State)
		w.remove("mine")
		w.pass(2 * time.Second)
		w.served.crd.Store(false)
		w.pass(time.Hour)
		assert.Equal(t, checker.Unknown, w.registry.Down(namespace, "mine").State)
		assert.Equal(t, checker.Unknown, w.registry.Down(namespace, "typo").State)
		w.served.crd.Store(true)
		w.apply("mine", onlyWeb)
		w.pass(30 * time.Second)
		assert.Equal(t, checker.Down, w.registry.Down(namespace, "mine").State)
	})
}

// TestWithoutItsCRD nothing is known, nothing fails, and front ends are told that there are none.
func TestWithoutItsCRD(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer func() { w.stop() }()
		all, known := w.registry.Services()
		assert.Empty(t, all)
		assert.True(t, known)
		assert.Equal(t, checker.Unknown, w.registry.Down(namespace, "mine").State)
		assert.Zero(t, w.writes())
	})
}
