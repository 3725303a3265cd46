package node

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/e2e/tier"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

var (
	ingresses      = target.Ingress().Resource
	ingressRoutes  = target.IngressRoute().Resource
	configMaps     = corev1.SchemeGroupVersion.WithResource("configmaps")
	services       = corev1.SchemeGroupVersion.WithResource("services")
	pods           = corev1.SchemeGroupVersion.WithResource("pods")
	deployments    = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	leases         = schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}
	budgets        = schema.GroupVersionResource{Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"}
	endpointSlices = schema.GroupVersionResource{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
)

// waitTimeout bounds every wait. It is long enough for a machine that is busy with a build.
const waitTimeout = 90 * time.Second

// env is a test's namespace, with clients.
type env struct {
	*testing.T
	namespace string
	client    kubernetes.Interface
	dynamic   dynamic.Interface
}

// newEnv creates the test's namespace. It skips the test if it cannot run here.
func newEnv(t *testing.T) *env {
	t.Helper()
	tier.RequireNodes(t)
	client, err := kubernetes.NewForConfig(site.Config())
	require.NoError(t, err)
	dyn, err := dynamic.NewForConfig(site.Config())
	require.NoError(t, err)
	e := &env{T: t, client: client, dynamic: dyn}
	// With the strictest PodSecurity level, so that every test proves that page Pods comply.
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	made, err := client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
	require.NoError(t, err)
	e.namespace = made.Name
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
		defer cancel()
		if t.Failed() {
			e.describe(ctx)
		}
		_ = client.CoreV1().Namespaces().Delete(ctx, e.namespace, metav1.DeleteOptions{}) // the cluster ends soon
	})
	e.until(corev1.SchemeGroupVersion.WithResource("serviceaccounts"), "default", "exists", exists)
	return e
}

// host returns a host name that only this test uses.
func (e *env) host(name string) string { return name + "." + e.namespace + ".localhost" }

// describe logs the state of the cluster after a failure.
func (e *env) describe(ctx context.Context) {
	for _, args := range [][]string{
		{"get", "ingress,ingressroute,deployment,pod,configmap,service,endpointslice,pdb", "-o", "wide"},
		{"get", "events", "--sort-by=.lastTimestamp"},
		{"logs", "-l", annotations.PageSetLabel, "--tail=20", "--prefix", "--timestamps"},
		{"-n", ownNamespace, "get", "pod,lease", "-o", "wide"},
		{"-n", ownNamespace, "logs", "-l", "app.kubernetes.io/name=maintenance-controller", "--tail=60", "--prefix"},
	} {
		out, err := e.try(ctx, "", args...)
		e.Logf("kubectl %s (%v)\n%s", strings.Join(args, " "), err, out)
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(site.Kubeconfig()), "logs", "traefik.log"))
	lines := strings.Split(string(text), "\n")
	e.Logf("Traefik's log (%v)\n%s", err, strings.Join(lines[max(0, len(lines)-30):], "\n"))
}

// kubectl runs kubectl in the test's namespace; it must succeed.
func (e *env) kubectl(args ...string) string {
	e.Helper()
	return e.kubectlWith("", args...)
}

// kubectlWith is kubectl with input on stdin.
func (e *env) kubectlWith(input string, args ...string) string {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Context(), 2*waitTimeout)
	defer cancel()
	out, err := e.try(ctx, input, args...)
	require.NoError(e, err, "kubectl %s\n%s", strings.Join(args, " "), out)
	return out
}

