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

// scene is a Watcher at work on a cluster whose watches a test can end.
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
	s.watcher.Notify(func(namespace, service string) {
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

// watching gives watches that the test can end, of which the tracker is told.
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

// cut ends all watches, and refuses others until it is told nil.
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

// events gives what was told since, once all is still.
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

// slice says that so many endpoints of a Service are ready.
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

// TestOnlyWhatIsHeldIsWatched: a namespace is watched while somebody holds it, once, and
// whoever gives it back twice takes it from nobody.
func TestOnlyWhatIsHeldIsWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.service("shop", "my-app")
		s.slice("shop", "my-app", 2)
		assert.Zero(t, s.open())
		assert.Equal(t, "is not watched", s.watcher.Of("shop", "my-app", anyPort).Message)
		one, two := s.watcher.Acquire("shop"), s.watcher.Acquire("shop")
		time.Sleep(time.Second)
		assert.Equal(t, 2, s.open(), "Services and EndpointSlices")
		assert.Equal(t, []string{"shop/"}, s.events(), "all of them are known now, told once")
		assert.Equal(t, 2, s.watcher.Of("shop", "my-app", anyPort).Ready)
		assert.False(t, s.watcher.Of("other", "my-app", anyPort).Known)
		one()
		one()
		assert.Equal(t, 1, s.watcher.Held())
		assert.True(t, s.watcher.Of("shop", "my-app", anyPort).Known)
		two()
		assert.Zero(t, s.open())
		assert.Zero(t, s.watcher.Held())
		assert.False(t, s.watcher.Of("shop", "my-app", anyPort).Known)
	})
}

// TestChangesAreTold: what a State shows is told when it changes, and nothing else.
func TestChangesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		defer s.watcher.Acquire("shop")()
		s.service("shop", "my-app")
		s.slice("shop", "my-app", 0)
		time.Sleep(time.Second)
		s.events()
		began := s.watcher.Of("shop", "my-app", anyPort)
		assert.Equal(t, "has no endpoints: no Pod that its selector matches is there", began.Message)
		time.Sleep(time.Minute)
		s.slice("shop", "my-app", 0)
		assert.Empty(t, s.events(), "nothing changed but its version")
		s.slice("shop", "my-app", 1)
		assert.Contains(t, s.events(), "shop/my-app")
		up := s.watcher.Of("shop", "my-app", anyPort)
		assert.Equal(t, 1, up.Ready)
		assert.Equal(t, began.Since.Add(time.Minute), up.Since)
		time.Sleep(time.Minute)
		s.slice("shop", "my-app", 3)
		s.events()
		assert.Equal(t, up.Since, s.watcher.Of("shop", "my-app", anyPort).Since, "it has been ready all the time")
		// Away and back before anybody asks: it has not been ready since then.
		s.slice("shop", "my-app", 0)
		s.events()
		s.slice("shop", "my-app", 3)
		s.events()
		assert.Equal(t, up.Since.Add(time.Minute), s.watcher.Of("shop", "my-app", anyPort).Since)
		require.NoError(t, s.Client.CoreV1().Services("shop").Delete(t.Context(), "my-app", metav1.DeleteOptions{}))
		assert.Contains(t, s.events(), "shop/my-app")
		assert.Equal(t, "does not exist", s.watcher.Of("shop", "my-app", anyPort).Message)
	})
}

// TestUnknownWhileTheWatchIsBroken: what was seen counts on for 5s without a watch, and not
// longer; a new watch makes it known again, and both are told.
func TestUnknownWhileTheWatchIsBroken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		defer s.watcher.Acquire("shop")()
		s.service("shop", "my-app")
		s.slice("shop", "my-app", 1)
		time.Sleep(2 * time.Second)
		require.Equal(t, "", s.watcher.Of("shop", "my-app", anyPort).Message)
		s.events()

		s.cut(errors.New("connection lost"))
		time.Sleep(4900 * time.Millisecond)
		assert.True(t, s.watcher.Of("shop", "my-app", anyPort).Known, "a watch that ends is nothing odd")
		assert.Empty(t, s.events())
		time.Sleep(200 * time.Millisecond)
		state := s.watcher.Of("shop", "my-app", anyPort)
		assert.False(t, state.Known)
		assert.Equal(t, "is not known, since its namespace cannot be watched: connection lost", state.Message)
		assert.Contains(t, s.events(), "shop/")

		s.slice("shop", "my-app", 0)
		time.Sleep(time.Hour)
		assert.Empty(t, s.events(), "it stays unknown")
		s.cut(nil)
		time.Sleep(2 * time.Minute) // client-go tries again within one
		state = s.watcher.Of("shop", "my-app", anyPort)
		assert.True(t, state.Known, state.Message)
		assert.Zero(t, state.Ready, "and what came meanwhile is seen")
		assert.Contains(t, s.events(), "shop/")
		time.Sleep(time.Hour)
		assert.Empty(t, s.events())
	})
}

// TestForbidden: who may not read the namespace is told that.
func TestForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.Client.PrependReactor("list", "endpointslices", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("endpointslices is forbidden")
		})
		defer s.watcher.Acquire("shop")()
		time.Sleep(time.Minute)
		state := s.watcher.Of("shop", "my-app", anyPort)
		assert.False(t, state.Known)
		assert.Contains(t, state.Message, "cannot be watched: endpointslices is forbidden")
	})
}

// TestWhatNobodyAsksForIsForgotten: lists of Services that are edited for days leave
// nothing behind, and what is asked for keeps its time.
func TestWhatNobodyAsksForIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		defer s.watcher.Acquire("shop")()
		time.Sleep(2 * time.Second)
		first := s.watcher.Of("shop", "my-app", anyPort).Since
		for i := range 10_000 {
			s.watcher.Of("shop", fmt.Sprintf("app-%d", i), anyPort)
			time.Sleep(10 * time.Second)
			assert.Equal(t, first, s.watcher.Of("shop", "my-app", anyPort).Since)
		}
		assert.Less(t, s.watcher.Asked("shop"), 1000)
	})
}
