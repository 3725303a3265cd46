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
	"maintenance-controller.io/e2e/idle"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/apis/v1alpha1"
	"maintenance-controller.io/pkg/checker"
	"maintenance-controller.io/pkg/readiness"
)

var (
	checkers = v1alpha1.Resource()
	crds     = schemaGVR{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
)

// installCheckers installs the chart's CRD and waits until it is served.
func installCheckers(t *testing.T, plane *cluster.ControlPlane) {
	t.Helper()
	crd, err := os.ReadFile("../../deploy/chart/files/crds.yaml")
	require.NoError(t, err)
	require.NoError(t, plane.Apply(t.Context(), crd))
	dyn, err := dynamic.NewForConfig(plane.Config())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
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

// checkerCondition compares a condition of a checker.
func checkerCondition(kind, status string) condition {
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

// serviceStatus is the n-th service in a checker's status.
func serviceStatus(u *unstructured.Unstructured, n int) map[string]any {
	all, _, _ := unstructured.NestedSlice(u.Object, "status", "services")
	if n >= len(all) {
		return map[string]any{}
	}
	m, _ := all[n].(map[string]any)
	return m
}

// firstServiceIs compares a field of the first service in the status.
func firstServiceIs(field string, want any) condition {
	return func(u *unstructured.Unstructured) bool {
		return u != nil && assert.ObjectsAreEqual(want, serviceStatus(u, 0)[field])
	}
}

// runningCheckers are a Registry and a Writer at work.
type runningCheckers struct {
	*checker.Registry
	readiness    *readiness.Watcher
	requests     *idle.Counter
	statusWrites func() int
	stop         func()
}

// startCheckers runs a Registry and a Writer for the namespace until the test ends. If the
// test has passed, they keep running until they are idle.
func (env *testEnv) startCheckers(change ...func(*checker.Config)) *runningCheckers {
	env.Helper()
	config := rest.CopyConfig(env.config)
	log := &testLog{t: env.T}
	c := &runningCheckers{requests: idle.NewCounter()}
	var mu sync.Mutex
	written := 0
	config.Wrap(c.requests.Wrap)
	config.Wrap(func(inner http.RoundTripper) http.RoundTripper {
		return roundTripperFunc(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/status") {
				mu.Lock()
				written++
				mu.Unlock()
			}
			return inner.RoundTrip(r)
		})
	})
	c.statusWrites = func() int { mu.Lock(); defer mu.Unlock(); return written }
	client, err := kubernetes.NewForConfig(config)
	require.NoError(env, err)
	dyn, err := dynamic.NewForConfig(config)
	require.NoError(env, err)
	c.readiness = readiness.New(readiness.Config{Client: client, Log: log.logger()})
	settings := checker.Config{
		Dynamic: dyn, Discovery: client.Discovery(), Readiness: c.readiness, Log: log.logger(), Namespaces: []string{env.namespace}, DiscoveryInterval: time.Second,
	}
	for _, f := range change {
		f(&settings)
	}
	c.Registry = checker.New(settings)
	events := record.NewBroadcaster()
	events.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: env.client.CoreV1().Events("")})
	writer := checker.NewWriter(checker.WriterConfig{
		Registry: c.Registry, Dynamic: dyn, Log: log.logger(), Recorder: events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: annotations.ManagedBy}),
	})
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { c.readiness.Run(ctx) })
	done.Go(func() { c.Registry.Run(ctx) })
	done.Go(func() { writer.Run(ctx) })
	c.stop = sync.OnceFunc(func() { cancel(); done.Wait(); events.Shutdown() })
	env.Cleanup(func() { env.stopWhenIdle(c.requests, log, c.stop) })
	return c
}

type roundTripperFunc func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripperFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// createApp creates a Service and a Pod for it. The fake kubelet makes the Pod ready.
func (env *testEnv) createApp(name string) {
	env.Helper()
	env.apply(fmt.Sprintf("apiVersion: v1\nkind: Service\nmetadata: {name: %[1]s}\nspec: {selector: {app: %[1]s}, ports: [{name: http, port: 80, targetPort: 8080}]}\n", name))
	env.createAppPod(name)
}

