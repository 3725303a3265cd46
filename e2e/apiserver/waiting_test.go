package apiserver

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
)

// waitFor waits until the condition holds and returns the object.
func (env *testEnv) waitFor(gvr schema.GroupVersionResource, name, what string, ok condition) *unstructured.Unstructured {
	env.Helper()
	ctx, cancel := context.WithTimeout(env.Context(), waitTimeout)
	defer cancel()
	last, reached := env.tryWaitFor(ctx, gvr, name, ok)
	if !reached {
		shown := "absent"
		if last != nil {
			last.SetManagedFields(nil)
			raw, _ := yaml.Marshal(last.Object)
			shown = string(raw)
		}
		env.Fatalf("%s %s: timed out waiting for: %s; it is now\n%s", gvr.Resource, name, what, shown)
	}
	return last
}

// tryWaitFor waits until the condition holds or ctx ends.
func (env *testEnv) tryWaitFor(ctx context.Context, gvr schema.GroupVersionResource, name string, ok condition) (last *unstructured.Unstructured, reached bool) {
	resource := env.dynamic.Resource(gvr).Namespace(env.namespace)
	for ctx.Err() == nil {
		list, err := resource.List(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
		if err != nil {
			continue // ctx has ended, or the API server is down
		}
		last = nil
		if len(list.Items) > 0 {
			last = &list.Items[0]
		}
		if ok(last) {
			return last, true
		}
		watch, err := resource.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name, ResourceVersion: list.GetResourceVersion()})
		if err != nil {
			continue
		}
		for e := range watch.ResultChan() {
			u, is := e.Object.(*unstructured.Unstructured)
			if !is {
				break
			}
			if last = u; e.Type == "DELETED" {
				last = nil
			}
			if ok(last) {
				watch.Stop()
				return last, true
			}
		}
		watch.Stop()
	}
	return last, false
}

// catch does something and returns the object as it was when the condition first held after
// that began, even if it held only for a moment.
func (env *testEnv) catch(gvr schema.GroupVersionResource, name, what string, ok condition, do func()) *unstructured.Unstructured {
	env.Helper()
	ctx, cancel := context.WithTimeout(env.Context(), waitTimeout)
	defer cancel()
	resource := env.dynamic.Resource(gvr).Namespace(env.namespace)
	before, err := resource.Get(ctx, name, metav1.GetOptions{})
	require.NoError(env, err)
	watch, err := resource.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name, ResourceVersion: before.GetResourceVersion()})
	require.NoError(env, err)
	defer watch.Stop()
	do()
	for e := range watch.ResultChan() {
		if u, is := e.Object.(*unstructured.Unstructured); is && ok(u) {
			return u
		}
	}
	env.Fatalf("%s %s: timed out waiting for: %s", gvr.Resource, name, what)
	return nil
}

// waitForEvent waits for an Event on an object.
func (env *testEnv) waitForEvent(name, reason string) *unstructured.Unstructured {
	env.Helper()
	return env.waitForEventWith(name, reason, "")
}

// waitForMessage waits for an Event whose message contains these words, and returns the message.
func (env *testEnv) waitForMessage(name, reason, words string) string {
	env.Helper()
	return message(env.waitForEventWith(name, reason, words))
}

func (env *testEnv) waitForEventWith(name, reason, words string) *unstructured.Unstructured {
	env.Helper()
	ctx, cancel := context.WithTimeout(env.Context(), waitTimeout)
	defer cancel()
	resource := env.dynamic.Resource(corev1.SchemeGroupVersion.WithResource("events")).Namespace(env.namespace)
	selector := fmt.Sprintf("involvedObject.name=%s,reason=%s", name, reason)
	list, err := resource.List(ctx, metav1.ListOptions{FieldSelector: selector})
	require.NoError(env, err)
	for i := range list.Items {
		if strings.Contains(message(&list.Items[i]), words) {
			return &list.Items[i]
		}
	}
	watch, err := resource.Watch(ctx, metav1.ListOptions{FieldSelector: selector, ResourceVersion: list.GetResourceVersion()})
	require.NoError(env, err)
	defer watch.Stop()
	for e := range watch.ResultChan() {
		if u, ok := e.Object.(*unstructured.Unstructured); ok && strings.Contains(message(u), words) {
			return u
		}
	}
	env.Fatalf("timed out waiting for an Event %s on %s with %q", reason, name, words)
	return nil
}

