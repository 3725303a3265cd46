package apiserver

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/ptr"

	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/played"
	"maintenance-controller.io/e2e/quiet"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/apis/v1alpha1"
	"maintenance-controller.io/pkg/checker"
	"maintenance-controller.io/pkg/readiness"
)

var (
	checkers = v1alpha1.Resource()
	crds     = schemaGVR{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
)

// installCheckers installs the CRD as the chart has it, and waits until it is served.
func installCheckers(t *testing.T, plane *cluster.ControlPlane) {
	t.Helper()
	crd, err := os.ReadFile("../../deploy/chart/files/crds.yaml")
	require.NoError(t, err)
	require.NoError(t, plane.Apply(t.Context(), crd))
	dyn, err := dynamic.NewForConfig(plane.Config())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		if _, err := dyn.Resource(checkers).List(ctx, metav1.ListOptions{Limit: 1}); err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal("the CRD is not served")
		case <-after(20 * time.Millisecond):
		}
	}
}

func serviceChecker(name, spec string) string {
	return fmt.Sprintf("apiVersion: maintenance-controller.io/v1alpha1\nkind: ServiceChecker\nmetadata: {name: %s}\nspec: %s\n", name, spec)
}

// checkerSees looks at a condition of a checker.
func checkerSees(kind, status string) condition {
	return func(u *unstructured.Unstructured) bool { return u != nil && conditionOf(u, kind)["status"] == status }
}

func conditionOf(u *unstructured.Unstructured, kind string) map[string]any {
	all, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range all {
		if m, ok := c.(map[string]any); ok && m["type"] == kind {
			return m
		}
	}
	return nil
}

// serviceSeen is what a checker's status says of the n-th of its services.
func serviceSeen(u *unstructured.Unstructured, n int) map[string]any {
	all, _, _ := unstructured.NestedSlice(u.Object, "status", "services")
	if n >= len(all) {
		return map[string]any{}
	}
	m, _ := all[n].(map[string]any)
	return m
}

// sees looks at a field of the first service.
func sees(field string, want any) condition {
	return func(u *unstructured.Unstructured) bool {
		return u != nil && assert.ObjectsAreEqual(want, serviceSeen(u, 0)[field])
	}
}

// checking is what keeps checkers at work.
type checking struct {
	*checker.Registry
	readiness *readiness.Watcher
	requests  *quiet.Counter
	wrote     func() int
	stop      func()
}

// startCheckers runs a Registry and a Writer on the world's namespace until the test ends.
// After a test that ends well they are left alone, until they have sent nothing for a while.
func (w *world) startCheckers(change ...func(*checker.Config)) *checking {
	w.Helper()
	config := rest.CopyConfig(w.config)
	log := &testLog{t: w.T}
	c := &checking{requests: quiet.NewCounter()}
	var mu sync.Mutex
	written := 0
	config.Wrap(c.requests.Wrap)
	config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
		return wrapped(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/status") {
				mu.Lock()
				written++
				mu.Unlock()
			}
			return inner.RoundTrip(r)
		})
	})
	c.wrote = func() int { mu.Lock(); defer mu.Unlock(); return written }
	client, err := kubernetes.NewForConfig(config)
	require.NoError(w, err)
	dyn, err := dynamic.NewForConfig(config)
	require.NoError(w, err)
	c.readiness = readiness.New(readiness.Config{Client: client, Log: log.logger()})
	settings := checker.Config{
		Dynamic: dyn, Discovery: client.Discovery(), Readiness: c.readiness, Log: log.logger(), Namespaces: []string{w.namespace}, Discover: time.Second,
	}
	for _, f := range change {
		f(&settings)
	}
	c.Registry = checker.New(settings)
	events := record.NewBroadcaster()
	events.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: w.client.CoreV1().Events("")})
	writer := checker.NewWriter(checker.WriterConfig{
		Registry: c.Registry, Dynamic: dyn, Log: log.logger(), Recorder: events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: annotations.ManagedBy}),
	})
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { c.readiness.Run(ctx) })
	done.Go(func() { c.Registry.Run(ctx) })
	done.Go(func() { writer.Run(ctx) })
	c.stop = sync.OnceFunc(func() { cancel(); done.Wait(); events.Shutdown() })
	w.Cleanup(func() { w.leave(c.requests, log, c.stop) })
	return c
}

type wrapped func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f wrapped) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// app makes a Service and a Pod of it, which the played kubelet makes ready.
func (w *world) app(name string) {
	w.Helper()
	w.apply(fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %[1]s}\nspec: {selector: {app: %[1]s}, ports: [{name: http, port: 80, targetPort: 8080}]}\n", name))
	w.appPod(name)
}

