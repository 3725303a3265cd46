package apiserver

import (
	"context"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/controller"
	ids "maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/page"
)

type (
	schemaGVR        = schema.GroupVersionResource
	controllerConfig = controller.Config
	restConfig       = rest.Config
)

// imageServes is any image but those of package played that do not serve.
const imageServes = "page"

// theInstallation is the one that controllers and commands of a world are of: a
// controller of a namespace of its own would name page sets otherwise.
const theInstallation = "--installation-id=" + ids.Default

func anyPod(*unstructured.Unstructured) bool { return true }

// onNamed: the set that the annotation names is this one.
func onNamed(set string) condition {
	return func(u *unstructured.Unstructured) bool { return u.GetAnnotations()[annotations.PageSet] == set }
}

// setNamed is the name of the set of a page that has this HTML, and the built-in
// page's other formats.
func setNamed(html string) string {
	p, err := page.Parse(map[string]string{"page.html": html})
	if err != nil {
		panic(err) // a page of the test's own
	}
	return page.SetName(p.WithDefaults(pages.Default()).Hash())
}

func after(d time.Duration) <-chan time.Time { return time.After(d) }

// watchRevisions calls look for every revision of an object from now on. The
// returned function ends the watch and tells how many there were.
func (w *world) watchRevisions(gvr schemaGVR, name string, look func(*unstructured.Unstructured)) (seen func() int) {
	w.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := w.dynamic.Resource(gvr).Namespace(w.namespace).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	require.NoError(w, err)
	n := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for e := range stream.ResultChan() {
			if u, ok := e.Object.(*unstructured.Unstructured); ok && e.Type != watch.Deleted {
				n++
				look(u)
			}
		}
	})
	stop := func() int {
		cancel()
		wg.Wait()
		return n
	}
	w.Cleanup(func() { stop() })
	return stop
}

// serving is what watchServing has checked.
type serving struct {
	*world
	name string
	sets chan string // of the revisions that were checked
}

// watchServing checks, at each revision of a target, that the set it points at
// has a Service with an endpoint at that time. A revision that is over by the
// time the endpoints are read is passed over: a test that counts on one holds still
// until it was checked.
func (w *world) watchServing(gvr schemaGVR, name string) *serving {
	w.Helper()
	s := &serving{world: w, name: name, sets: make(chan string, 1000)}
	w.watchRevisions(gvr, name, func(u *unstructured.Unstructured) {
		for _, set := range setsOf(u) {
			slices, err := w.client.DiscoveryV1().EndpointSlices(w.namespace).List(context.Background(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + set})
			now, err2 := w.dynamic.Resource(gvr).Namespace(w.namespace).Get(context.Background(), name, metav1.GetOptions{})
			if err != nil || err2 != nil || now.GetResourceVersion() != u.GetResourceVersion() {
				continue
			}
			if len(slices.Items) == 0 || len(slices.Items[0].Endpoints) == 0 {
				w.Errorf("at %s %s points at %s, which does not serve", u.GetResourceVersion(), name, set)
			}
			select {
			case s.sets <- set:
			default: // so many that nobody counts on this one
			}
		}
	})
	return s
}

// until returns when a revision on a set was checked.
func (s *serving) until(set string) {
	s.Helper()
	for patient := time.After(patience); ; {
		select {
		case checked := <-s.sets:
			if checked == set {
				return
			}
		case <-patient:
			s.Fatalf("no revision of %s on %s was checked", s.name, set)
		}
	}
}

// untilPods waits until just n ready page Pods are there and all are as wanted.
func (w *world) untilPods(n int, ok condition) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	if all, good := w.podsReach(ctx, n, ok); !good {
		w.Fatalf("there are %d Pods, want %d as they should be", all, n)
	}
}

// podsReach waits for what untilPods wants until ctx ends.
func (w *world) podsReach(ctx context.Context, n int, ok condition) (all int, reached bool) {
	for {
		list, err := w.dynamic.Resource(pods).Namespace(w.namespace).List(ctx, metav1.ListOptions{LabelSelector: annotations.PageSetLabel})
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
		stream, err := w.dynamic.Resource(pods).Namespace(w.namespace).Watch(ctx, metav1.ListOptions{LabelSelector: annotations.PageSetLabel, ResourceVersion: list.GetResourceVersion()})
		if err != nil {
			return all, false
		}
		<-stream.ResultChan() // of an event, or of the end of ctx
		stream.Stop()
	}
}

func podReady(u *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == "Ready" {
			return m["status"] == "True" && u.GetDeletionTimestamp() == nil
		}
	}
	return false
}
