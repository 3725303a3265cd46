// Package kubetest provides a fake API server for unit tests: client-go's fakes, extended to keep
// resourceVersions and UIDs, reject stale writes and record requests. Everything that only a real
// API server decides (admission, field ownership, garbage collection, permissions) is tested on one.
package kubetest

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"sync"
	"testing"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"

	"maintenance-controller.io/pkg/apis/v1alpha1"
	"maintenance-controller.io/pkg/target"
)

// Cluster holds targets, which Dynamic and Metadata show, and all other objects, which Client shows.
type Cluster struct {
	Client   *fake.Clientset
	Dynamic  *dynamicfake.FakeDynamicClient
	Metadata *metadatafake.FakeMetadataClient

	mu       sync.Mutex
	versions int
	requests []string
}

// New returns an empty cluster.
func New(t *testing.T) *Cluster {
	t.Helper()
	lists := map[schema.GroupVersionResource]string{}
	for _, k := range target.Kinds() {
		lists[k.Resource] = k.Name + "List"
	}
	lists[v1alpha1.Resource()] = v1alpha1.Kind + "List"
	scheme := metadatafake.NewTestScheme()
	check(t, metav1.AddMetaToScheme(scheme))
	c := &Cluster{
		Client:   fake.NewClientset(),
		Dynamic:  dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists),
		Metadata: metadatafake.NewSimpleMetadataClient(scheme),
	}
	c.enforceVersions(&c.Client.Fake, c.Client.Tracker(), func(string, schema.GroupVersionResource, metav1.Object) {})
	c.enforceVersions(&c.Dynamic.Fake, c.Dynamic.Tracker(), c.mirror)
	c.recordRequests(&c.Metadata.Fake)
	return c
}

// Requests lists the requests so far, except watches: verb, resource and name.
func (c *Cluster) Requests() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.requests...)
}

// recordRequests records each request.
func (c *Cluster) recordRequests(f *clienttesting.Fake) {
	f.PrependReactor("*", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		name := ""
		if named, ok := a.(interface{ GetName() string }); ok {
			name = named.GetName()
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.requests = append(c.requests, fmt.Sprintf("%s %s %s/%s", a.GetVerb(), a.GetResource().Resource, a.GetNamespace(), name))
		return false, nil, nil
	})
}

// enforceVersions makes a fake reject what the API server would reject: a write based on an old
// version, and the deletion of another object of that name.
func (c *Cluster) enforceVersions(f *clienttesting.Fake, tracker clienttesting.ObjectTracker, stored func(verb string, gvr schema.GroupVersionResource, object metav1.Object)) {
	f.PrependReactor("create", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		object, m := objectOf(a)
		m.SetUID(types.UID(c.nextVersion()))
		m.SetResourceVersion(c.nextVersion())
		m.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
		if m.GetName() == "" {
			m.SetName(m.GetGenerateName() + m.GetResourceVersion())
		}
		if err := tracker.Create(a.GetResource(), object, a.GetNamespace()); err != nil {
			return true, nil, err
		}
		stored("create", a.GetResource(), m)
		return true, object, nil
	})
	f.PrependReactor("update", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		object, m := objectOf(a)
		there, err := storedMeta(tracker, a, m.GetName())
		if err != nil {
			return true, nil, err
		}
		if sent := m.GetResourceVersion(); sent != "" && sent != there.GetResourceVersion() {
			return true, nil, conflict(a, m.GetName())
		}
		m.SetUID(there.GetUID())
		m.SetResourceVersion(c.nextVersion())
		if err := tracker.Update(a.GetResource(), object, a.GetNamespace()); err != nil {
			return true, nil, err
		}
		stored("update", a.GetResource(), m)
		return true, object, nil
	})
	f.PrependReactor("patch", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		patch, ok := a.(clienttesting.PatchActionImpl)
		if !ok || patch.PatchType != types.MergePatchType {
			return false, nil, nil
		}
		return c.mergePatch(tracker, patch, stored)
	})
	f.PrependReactor("delete", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		del, ok := a.(clienttesting.DeleteActionImpl)
		if !ok {
			return false, nil, nil
		}
		there, err := storedMeta(tracker, a, del.Name)
		if err != nil {
			return true, nil, err
		}
		if p := del.DeleteOptions.Preconditions; p != nil &&
			(p.UID != nil && *p.UID != there.GetUID() || p.ResourceVersion != nil && *p.ResourceVersion != there.GetResourceVersion()) {
			return true, nil, conflict(a, del.Name)
		}
		stored("delete", a.GetResource(), there)
		return true, nil, tracker.Delete(a.GetResource(), a.GetNamespace(), del.Name)
	})
	c.recordRequests(f) // must come first
}