func message(event *unstructured.Unstructured) string {
	s, _, _ := unstructured.NestedString(event.Object, "message")
	return s
}

// waitForCleanup waits until no object of the controller is left in the namespace.
func (env *testEnv) waitForCleanup() {
	env.Helper()
	for _, gvr := range []schema.GroupVersionResource{configMaps, services, pods, budgets, networkPolicies} {
		for _, u := range env.list(gvr, annotations.ManagedByLabel+"="+annotations.ManagedBy) {
			env.waitFor(gvr, u.GetName(), "deletion", absent)
		}
	}
}

// waitForPods waits until there are just n page Pods, all of them ready and as required.
func (env *testEnv) waitForPods(n int, ok condition) {
	env.Helper()
	ctx, cancel := context.WithTimeout(env.Context(), waitTimeout)
	defer cancel()
	if all, good := env.tryWaitForPods(ctx, n, ok); !good {
		env.Fatalf("timed out: there are %d page Pods, want %d that are ready and as required", all, n)
	}
}

// tryWaitForPods waits like waitForPods, until ctx ends.
func (env *testEnv) tryWaitForPods(ctx context.Context, n int, ok condition) (all int, reached bool) {
	for {
		list, err := env.dynamic.Resource(pods).Namespace(env.namespace).List(ctx, metav1.ListOptions{LabelSelector: annotations.PageSetLabel})
		if err != nil {
			return all, false
		}
		good := 0
		for i := range list.Items {
			if podReady(&list.Items[i]) && ok(&list.Items[i]) {
				good++
			}
		}
		if all = len(list.Items); good == n && all == n {
			return all, true
		}
		stream, err := env.dynamic.Resource(pods).Namespace(env.namespace).Watch(ctx, metav1.ListOptions{LabelSelector: annotations.PageSetLabel, ResourceVersion: list.GetResourceVersion()})
		if err != nil {
			return all, false
		}
		<-stream.ResultChan() // the next event, or the end of ctx
		stream.Stop()
	}
}

// waitForPageEndpoints waits until the Service has ready endpoints on the port of the page.
func (env *testEnv) waitForPageEndpoints(name string) {
	env.Helper()
	env.waitForEndpoints(name, page.Port)
}

// waitForEndpoints waits until the Service has ready endpoints on a port of its Pods.
func (env *testEnv) waitForEndpoints(name string, port int64) {
	env.Helper()
	slices := schemaGVR{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}
	deadline := time.Now().Add(waitTimeout)
	for {
		ready := 0
		for _, slice := range env.list(slices, "kubernetes.io/service-name="+name) {
			ports, _, _ := unstructured.NestedSlice(slice.Object, "ports")
			endpoints, _, _ := unstructured.NestedSlice(slice.Object, "endpoints")
			for _, p := range ports {
				if p.(map[string]any)["port"] != port {
					continue
				}
				for _, e := range endpoints {
					if is, known, _ := unstructured.NestedBool(e.(map[string]any), "conditions", "ready"); is || !known {
						ready++
					}
				}
			}
		}
		if ready > 0 {
			return
		}
		require.True(env, time.Now().Before(deadline), "timed out: no Pods behind %s", name)
		<-after(20 * time.Millisecond)
	}
}

func (env *testEnv) eventually(what string, ok func() bool) {
	env.Helper()
	for deadline := time.Now().Add(waitTimeout); !ok(); <-after(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			env.Fatal(what)
		}
	}
}

// pause waits while nothing should happen.
func (env *testEnv) pause(d time.Duration) {
	select {
	case <-after(d):
	case <-env.Context().Done():
	}
}

func after(d time.Duration) <-chan time.Time { return time.After(d) }
