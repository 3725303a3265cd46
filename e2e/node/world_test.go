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

// patience bounds every wait: long enough for a machine that is busy with a build.
const patience = 90 * time.Second

// world is a test's namespace, with clients.
type world struct {
	*testing.T
	namespace string
	client    kubernetes.Interface
	dynamic   dynamic.Interface
}

func newWorld(t *testing.T) *world {
	t.Helper()
	tier.RequireNodes(t)
	client, err := kubernetes.NewForConfig(site.Config())
	require.NoError(t, err)
	dyn, err := dynamic.NewForConfig(site.Config())
	require.NoError(t, err)
	w := &world{T: t, client: client, dynamic: dyn}
	// The strictest namespace there is: page Pods have to pass it in every test.
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	made, err := client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{})
	require.NoError(t, err)
	w.namespace = made.Name
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if t.Failed() {
			w.describe(ctx)
		}
		_ = client.CoreV1().Namespaces().Delete(ctx, w.namespace, metav1.DeleteOptions{}) // the cluster ends soon
	})
	w.until(corev1.SchemeGroupVersion.WithResource("serviceaccounts"), "default", "service account", exists)
	return w
}

// host is a name of the test's own that visitors ask for.
func (w *world) host(name string) string { return name + "." + w.namespace + ".localhost" }

// describe logs what helps to understand a failure.
func (w *world) describe(ctx context.Context) {
	for _, args := range [][]string{
		{"get", "ingress,ingressroute,deployment,pod,configmap,service,endpointslice,pdb", "-o", "wide"},
		{"get", "events", "--sort-by=.lastTimestamp"},
		{"logs", "-l", annotations.PageSetLabel, "--tail=20", "--prefix", "--timestamps"},
		{"-n", ownNamespace, "get", "pod,lease", "-o", "wide"},
		{"-n", ownNamespace, "logs", "-l", "app.kubernetes.io/name=maintenance-controller", "--tail=60", "--prefix"},
	} {
		out, err := w.try(ctx, "", args...)
		w.Logf("kubectl %s (%v)\n%s", strings.Join(args, " "), err, out)
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(site.Kubeconfig()), "logs", "traefik.log"))
	lines := strings.Split(string(text), "\n")
	w.Logf("Traefik's log (%v)\n%s", err, strings.Join(lines[max(0, len(lines)-30):], "\n"))
}

// kubectl is what a person types, in the test's namespace; it must succeed.
func (w *world) kubectl(args ...string) string {
	w.Helper()
	return w.give("", args...)
}

// give is kubectl with something to read.
func (w *world) give(input string, args ...string) string {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 2*patience)
	defer cancel()
	out, err := w.try(ctx, input, args...)
	require.NoError(w, err, "kubectl %s\n%s", strings.Join(args, " "), out)
	return out
}

func (w *world) try(ctx context.Context, input string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, site.kubectl, append([]string{"--namespace", w.namespace}, args...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+site.Kubeconfig(), "KUBECACHEDIR="+site.kubecache)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// apply applies manifests.
func (w *world) apply(manifests ...string) {
	w.Helper()
	w.give(strings.Join(manifests, "\n---\n"), "apply", "-f", "-")
}

// on and off are what people do to an object such as ingress/my-app.
func (w *world) on(object string, more ...string) {
	w.Helper()
	w.kubectl(append([]string{"annotate", object, annotations.DefaultEnabled + "=true"}, more...)...)
}

func (w *world) off(object string) {
	w.Helper()
	w.kubectl("annotate", object, annotations.DefaultEnabled+"-", annotations.DefaultCustomPage+"-")
}

// spec of an object such as ingress/my-app, to the byte.
func (w *world) spec(object string) string {
	w.Helper()
	return w.kubectl("get", object, "-o", "jsonpath={.spec}")
}

func (w *world) get(gvr schema.GroupVersionResource, name string) *unstructured.Unstructured {
	w.Helper()
	u, err := w.dynamic.Resource(gvr).Namespace(w.namespace).Get(w.Context(), name, metav1.GetOptions{})
	require.NoError(w, err)
	return u
}

// condition looks at an object; nil means that it is not there.
type condition func(*unstructured.Unstructured) bool

func exists(u *unstructured.Unstructured) bool { return u != nil }
func absent(u *unstructured.Unstructured) bool { return u == nil }

func active(u *unstructured.Unstructured) bool {
	return u != nil && u.GetAnnotations()[annotations.State] == annotations.Active
}

// restored: nothing of what the controller wrote on a target is left.
func restored(u *unstructured.Unstructured) bool {
	return u != nil && !annotations.HasWritten(u.GetAnnotations())
}

// untilActive waits for the page and names its set.
func (w *world) untilActive(gvr schema.GroupVersionResource, name string) (set string) {
	w.Helper()
	return w.until(gvr, name, "active", active).GetAnnotations()[annotations.PageSet]
}

// until watches an object of the test's namespace until the condition holds.
func (w *world) until(gvr schema.GroupVersionResource, name, what string, ok condition) *unstructured.Unstructured {
	w.Helper()
	return w.untilIn(w.namespace, gvr, name, what, ok)
}

func (w *world) untilIn(namespace string, gvr schema.GroupVersionResource, name, what string, ok condition) *unstructured.Unstructured {
	w.Helper()
	var last *unstructured.Unstructured
	w.watch(namespace, gvr, metav1.ListOptions{FieldSelector: "metadata.name=" + name}, fmt.Sprintf("%s %s: %s", gvr.Resource, name, what),
		func(all map[string]*unstructured.Unstructured) bool {
			last = all[name]
			return ok(last)
		})
	return last
}

// watch follows the objects that a selector finds, by name, until they are as they
// should be.
func (w *world) watch(namespace string, gvr schema.GroupVersionResource, which metav1.ListOptions, what string, ok func(map[string]*unstructured.Unstructured) bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	all := map[string]*unstructured.Unstructured{}
	for ctx.Err() == nil {
		if follow(ctx, w.dynamic.Resource(gvr).Namespace(namespace), which, all, ok) {
			return
		}
	}
	var shown strings.Builder
	for _, u := range all {
		u.SetManagedFields(nil)
		raw, _ := yaml.Marshal(u.Object)
		shown.WriteString("---\n" + string(raw))
	}
	w.Fatalf("%s did not come; there is\n%s", what, shown.String())
}

// follow is one list and the watch that goes on from there. It says whether ok was.
func follow(ctx context.Context, resource dynamic.ResourceInterface, which metav1.ListOptions, all map[string]*unstructured.Unstructured, ok func(map[string]*unstructured.Unstructured) bool) bool {
	list, err := resource.List(ctx, which)
	if err != nil {
		return false // ctx has ended, or the API server is away
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

// ours selects everything that the controller makes.
const ours = annotations.ManagedByLabel + "=" + annotations.ManagedBy

// untilClean waits until nothing of ours is left in the namespace.
func (w *world) untilClean() {
	w.Helper()
	for _, gvr := range []schema.GroupVersionResource{configMaps, services, pods, budgets, endpointSlices} {
		w.watch(w.namespace, gvr, metav1.ListOptions{LabelSelector: ours}, "the end of our "+gvr.Resource,
			func(all map[string]*unstructured.Unstructured) bool { return len(all) == 0 })
	}
}
