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

	"maintenance-controller.io/pkg/controller"
)

type (
	schemaGVR        = schema.GroupVersionResource
	controllerConfig = controller.Config
	restConfig       = rest.Config
)

// imageServes is any image but those of package played that do not serve.
const imageServes = "page"

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

// watchServing checks, at each revision of a target, that the set it points at
// has a Service with an endpoint at that time. A revision that is over by the
// time the endpoints are read is passed over.
func (w *world) watchServing(gvr schemaGVR, name string) (seen func() int) {
	w.Helper()
	checked := 0
	stop := w.watchRevisions(gvr, name, func(u *unstructured.Unstructured) {
		for _, set := range setsOf(u) {
			slices, err := w.client.DiscoveryV1().EndpointSlices(w.namespace).List(context.Background(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + set})
			now, err2 := w.dynamic.Resource(gvr).Namespace(w.namespace).Get(context.Background(), name, metav1.GetOptions{})
			if err != nil || err2 != nil || now.GetResourceVersion() != u.GetResourceVersion() {
				continue
			}
			checked++
			if len(slices.Items) == 0 || len(slices.Items[0].Endpoints) == 0 {
				w.Errorf("at %s %s points at %s, which does not serve", u.GetResourceVersion(), name, set)
			}
		}
	})
	return func() int {
		stop()
		return checked
	}
}
