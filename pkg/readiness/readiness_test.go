package readiness_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	clienttesting "k8s.io/client-go/testing"

	"maintenance-controller.io/pkg/kubetest"
	"maintenance-controller.io/pkg/readiness"
)

var anyPort = intstr.IntOrString{}

// scene is a running Watcher on a cluster whose watches a test can end.
type scene struct {
	*testing.T
	*kubetest.Cluster
	watcher *readiness.Watcher

	mu      sync.Mutex
	told    []string
	watches []*watch.RaceFreeFakeWatcher
	broken  error
}

func newScene(t *testing.T) *scene {
	t.Helper()
	c := kubetest.New(t)
	s := &scene{T: t, Cluster: c, watcher: readiness.New(readiness.Config{Client: c.Client, Log: zap.NewNop()})}
	c.Client.PrependWatchReactor("*", s.watching)
	s.watcher.OnChange(func(namespace, service string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.told = append(s.told, namespace+"/"+service)
	})
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { s.watcher.Run(ctx) })
	t.Cleanup(func() { cancel(); done.Wait() })
	return s
}

// acquire holds a namespace and waits until it is watched: a fake API server shows nothing that is
// created between a list and its watch.
func (s *scene) acquire(namespace string) (release func()) {
	release = s.watcher.Acquire(namespace)
	synctest.Wait()
	return release
}

// watching returns watches that the test can end.
func (s *scene) watching(a clienttesting.Action) (bool, watch.Interface, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return true, nil, s.broken
	}
	inner, err := s.Client.Tracker().Watch(a.GetResource(), a.GetNamespace())
	if err != nil {
		return true, nil, err
	}
	outer := watch.NewRaceFreeFake()
	go func() {
		defer inner.Stop()
		for {
			select {
			case e := <-inner.ResultChan():
				outer.Action(e.Type, e.Object)
			case <-s.Context().Done():
				return
			}
		}
	}()
	s.watches = append(s.watches, outer)
	return true, outer, nil
}

// cut ends all watches and refuses new ones; nil allows them again.
func (s *scene) cut(err error) {
	s.mu.Lock()
	s.broken = err
	all := s.watches
	s.watches = nil
	s.mu.Unlock()
	if err != nil {
		for _, w := range all {
			w.Stop()
		}
	}
}

// events returns what was reported since the last call, once everything is idle.
func (s *scene) events() []string {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.told
	s.told = nil
	return told
}

func (s *scene) open() int {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, w := range s.watches {
		if !w.IsStopped() {
			n++
		}
	}
	return n
}

func (s *scene) service(namespace, name string) {
	s.Helper()
	_, err := s.Client.CoreV1().Services(namespace).Create(s.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.0.0.1", Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	require.NoError(s, err)
}

// slice creates or updates a slice with that many ready endpoints.
func (s *scene) slice(namespace, of string, ready int) {
	s.Helper()
	none := ""
	es := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: of, Labels: map[string]string{discoveryv1.LabelServiceName: of}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &none}},
	}
	for i := range ready {
		es.Endpoints = append(es.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.1.0.%d", i)}})
	}
	client := s.Client.DiscoveryV1().EndpointSlices(namespace)
	_, err := client.Create(s.Context(), es, metav1.CreateOptions{})
	if err != nil {
		_, err = client.Update(s.Context(), es, metav1.UpdateOptions{})
	}
	require.NoError(s, err)
}

// TestOnlyHeldNamespacesAreWatched: a namespace is watched once while somebody holds it, and calling
// release twice affects no other holder.
func TestOnlyHeldNamespacesAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.service("shop", "my-app")
		s.slice("shop", "my-app", 2)
		assert.Zero(t, s.open())
		assert.Equal(t, "is not watched", s.watcher.State("shop", "my-app", anyPort).Message)
		one, two := s.watcher.Acquire("shop"), s.watcher.Acquire("shop")
		time.Sleep(time.Second)
		assert.Equal(t, 2, s.open(), "Services and EndpointSlices")
		assert.Equal(t, []string{"shop/"}, s.events(), "all of them are known now, reported once")
		assert.Equal(t, 2, s.watcher.State("shop", "my-app", anyPort).Ready)
		assert.False(t, s.watcher.State("other", "my-app", anyPort).Known)
		one()
		one()
		assert.Equal(t, 1, s.watcher.HeldNamespaces())
		assert.True(t, s.watcher.State("shop", "my-app", anyPort).Known)
		two()
		assert.Zero(t, s.open())
		assert.Zero(t, s.watcher.HeldNamespaces())
		assert.False(t, s.watcher.State("shop", "my-app", anyPort).Known)
	})
}