// mergePatch applies a merge patch, which requires a version if it names one.
func (c *Cluster) mergePatch(tracker clienttesting.ObjectTracker, a clienttesting.PatchActionImpl, stored func(verb string, gvr schema.GroupVersionResource, object metav1.Object)) (bool, runtime.Object, error) {
	there, err := tracker.Get(a.GetResource(), a.GetNamespace(), a.Name)
	if err != nil {
		return true, nil, err
	}
	u, ok := there.DeepCopyObject().(*unstructured.Unstructured)
	if !ok {
		return false, nil, nil
	}
	before, err := u.MarshalJSON()
	if err != nil {
		return true, nil, err
	}
	after, err := jsonpatch.MergePatch(before, a.Patch)
	if err != nil {
		return true, nil, err
	}
	merged := &unstructured.Unstructured{}
	if err := merged.UnmarshalJSON(after); err != nil {
		return true, nil, err
	}
	if merged.GetResourceVersion() != u.GetResourceVersion() {
		return true, nil, conflict(a, a.Name)
	}
	if reflect.DeepEqual(u.Object, merged.Object) {
		return true, merged, nil // nothing changed: the API server keeps the version
	}
	merged.SetResourceVersion(c.nextVersion())
	if err := tracker.Update(a.GetResource(), merged, a.GetNamespace()); err != nil {
		return true, nil, err
	}
	stored("update", a.GetResource(), merged)
	return true, merged, nil
}

func (c *Cluster) nextVersion() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.versions++
	return strconv.Itoa(c.versions)
}

// mirror applies what is done to a target to its metadata.
func (c *Cluster) mirror(verb string, gvr schema.GroupVersionResource, object metav1.Object) {
	u, ok := object.(*unstructured.Unstructured)
	if !ok {
		panic(fmt.Sprintf("%T is no target", object))
	}
	m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: u.GetNamespace(), Name: u.GetName(), UID: u.GetUID(), ResourceVersion: u.GetResourceVersion(),
		Generation: u.GetGeneration(), Annotations: u.GetAnnotations(), Labels: u.GetLabels(),
	}}
	m.SetGroupVersionKind(u.GroupVersionKind())
	tracker := c.Metadata.Tracker()
	var err error
	switch verb {
	case "create":
		err = tracker.Create(gvr, m, m.Namespace)
	case "update":
		err = tracker.Update(gvr, m, m.Namespace)
	default:
		err = tracker.Delete(gvr, m.Namespace, m.Name)
	}
	if err != nil {
		panic(fmt.Sprintf("%s %s: %v", verb, m.Name, err))
	}
}

func objectOf(a clienttesting.Action) (runtime.Object, metav1.Object) {
	write, ok := a.(interface{ GetObject() runtime.Object })
	if !ok {
		panic(fmt.Sprintf("%T writes no object", a))
	}
	object := write.GetObject().DeepCopyObject()
	m, err := meta.Accessor(object)
	if err != nil {
		panic(err)
	}
	return object, m
}

func storedMeta(tracker clienttesting.ObjectTracker, a clienttesting.Action, name string) (metav1.Object, error) {
	there, err := tracker.Get(a.GetResource(), a.GetNamespace(), name)
	if err != nil {
		return nil, err
	}
	return meta.Accessor(there)
}

func conflict(a clienttesting.Action, name string) error {
	return apierrors.NewConflict(a.GetResource().GroupResource(), name, errors.New("the object has been modified"))
}

// MakePodsReady marks every Pod of the namespace ready and adds it to the endpoints of the Services
// that select it, as the kubelet and the EndpointSlice controller would.
func (c *Cluster) MakePodsReady(t *testing.T, namespace string) {
	t.Helper()
	ctx := t.Context()
	pods, err := c.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	check(t, err)
	services, err := c.Client.CoreV1().Services(namespace).List(ctx, metav1.ListOptions{})
	check(t, err)
	for i := range pods.Items {
		p := &pods.Items[i]
		p.Status.Phase = corev1.PodRunning
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		_, err := c.Client.CoreV1().Pods(namespace).Update(ctx, p, metav1.UpdateOptions{})
		check(t, err)
	}
	for i := range services.Items {
		svc := &services.Items[i]
		slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: svc.Name, Labels: svc.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(svc, corev1.SchemeGroupVersion.WithKind("Service"))},
		}}
		for _, p := range pods.Items {
			if labels.SelectorFromSet(svc.Spec.Selector).Matches(labels.Set(p.Labels)) {
				slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: p.Name, UID: p.UID}})
			}
		}
		_, err := c.Client.DiscoveryV1().EndpointSlices(namespace).Create(ctx, slice, metav1.CreateOptions{})
		if !apierrors.IsAlreadyExists(err) {
			check(t, err)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