func (env *testEnv) createAppPod(name string) string {
	env.Helper()
	yes := true
	p, err := env.client.CoreV1().Pods(env.namespace).Create(env.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{GenerateName: name + "-", Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: &yes, SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
			Containers: []corev1.Container{{
				Name: "app", Image: servingImage,
				SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: ptr.To(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
			}},
		},
	}, metav1.CreateOptions{})
	require.NoError(env, err)
	return p.Name
}

// removeFromService removes a Pod from a Service in one step, which its deletion would not do.
func (env *testEnv) removeFromService(name string) {
	env.Helper()
	one := env.list(pods, "app="+name)[0]
	_, err := env.client.CoreV1().Pods(env.namespace).Patch(env.Context(), one.GetName(), types.MergePatchType, []byte(`{"metadata":{"labels":{"app":"none"}}}`), metav1.PatchOptions{})
	require.NoError(env, err)
}

func (env *testEnv) removePods(name string) {
	env.Helper()
	require.NoError(env, env.client.CoreV1().Pods(env.namespace).DeleteCollection(env.Context(), metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: "app=" + name}))
}

// requireTerminatingPodServes: the last Pod is being deleted and still serves. Proxies
// still use it, so the Service is ready until the Pod has ended.
func (env *testEnv) requireTerminatingPodServes() {
	env.Helper()
	hold := func(finalizers string) {
		for _, p := range env.list(pods, "app=web") {
			_, err := env.client.CoreV1().Pods(env.namespace).Patch(env.Context(), p.GetName(), types.MergePatchType, []byte(`{"metadata":{"finalizers":`+finalizers+`}}`), metav1.PatchOptions{})
			require.NoError(env, err)
		}
	}
	hold(`["example.org/holds"]`)
	env.removePods("web")
	u := env.waitFor(checkers, "mine", "no ready endpoint", firstServiceIs("readyEndpoints", int64(0)))
	assert.Equal(env, true, serviceStatus(u, 0)["ready"])
	assert.Contains(env, serviceStatus(u, 0)["message"], "1 still serve until they terminate")
	hold("null")
	env.waitFor(checkers, "mine", "not ready", firstServiceIs("ready", false))
}

// requireBadCheckersRefused: the API server refuses invalid checkers with a clear message.
func (env *testEnv) requireBadCheckersRefused() {
	env.Helper()
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
		u := env.parse(serviceChecker("bad", spec))
		_, err := env.dynamic.Resource(checkers).Namespace(env.namespace).Create(env.Context(), u, metav1.CreateOptions{})
		if assert.Error(env, err, spec) {
			assert.Contains(env, valueShown.ReplaceAllString(err.Error(), "Invalid value: "), words, spec)
		}
	}
}

// valueShown is the value that the API server quotes in the messages of CEL rules.
var valueShown = regexp.MustCompile(`Invalid value: ("[^"]*"|\d+): `)

// requireStatusSoon requires a change of web's endpoints in the status within a second after
// the API server shows this number of ready ones, or within ten times the slowest of this test's
// own requests, where those take longer.
func (env *testEnv) requireStatusSoon(ready int, do func(), ok condition) {
	env.Helper()
	env.pause(1100 * time.Millisecond) // so that the limit of one write per second does not delay the next one
	do()
	var slowest time.Duration
	env.eventually("the endpoints of web", func() bool {
		asked := time.Now()
		list, err := env.client.DiscoveryV1().EndpointSlices(env.namespace).List(env.Context(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=web"})
		require.NoError(env, err)
		slowest = max(slowest, time.Since(asked))
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
	env.waitFor(checkers, "mine", "the endpoints in its status", ok)
	took := time.Since(began)
	env.Logf("measured: status-after-endpoints=%s", took)
	assert.Less(env, took, max(time.Second, 10*slowest))
}

// kubectlColumns is what kubectl get shows of a checker, without the age.
func (env *testEnv) kubectlColumns(name string) [][]string {
	env.Helper()
	client, err := kubernetes.NewForConfig(env.config)
	require.NoError(env, err)
	var table metav1.Table
	require.NoError(env, client.RESTClient().Get().AbsPath("/apis/maintenance-controller.io/v1alpha1/namespaces/"+env.namespace+"/servicecheckers/"+name).
		SetHeader("Accept", "application/json;as=Table;g=meta.k8s.io;v=v1").Do(env.Context()).Into(&table))
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
