package apiserver

import (
	"context"
	"sync"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"maintenance-controller.io/e2e/revisions"
	"maintenance-controller.io/pkg/annotations"
)

// watchRevisions calls look for every revision of an object from now on. The returned
// function ends the watch and returns the number of revisions.
func (env *testEnv) watchRevisions(gvr schemaGVR, name string, look func(*unstructured.Unstructured)) (seen func() int) {
	env.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := env.dynamic.Resource(gvr).Namespace(env.namespace).Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	require.NoError(env, err)
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
	env.Cleanup(func() { stop() })
	return stop
}

// servingCheck is the result of checkServing.
type servingCheck struct {
	*testEnv
	name string
	sets chan string // of the revisions that were checked
}

// checkServing checks at each revision of a target that its page set has a Service with an
// endpoint. It skips a revision that is outdated when the endpoints have been read, so a
// test that needs a certain revision must wait for its check.
func (env *testEnv) checkServing(gvr schemaGVR, name string) *servingCheck {
	env.Helper()
	s := &servingCheck{testEnv: env, name: name, sets: make(chan string, 1000)}
	env.watchRevisions(gvr, name, func(u *unstructured.Unstructured) {
		for _, set := range pageSetsOf(u) {
			endpoints, err := env.client.DiscoveryV1().EndpointSlices(env.namespace).List(context.Background(), metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + set})
			now, err2 := env.dynamic.Resource(gvr).Namespace(env.namespace).Get(context.Background(), name, metav1.GetOptions{})
			if err != nil || err2 != nil || now.GetResourceVersion() != u.GetResourceVersion() {
				continue
			}
			if len(endpoints.Items) == 0 || len(endpoints.Items[0].Endpoints) == 0 {
				env.Errorf("at %s %s leads to %s, which does not serve", u.GetResourceVersion(), name, set)
			}
			select {
			case s.sets <- set:
			default: // so many that no test waits for this one
			}
		}
	})
	return s
}

// waitForCheckOf returns once a revision on this set was checked.
func (s *servingCheck) waitForCheckOf(set string) {
	s.Helper()
	for patient := time.After(waitTimeout); ; {
		select {
		case checked := <-s.sets:
			if checked == set {
				return
			}
		case <-patient:
			s.Fatalf("timed out: no revision of %s on %s was checked", s.name, set)
		}
	}
}

// countPods counts the page Pods that are created until made is called.
func (env *testEnv) countPods() (made func() int) {
	env.Helper()
	stream, err := env.dynamic.Resource(pods).Namespace(env.namespace).Watch(env.Context(), metav1.ListOptions{LabelSelector: annotations.PageSetLabel})
	require.NoError(env, err)
	n := make(chan int, 1)
	go func() {
		count := 0
		for e := range stream.ResultChan() {
			if e.Type == "ADDED" {
				count++
			}
		}
		n <- count
	}()
	return func() int {
		stream.Stop()
		return <-n
	}
}

// fewestReadyPods watches the page Pods until the returned function is called. That returns
// the lowest number of ready Pods.
func (env *testEnv) fewestReadyPods() (fewest func() int) {
	env.Helper()
	list, err := env.dynamic.Resource(pods).Namespace(env.namespace).List(env.Context(), metav1.ListOptions{LabelSelector: annotations.PageSetLabel})
	require.NoError(env, err)
	stream, err := env.dynamic.Resource(pods).Namespace(env.namespace).Watch(env.Context(), metav1.ListOptions{LabelSelector: annotations.PageSetLabel, ResourceVersion: list.GetResourceVersion()})
	require.NoError(env, err)
	ready := map[string]bool{}
	for i := range list.Items {
		ready[list.Items[i].GetName()] = podReady(&list.Items[i])
	}
	least := make(chan int, 1)
	go func() {
		n := len(list.Items)
		for e := range stream.ResultChan() {
			if u, ok := e.Object.(*unstructured.Unstructured); ok {
				ready[u.GetName()] = podReady(u) && e.Type != "DELETED"
				now := 0
				for _, is := range ready {
					if is {
						now++
					}
				}
				n = min(n, now)
			}
		}
		least <- n
	}()
	return func() int {
		stream.Stop()
		return <-least
	}
}

// everyRevision calls look for every revision of every object of a resource, one at a time
// and across broken connections, until ctx ends. It fails the test if it cannot do that.
func (env *testEnv) everyRevision(ctx context.Context, gvr schemaGVR, look func(watch.EventType, *unstructured.Unstructured)) *revisions.Stream {
	env.Helper()
	s, err := revisions.Follow(ctx, revisions.Config{Client: env.dynamic, Resource: gvr, Namespace: env.namespace, OnRevision: look, OnGap: env.reportMissed})
	require.NoError(env, err)
	return s
}

// reportMissed fails the test because of missed revisions, unless the test stops the API server.
func (env *testEnv) reportMissed(err error) {
	if env.apiServerRestarts.Load() {
		env.Logf("starts again: %v", err)
		return
	}
	env.Error(err)
}