// try runs kubectl, which may fail, and returns its output.
func (e *env) try(ctx context.Context, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, site.kubectl, append([]string{"--namespace", e.namespace}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+site.Kubeconfig(), "KUBECACHEDIR="+site.kubecache)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// apply applies manifests in the test's namespace.
func (e *env) apply(manifests ...string) {
	e.Helper()
	e.kubectlWith(strings.Join(manifests, "\n---\n"), "apply", "-f", "-")
}

// on annotates an object, such as ingress/my-app, to switch maintenance on.
func (e *env) on(object string, more ...string) {
	e.Helper()
	e.kubectl(append([]string{"annotate", object, annotations.DefaultEnabled + "=true"}, more...)...)
}

// off removes the annotations of on.
func (e *env) off(object string) {
	e.Helper()
	e.kubectl("annotate", object, annotations.DefaultEnabled+"-", annotations.DefaultCustomPage+"-")
}

// spec returns the spec of an object, such as ingress/my-app, as JSON.
func (e *env) spec(object string) string {
	e.Helper()
	return e.kubectl("get", object, "-o", "jsonpath={.spec}")
}

func (e *env) get(gvr schema.GroupVersionResource, name string) *unstructured.Unstructured {
	e.Helper()
	u, err := e.dynamic.Resource(gvr).Namespace(e.namespace).Get(e.Context(), name, metav1.GetOptions{})
	require.NoError(e, err)
	return u
}

// condition reports whether an object is as expected. The object is nil if it does not exist.
type condition func(*unstructured.Unstructured) bool

func exists(u *unstructured.Unstructured) bool { return u != nil }
func absent(u *unstructured.Unstructured) bool { return u == nil }

func active(u *unstructured.Unstructured) bool {
	return u != nil && u.GetAnnotations()[annotations.State] == annotations.Active
}

// restored reports whether a target has no annotations of the controller any more.
func restored(u *unstructured.Unstructured) bool {
	return u != nil && !annotations.HasWritten(u.GetAnnotations())
}

// untilActive waits until a target is active and returns its page set.
func (e *env) untilActive(gvr schema.GroupVersionResource, name string) (set string) {
	e.Helper()
	return e.until(gvr, name, "active", active).GetAnnotations()[annotations.PageSet]
}

// until watches an object of the test's namespace until ok returns true.
func (e *env) until(gvr schema.GroupVersionResource, name, what string, ok condition) *unstructured.Unstructured {
	e.Helper()
	return e.untilIn(e.namespace, gvr, name, what, ok)
}

// untilIn is until for an object of another namespace.
func (e *env) untilIn(namespace string, gvr schema.GroupVersionResource, name, what string, ok condition) *unstructured.Unstructured {
	e.Helper()
	var last *unstructured.Unstructured
	e.watch(namespace, gvr, metav1.ListOptions{FieldSelector: "metadata.name=" + name}, fmt.Sprintf("%s %s: %s", gvr.Resource, name, what),
		func(all map[string]*unstructured.Unstructured) bool {
			last = all[name]
			return ok(last)
		})
	return last
}

// watch watches the objects of a selector, by name, until ok returns true.
func (e *env) watch(namespace string, gvr schema.GroupVersionResource, which metav1.ListOptions, what string, ok func(map[string]*unstructured.Unstructured) bool) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Context(), waitTimeout)
	defer cancel()
	all := map[string]*unstructured.Unstructured{}
	for ctx.Err() == nil {
		if follow(ctx, e.dynamic.Resource(gvr).Namespace(namespace), which, all, ok) {
			return
		}
	}
	var shown strings.Builder
	for _, u := range all {
		u.SetManagedFields(nil)
		raw, _ := yaml.Marshal(u.Object)
		shown.WriteString("---\n" + string(raw))
	}
	e.Fatalf("waited in vain for %s; the objects are\n%s", what, shown.String())
}

// follow lists objects and watches them from there. It returns true once ok does, and false if
// the watch ends first.
func follow(ctx context.Context, resource dynamic.ResourceInterface, which metav1.ListOptions, all map[string]*unstructured.Unstructured, ok func(map[string]*unstructured.Unstructured) bool) bool {
	list, err := resource.List(ctx, which)
	if err != nil {
		return false // ctx is done, or the API server does not answer
	}
	clear(all)
	for i := range list.Items {
		all[list.Items[i].GetName()] = &list.Items[i]
	}
	if ok(all) {
		return true
	}
	which.ResourceVersion = list.GetResourceVersion()
	stream, err := resource.Watch(ctx, which)
	if err != nil {
		return false
	}
	defer stream.Stop()
	for e := range stream.ResultChan() {
		u, is := e.Object.(*unstructured.Unstructured)
		if !is {
			return false
		}
		if e.Type == "DELETED" {
			delete(all, u.GetName())
		} else {
			all[u.GetName()] = u
		}
		if ok(all) {
			return true
		}
	}
	return false
}

// ownSelector selects everything that the controller makes.
const ownSelector = annotations.ManagedByLabel + "=" + annotations.ManagedBy

// untilClean waits until nothing that the controller made is left in the namespace.
func (e *env) untilClean() {
	e.Helper()
	for _, gvr := range []schema.GroupVersionResource{configMaps, services, pods, budgets, endpointSlices} {
		e.watch(e.namespace, gvr, metav1.ListOptions{LabelSelector: ownSelector}, "no "+gvr.Resource+" of the controller",
			func(all map[string]*unstructured.Unstructured) bool { return len(all) == 0 })
	}
}