func (w *world) appPod(name string) string {
	w.Helper()
	yes := true
	p, err := w.client.CoreV1().Pods(w.namespace).Create(w.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-", Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{
				Name: "app", Image: imageServes,
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
			}},
		},
	}, metav1.CreateOptions{})
	require.NoError(w, err)
	return p.Name
}

// leavesApp takes a Pod of a Service away from it in one step, as its end would not.
func (w *world) leavesApp(name string) {
	w.Helper()
	one := w.list(pods, "app="+name)[0]
	_, err := w.client.CoreV1().Pods(w.namespace).Patch(w.Context(), one.GetName(), types.MergePatchType, []byte(`{"metadata":{"labels":{"app":"none"}}}`), metav1.PatchOptions{})
	require.NoError(w, err)
}

// servesUntilItEnds: the last Pod is being deleted, and serves still. Proxies use it, and so
// the Service is ready; it is not once the Pod has ended.
func (w *world) servesUntilItEnds() {
	w.Helper()
	hold := func(finalizers string) {
		for _, p := range w.list(pods, "app=web") {
			_, err := w.client.CoreV1().Pods(w.namespace).Patch(w.Context(), p.GetName(), types.MergePatchType, []byte(`{"metadata":{"finalizers":`+finalizers+`}}`), metav1.PatchOptions{})
			require.NoError(w, err)
		}
	}
	hold(`["example.org/holds"]`)
	w.removePods("web")
	u := w.until(checkers, "mine", "that none is ready", sees("readyEndpoints", int64(0)))
	assert.Equal(w, true, serviceSeen(u, 0)["ready"])
	assert.Contains(w, serviceSeen(u, 0)["message"], "1 still serve until they end")
	hold("null")
	w.until(checkers, "mine", "its end", sees("ready", false))
}