// TestOnChange: a change is reported if a State shows it, and otherwise not.
func TestOnChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		defer s.acquire("shop")()
		s.service("shop", "my-app")
		s.slice("shop", "my-app", 0)
		time.Sleep(time.Second)
		s.events()
		began := s.watcher.State("shop", "my-app", anyPort)
		assert.Equal(t, "has no endpoints: its selector matches no Pod", began.Message)
		time.Sleep(time.Minute)
		s.slice("shop", "my-app", 0)
		assert.Empty(t, s.events(), "nothing changed but its version")
		s.slice("shop", "my-app", 1)
		assert.Contains(t, s.events(), "shop/my-app")
		up := s.watcher.State("shop", "my-app", anyPort)
		assert.Equal(t, 1, up.Ready)
		assert.Equal(t, began.Since.Add(time.Minute), up.Since)
		time.Sleep(time.Minute)
		s.slice("shop", "my-app", 3)
		s.events()
		assert.Equal(t, up.Since, s.watcher.State("shop", "my-app", anyPort).Since, "it has been ready all the time")
		// Gone and back before anybody asks: it has not been ready all the time.
		s.slice("shop", "my-app", 0)
		s.events()
		s.slice("shop", "my-app", 3)
		s.events()
		assert.Equal(t, up.Since.Add(time.Minute), s.watcher.State("shop", "my-app", anyPort).Since)
		require.NoError(t, s.Client.CoreV1().Services("shop").Delete(t.Context(), "my-app", metav1.DeleteOptions{}))
		assert.Contains(t, s.events(), "shop/my-app")
		assert.Equal(t, "does not exist", s.watcher.State("shop", "my-app", anyPort).Message)
	})
}

// TestLaggingSlicesKeepTheState: when a Service is swapped or restored, its EndpointSlices lag for a
// moment, in which the state from before counts, for 5s.
func TestLaggingSlicesKeepTheState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		defer s.acquire("shop")()
		s.service("shop", "my-app")
		synctest.Wait()
		assert.Equal(t, "has no EndpointSlices yet", s.watcher.State("shop", "my-app", anyPort).Message, "there is no state from before")
		s.slice("shop", "my-app", 2)
		time.Sleep(time.Second)
		up := s.watcher.State("shop", "my-app", anyPort)
		require.Equal(t, 2, up.Ready)

		remove := func() {
			require.NoError(t, s.Client.DiscoveryV1().EndpointSlices("shop").Delete(t.Context(), "my-app", metav1.DeleteOptions{}))
			synctest.Wait()
		}
		remove()
		assert.Equal(t, up, s.watcher.State("shop", "my-app", anyPort))
		time.Sleep(4 * time.Second)
		s.slice("shop", "my-app", 1)
		synctest.Wait()
		now := s.watcher.State("shop", "my-app", anyPort)
		assert.Equal(t, 1, now.Ready)
		assert.Equal(t, up.Since, now.Since, "it has been ready all the time")

		remove()
		time.Sleep(4900 * time.Millisecond)
		assert.Equal(t, now, s.watcher.State("shop", "my-app", anyPort))
		s.events()
		time.Sleep(200 * time.Millisecond)
		assert.Equal(t, []string{"shop/my-app"}, s.events(), "that it is unknown is reported, although nothing happens")
		unknown := s.watcher.State("shop", "my-app", anyPort)
		assert.False(t, unknown.Known)
		assert.Equal(t, "has no EndpointSlices yet", unknown.Message)
		time.Sleep(time.Minute)
		assert.Equal(t, unknown, s.watcher.State("shop", "my-app", anyPort), "it stays unknown")
	})
}

// TestUnknownWhileWatchIsBroken: without a watch the last state counts for 5s. A new watch makes it
// known again, and both changes are reported.
func TestUnknownWhileWatchIsBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		defer s.acquire("shop")()
		s.service("shop", "my-app")
		s.slice("shop", "my-app", 1)
		time.Sleep(2 * time.Second)
		require.Equal(t, "", s.watcher.State("shop", "my-app", anyPort).Message)
		s.events()

		s.cut(errors.New("connection lost"))
		time.Sleep(4900 * time.Millisecond)
		assert.True(t, s.watcher.State("shop", "my-app", anyPort).Known, "watches end all the time")
		assert.Empty(t, s.events())
		time.Sleep(200 * time.Millisecond)
		state := s.watcher.State("shop", "my-app", anyPort)
		assert.False(t, state.Known)
		assert.Equal(t, "is unknown because its namespace cannot be watched: connection lost", state.Message)
		assert.Contains(t, s.events(), "shop/")

		s.slice("shop", "my-app", 0)
		time.Sleep(time.Hour)
		assert.Empty(t, s.events(), "it stays unknown")
		s.cut(nil)
		time.Sleep(2 * time.Minute) // client-go retries within one
		state = s.watcher.State("shop", "my-app", anyPort)
		assert.True(t, state.Known, state.Message)
		assert.Zero(t, state.Ready, "and changes in between are seen")
		assert.Contains(t, s.events(), "shop/")
		time.Sleep(time.Hour)
		assert.Empty(t, s.events())
	})
}

// TestForbidden: the message gives the reason.
func TestForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.Client.PrependReactor("list", "endpointslices", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("endpointslices is forbidden")
		})
		defer s.acquire("shop")()
		time.Sleep(time.Minute)
		state := s.watcher.State("shop", "my-app", anyPort)
		assert.False(t, state.Known)
		assert.Contains(t, state.Message, "cannot be watched: endpointslices is forbidden")
	})
}

// TestUnaskedServicesAreForgotten: lists of Services that are edited for days leave nothing behind,
// and a Service that is asked for keeps its time.
func TestUnaskedServicesAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		defer s.acquire("shop")()
		time.Sleep(2 * time.Second)
		first := s.watcher.State("shop", "my-app", anyPort).Since
		for i := range 10_000 {
			s.watcher.State("shop", fmt.Sprintf("app-%d", i), anyPort)
			time.Sleep(10 * time.Second)
			assert.Equal(t, first, s.watcher.State("shop", "my-app", anyPort).Since)
		}
		assert.Less(t, s.watcher.RecordCount("shop"), 1000)
	})
}