func (w *world) removePods(name string) {
	w.Helper()
	require.NoError(w, w.client.CoreV1().Pods(w.namespace).DeleteCollection(w.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app=" + name}))
}

// TestCheckersOnTheAPIServer: the schema refuses what it can, in words; the defaults are stored; a
// change is in the status within a second, and the table of kubectl shows it; a checker at
// rest is not written.
func TestCheckersOnTheAPIServer(t *testing.T) {
	t.Parallel()
	installCheckers(t, plane)
	w := newWorld(t)
	c := w.startCheckers()
	w.refusesBadCheckers()
	document, err := os.ReadFile("../../docs/checker.md")
	require.NoError(t, err)
	example := regexp.MustCompile("(?s)<!-- tested: checker -->\n```yaml\n(.*?)```").FindSubmatch(document)
	require.NotNil(t, example, "docs/checker.md has a checker")
	w.apply(string(example[1]))
	w.until(checkers, "shop", "its status", checkerSees("Degraded", "True"))
	require.NoError(t, w.dynamic.Resource(checkers).Namespace(w.namespace).Delete(t.Context(), "shop", metav1.DeleteOptions{}))

	w.app("web")
	w.apply(serviceChecker("mine", "{for: 1s, recoverFor: 1s, services: [{name: web, critical: true}, {name: db}]}"))
	u := w.until(checkers, "mine", "that web is up", checkerSees("Available", "True"))
	first := serviceSeen(u, 0)
	assert.Equal(t, w.namespace, first["namespace"])
	w.until(checkers, "mine", "that db is down", checkerSees("Degraded", "True"))
	spec, _, _ := unstructured.NestedMap(u.Object, "spec")
	assert.Equal(t, map[string]any{
		"for": "1s", "recoverFor": "1s", "services": []any{
			map[string]any{"name": "web", "namespace": "", "critical": true, "minReady": int64(1)},
			map[string]any{"name": "db", "namespace": "", "critical": false, "minReady": int64(1)},
		},
	}, spec, "what is not given has its default")
	assert.EqualValues(t, 1, conditionOf(u, "Available")["observedGeneration"])

	w.within(2, func() { w.appPod("web") }, sees("readyEndpoints", int64(2)))
	w.within(1, func() { w.leavesApp("web") }, sees("readyEndpoints", int64(1)))
	w.within(0, func() { w.leavesApp("web") }, sees("ready", false))
	w.until(checkers, "mine", "that web counts as down", checkerSees("Available", "False"))
	w.untilTold("mine", "CriticalServiceDown", "Service "+w.namespace+"/web has no endpoints")
	assert.Equal(t, [][]string{{"NAME", "AVAILABLE", "DEGRADED", "READY", "AGE"}, {"mine", "False", "True", "0/2"}}, w.columns("mine"))
	w.within(1, func() { w.appPod("web") }, sees("ready", true))
	w.until(checkers, "mine", "that web counts as up", checkerSees("Available", "True"))
	w.untilTold("mine", "CriticalServiceUp", "")
	w.servesUntilItEnds()
	w.edit(checkers, "mine", func(u *unstructured.Unstructured) {
		require.NoError(w, unstructured.SetNestedField(u.Object, "2s", "spec", "for"))
	})
	w.until(checkers, "mine", "its second generation", func(u *unstructured.Unstructured) bool {
		return conditionOf(u, "Degraded")["observedGeneration"] == int64(2)
	})
	w.until(checkers, "mine", "that web counts as down again", checkerSees("Available", "False"))
	w.quietFor(1500 * time.Millisecond)
	wrote := c.wrote()
	w.quietFor(2 * time.Second)
	assert.Equal(t, wrote, c.wrote(), "nothing changed")

	require.NoError(t, w.dynamic.Resource(checkers).Namespace(w.namespace).Delete(t.Context(), "mine", metav1.DeleteOptions{}))
	w.eventually("nothing is watched for it", func() bool { return c.readiness.Held() == 0 })
}

// valueShown is what the API server quotes, in messages of rules in CEL.
var valueShown = regexp.MustCompile(`Invalid value: ("[^"]*"|\d+): `)

// refusesBadCheckers: in the words of the API server.
func (w *world) refusesBadCheckers() {
	w.Helper()
	for spec, words := range map[string]string{
		"{}":             "spec.services: Required value",
		"{services: []}": "spec.services in body should have at least 1 items",
		"{services: [" + strings.Repeat("{name: a},", 101) + "]}":    "spec.services: Too many: 101: must have at most 100 items",
		"{services: [{name: a}, {name: a, critical: true}]}":         `spec.services[1]: Duplicate value`,
		"{services: [{critical: true}]}":                             "spec.services[0].name: Required value",
		"{services: [{name: My_App}]}":                               "spec.services[0].name",
		"{services: [{name: " + strings.Repeat("a", 64) + "}]}":      "spec.services[0].name: Too long",
		"{services: [{name: a, namespace: A}]}":                      "spec.services[0].namespace",
		"{services: [{name: a, minReady: 0}]}":                       "spec.services[0].minReady in body should be greater than or equal to 1",
		"{services: [{name: a, minReady: 1001}]}":                    "spec.services[0].minReady in body should be less than or equal to 1000",
		"{services: [{name: a, port: 0}]}":                           "spec.services[0].port: Invalid value: must be the number of a port, 1 to 65535, or the name of one",
		"{services: [{name: a, port: 65536}]}":                       "spec.services[0].port: Invalid value: must be the number of a port",
		"{services: [{name: a, port: HTTP}]}":                        "spec.services[0].port: Invalid value: must be the number of a port",
		"{for: soon, services: [{name: a}]}":                         "spec.for: Invalid value: must be a duration of 0s to 24h, such as 500ms, 10s or 1m30s",
		"{for: -1s, services: [{name: a}]}":                          "spec.for: Invalid value: must be a duration",
		"{recoverFor: 25h, services: [{name: a}]}":                   "spec.recoverFor: Invalid value: must be a duration",
		"{recoverFor: 99999999999999999999h, services: [{name: a}]}": "spec.recoverFor",
	} {
		u := w.parse(serviceChecker("bad", spec))
		_, err := w.dynamic.Resource(checkers).Namespace(w.namespace).Create(w.Context(), u, metav1.CreateOptions{})
		if assert.Error(w, err, spec) {
			assert.Contains(w, valueShown.ReplaceAllString(err.Error(), "Invalid value: "), words, spec)
		}
	}
}

// within wants what is done to the endpoints of web in the status a second after the API
// server shows that so many are ready.
func (w *world) within(ready int, do func(), ok condition) {
	w.Helper()
	w.quietFor(1100 * time.Millisecond) // the one write of this second is to come
	do()
	w.eventually("the endpoints follow", func() bool {
		list, err := w.client.DiscoveryV1().EndpointSlices(w.namespace).List(w.Context(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=web"})
		require.NoError(w, err)
		n := 0
		for _, slice := range list.Items {
			for _, e := range slice.Endpoints {
				if ptr.Deref(e.Conditions.Ready, true) {
					n++
				}
			}
		}
		return n == ready
	})
	began := time.Now()
	w.until(checkers, "mine", "what its endpoints are", ok)
	took := time.Since(began)
	w.Logf("measured: status-after-endpoints=%s", took)
	assert.Less(w, took, time.Second)
}

// columns is what kubectl get shows of a checker, the age aside.
func (w *world) columns(name string) [][]string {
	w.Helper()
	client, err := kubernetes.NewForConfig(w.config)
	require.NoError(w, err)
	var table metav1.Table
	require.NoError(w, client.RESTClient().Get().AbsPath("/apis/maintenance-controller.io/v1alpha1/namespaces/"+w.namespace+"/servicecheckers/"+name).
		SetHeader("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1").Do(w.Context()).Into(&table))
	var head, row []string
	for i, column := range table.ColumnDefinitions {
		if column.Priority > 0 {
			continue
		}
		head = append(head, strings.ToUpper(column.Name))
		if column.Name != "Age" {
			row = append(row, fmt.Sprint(table.Rows[0].Cells[i]))
		}
	}
	return [][]string{head, row}
}

// quietFor lets a while pass, in which nothing is to happen.
func (w *world) quietFor(d time.Duration) {
	select {
	case <-after(d):
	case <-w.Context().Done():
	}
}

func (w *world) eventually(what string, ok func() bool) {
	w.Helper()
	for deadline := time.Now().Add(patience); !ok(); <-after(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatal(what)
		}
	}
}

// TestCheckersJudgeByTheOrigin: a Service that is in maintenance itself is judged by its
// app, on the way there and back as well; what cannot be judged says so.
func TestCheckersJudgeByTheOrigin(t *testing.T) {
	t.Parallel()
	installCheckers(t, plane)
	w := newWorld(t)
	w.start()
	w.startCheckers()
	w.app("my-app")
	w.apply("apiVersion: v1\nkind: Service\nmetadata: {name: away}\nspec: {type: ExternalName, externalName: example.org}\n",
		"apiVersion: v1\nkind: Service\nmetadata: {name: by-hand}\nspec: {ports: [{port: 80}]}\n",
		serviceChecker("mine", "{for: 0s, recoverFor: 0s, services: [{name: my-app, critical: true, port: http}, {name: away}, {name: by-hand}]}"))
	u := w.until(checkers, "mine", "that my-app is up", checkerSees("Available", "True"))
	assert.Contains(t, serviceSeen(u, 1)["message"], "is an ExternalName")
	assert.Contains(t, serviceSeen(u, 2)["message"], "has no selector")
	assert.Equal(t, "False", conditionOf(u, "Degraded")["status"], "they count as up")
	w.untilTold("mine", "ServiceNotJudged", "away is an ExternalName")

	stop := w.watchRevisions(checkers, "mine", func(u *unstructured.Unstructured) {
		if one := serviceSeen(u, 0); one["ready"] != true || one["readyEndpoints"] != int64(1) {
			t.Errorf("it was judged by the page or by nothing: %v", one)
		}
	})
	w.on(services, "my-app")
	w.until(services, "my-app", "active", state(annotations.Active))
	stop()
	w.removePods("my-app")
	w.until(checkers, "mine", "that the app is down behind the page", checkerSees("Available", "False"))
	w.appPod("my-app")
	w.until(checkers, "mine", "that the app is back behind the page", checkerSees("Available", "True"))
	w.off(services, "my-app")
	w.until(services, "my-app", "restored", restored)
	w.removePods("my-app")
	w.until(checkers, "mine", "that it is judged by its own again", checkerSees("Available", "False"))
}

// TestTheCRDOfCheckersComesAndGoes: absent is no error, later it is found, and without it
// nothing is known and nothing fails.
func TestTheCRDOfCheckersComesAndGoes(t *testing.T) {
	t.Parallel()
	own, err := cluster.StartControlPlane(t.Context(), cluster.Options{})
	require.NoError(t, err)
	t.Cleanup(own.Stop)
	require.NoError(t, played.Kubelet(t.Context(), own.Config()))
	w := newWorldOn(t, own.Config())
	c := w.startCheckers()
	w.eventually("without its CRD there are no services", func() bool { all, known := c.Services(); return known && len(all) == 0 })
	assert.Equal(t, checker.Unknown, c.Down(w.namespace, "mine").State)
	for range 2 {
		installCheckers(t, own)
		w.apply(serviceChecker("mine", "{for: 0s, services: [{name: web, critical: true}]}"))
		w.until(checkers, "mine", "that web is down", checkerSees("Available", "False"))
		w.eventually("down", func() bool { return c.Down(w.namespace, "mine").State == checker.Down })
		require.NoError(t, w.dynamic.Resource(crds).Delete(t.Context(), "servicecheckers.maintenance-controller.io", metav1.DeleteOptions{}))
		w.eventually("gone", func() bool { all, known := c.Services(); return known && len(all) == 0 })
		w.eventually("not known", func() bool { return c.Down(w.namespace, "mine").State == checker.Unknown })
		w.eventually("unserved", func() bool {
			_, err := w.dynamic.Resource(crds).Get(t.Context(), "servicecheckers.maintenance-controller.io", metav1.GetOptions{})
			return err != nil
		})
	}
}
