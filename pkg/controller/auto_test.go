package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// app creates or updates a Service with that many endpoints, some of them ready.
func (w *world) app(name string, ready, all int) {
	w.Helper()
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{}},
	}
	for i := range all {
		is := i < ready
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprint("10.0.0.", i)}, Conditions: discoveryv1.EndpointConditions{Ready: &is, Serving: &is}})
	}
	slices := w.Client.DiscoveryV1().EndpointSlices(namespace)
	if _, err := slices.Update(w.Context(), slice, metav1.UpdateOptions{}); err == nil {
		return
	}
	_, err := w.Client.CoreV1().Services(namespace).Create(w.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80}}},
	}, metav1.CreateOptions{})
	require.NoError(w, err)
	_, err = slices.Create(w.Context(), slice, metav1.CreateOptions{})
	require.NoError(w, err)
}

// requestsSince lists the requests from a number on, except the test's own.
func (w *world) requestsSince(before int) (sent []string) {
	for _, request := range w.Requests()[before:] {
		if !strings.HasPrefix(request, "get resource ") && !strings.HasPrefix(request, "update endpointslices ") {
			sent = append(sent, request)
		}
	}
	return sent
}

// inAutoWorld runs a test with an Ingress that goes into maintenance automatically, its app up and
// its page serving.
func inAutoWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	inWorld(t, func(w *world) {
		assert.Zero(w, w.services.HeldNamespaces(), "nothing asks for it, and nothing is watched")
		w.app("my-app", 2, 2)
		w.annotate(annotations.Auto, annotations.AutoBackends)
		w.pass(time.Second)
		w.MakePodsReady(w.T, namespace)
		w.pass(time.Minute)
		require.Equal(w, "my-app", w.backend())
		require.Equal(w, 1, w.services.HeldNamespaces())
		test(w)
	})
}

func TestAutoStartsAndEnds(t *testing.T) {
	inAutoWorld(t, func(w *world) {
		sets, err := w.Client.CoreV1().ConfigMaps(namespace).List(w.Context(), metav1.ListOptions{})
		require.NoError(w, err)
		require.Len(w, sets.Items, 1, "its page is kept ready")
		assert.Equal(w, "Ingress/my-app", sets.Items[0].Annotations[annotations.UsedBy])
		w.expectNoRequests(24 * time.Hour)

		before := len(w.Requests())
		for i := range 20 {
			w.app("my-app", 1+i%3, 3)
			w.pass(time.Second)
		}
		assert.Empty(w, w.requestsSince(before), "an endpoint is ready all the time")

		w.app("my-app", 0, 2)
		w.pass(999 * time.Millisecond)
		assert.Equal(w, "my-app", w.backend())
		w.pass(2 * time.Millisecond)
		assert.NotEqual(w, "my-app", w.backend(), "the page has served for long")
		w.pass(3 * time.Second)
		assert.Equal(w, annotations.Active, w.state())
		assert.Equal(w, "began automatically because Service shop/my-app has no ready endpoint", w.get().GetAnnotations()[annotations.Message])
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), "Service shop/my-app has no ready endpoint")
		w.expectNoRequests(5 * time.Minute)

		w.app("my-app", 1, 2)
		w.pass(9 * time.Second)
		assert.NotEqual(w, "my-app", w.backend())
		w.pass(2 * time.Second)
		assert.Equal(w, ingress().Object["spec"], w.get().Object["spec"])
		assert.Equal(w, map[string]string{annotations.Auto: annotations.AutoBackends}, w.get().GetAnnotations())
		w.pass(time.Hour)
		sets, err = w.Client.CoreV1().ConfigMaps(namespace).List(w.Context(), metav1.ListOptions{})
		require.NoError(w, err)
		assert.Len(w, sets.Items, 1, "the backup is deleted, and its page is kept ready")
		w.expectNoRequests(24 * time.Hour)

		w.annotate(annotations.Auto, "")
		w.pass(time.Hour)
		assert.Zero(w, w.services.HeldNamespaces())
		sets, err = w.Client.CoreV1().ConfigMaps(namespace).List(w.Context(), metav1.ListOptions{})
		require.NoError(w, err)
		assert.Empty(w, sets.Items, "it is not needed")
	})
}

// TestFlappingApp: an app stays where it is while it is down for less than AutoFor, and stays on the
// page while it is up for less than AutoRecovery.
func TestFlappingApp(t *testing.T) {
	inAutoWorld(t, func(w *world) {
		flap := func(downFor, upFor time.Duration) (writes int) {
			before := len(w.Requests())
			for range 60 {
				w.app("my-app", 0, 2)
				w.pass(downFor)
				w.app("my-app", 2, 2)
				w.pass(upFor)
			}
			for _, request := range w.requestsSince(before) {
				if strings.HasPrefix(request, "update ingresses") {
					writes++
				}
			}
			return writes
		}
		assert.Zero(w, flap(900*time.Millisecond, 100*time.Millisecond))
		assert.Zero(w, flap(500*time.Millisecond, 500*time.Millisecond))
		assert.Equal(w, "my-app", w.backend())
		assert.LessOrEqual(w, flap(2*time.Second, 2*time.Second), 2, "on the page, and active")
		assert.NotEqual(w, "my-app", w.backend())
		w.pass(10 * time.Second)
		assert.Equal(w, "my-app", w.backend())
	})
}

// TestOnlyOwnServicesCount: Services of other targets do not matter, and targets that share a
// Service all follow it.
func TestOnlyOwnServicesCount(t *testing.T) {
	inAutoWorld(t, func(w *world) {
		w.app("other", 2, 2)
		w.pass(time.Minute)
		before := len(w.Requests())
		for i := range 10 {
			w.app("other", i%2, 2)
			w.pass(5 * time.Second)
		}
		assert.Empty(w, w.requestsSince(before))

		second := ingress()
		second.SetName("second")
		second.SetAnnotations(map[string]string{annotations.Auto: annotations.AutoBackends})
		_, err := w.Dynamic.Resource(target.Ingress().Resource).Namespace(namespace).Create(w.Context(), second, metav1.CreateOptions{})
		require.NoError(w, err)
		w.pass(time.Minute)
		w.app("my-app", 0, 2)
		w.pass(2 * time.Second)
		assert.NotEqual(w, "my-app", w.backend())
		page, err := w.Dynamic.Resource(target.Ingress().Resource).Namespace(namespace).Get(w.Context(), "second", metav1.GetOptions{})
		require.NoError(w, err)
		assert.Equal(w, w.get().Object["spec"], page.Object["spec"])

		require.NoError(w, w.Dynamic.Resource(target.Ingress().Resource).Namespace(namespace).Delete(w.Context(), "second", metav1.DeleteOptions{}))
		require.NoError(w, w.Dynamic.Resource(target.Ingress().Resource).Namespace(namespace).Delete(w.Context(), "my-app", metav1.DeleteOptions{}))
		w.pass(time.Hour)
		assert.Zero(w, w.services.HeldNamespaces(), "deleted targets watch nothing")
		left, err := w.Client.CoreV1().ConfigMaps(namespace).List(w.Context(), metav1.ListOptions{})
		require.NoError(w, err)
		assert.Empty(w, left.Items)
	})
}

func TestRestoreTimesOut(t *testing.T) {
	inAutoWorld(t, func(w *world) {
		w.app("my-app", 0, 2)
		w.pass(9 * time.Minute)
		require.NotEqual(w, "my-app", w.backend())
		w.pass(2 * time.Minute)
		assert.Equal(w, "my-app", w.backend(), "although it is not ready")
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), "Warning RestoreTimedOut")
		w.expectNoRequests(24 * time.Hour)
		assert.Equal(w, "my-app", w.backend())
		w.app("my-app", 1, 2)
		w.pass(11 * time.Second)
		assert.Equal(w, map[string]string{annotations.Auto: annotations.AutoBackends}, w.get().GetAnnotations())
		w.app("my-app", 0, 2)
		w.pass(2 * time.Second)
		assert.NotEqual(w, "my-app", w.backend(), "automatic maintenance is possible again")
	})
}

func TestRestoreWaitsForReadiness(t *testing.T) {
	inWorld(t, func(w *world) {
		w.app("my-app", 0, 2)
		w.annotate(annotations.RestoreWhen, annotations.RestoreReady)
		w.pass(time.Minute)
		assert.Zero(w, w.services.HeldNamespaces(), "nothing waits yet")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		w.MakePodsReady(w.T, namespace)
		w.pass(time.Minute)
		require.Equal(w, annotations.Active, w.state())
		w.annotate(annotations.DefaultEnabled, "")
		w.pass(time.Second)
		assert.Equal(w, annotations.Restoring, w.state())
		assert.Contains(w, w.get().GetAnnotations()[annotations.Message], "Service shop/my-app is ready: it has no ready endpoint")
		w.expectNoRequests(9 * time.Minute)
		w.app("my-app", 1, 2)
		w.pass(900 * time.Millisecond)
		assert.NotEqual(w, "my-app", w.backend(), "not for the lead time")
		w.pass(200 * time.Millisecond)
		assert.Equal(w, ingress().Object["spec"], w.get().Object["spec"])
		assert.Equal(w, map[string]string{annotations.RestoreWhen: annotations.RestoreReady}, w.get().GetAnnotations())
		w.pass(time.Hour)
		assert.Zero(w, w.services.HeldNamespaces())
		assert.NotContains(w, strings.Join(w.newEvents(), "\n"), "RestoreTimedOut")
	})
}

// TestDoorsStayUntilReady: while the restore waits, people who get through keep their access and
// others do not get any, even if the bypass is removed.
func TestDoorsStayUntilReady(t *testing.T) {
	for name, ends := range map[string]func(w *world){
		"a person's end": func(w *world) { w.annotate(annotations.DefaultEnabled, "") },
		"and without paths": func(w *world) {
			w.annotate(annotations.DefaultEnabled, "")
			w.annotate(annotations.OpenPaths, "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.app("my-app", 0, 2)
				w.annotate(annotations.OpenPaths, "/admin")
				w.annotate(annotations.RestoreWhen, annotations.RestoreReady)
				w.annotate(annotations.DefaultEnabled, "true")
				w.pass(time.Second)
				w.MakePodsReady(w.T, namespace)
				w.pass(time.Minute)
				require.Equal(w, annotations.Active, w.state())
				before := w.get().Object["spec"]
				require.Contains(w, fmt.Sprint(before), "number:8101")
				ends(w)
				w.pass(time.Minute)
				assert.Equal(w, annotations.Restoring, w.state())
				assert.Equal(w, before, w.get().Object["spec"])
				w.expectNoRequests(8 * time.Minute)
				w.app("my-app", 1, 2)
				w.pass(2 * time.Second)
				assert.Equal(w, ingress().Object["spec"], w.get().Object["spec"])
			})
		})
	}
}

// TestAutoCheckerWithoutCheckers: maintenance does not wait for checkers that are switched off.
func TestAutoCheckerWithoutCheckers(t *testing.T) {
	inWorld(t, func(w *world) {
		w.annotate(annotations.Auto, annotations.AutoChecker)
		w.annotate(annotations.Checker, "shop")
		w.switchOn()
		w.annotate(annotations.DefaultEnabled, "")
		w.pass(time.Second)
		assert.Equal(w, "my-app", w.backend())
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), "this controller runs with --service-checkers=false")
	})
}

func TestAutoDisabled(t *testing.T) {
	c := &Controller{config: Config{Keys: annotations.DefaultKeys()}}
	req, problems := c.parse(map[string]string{annotations.Auto: annotations.AutoBackends, annotations.RestoreWhen: annotations.RestoreReady})
	assert.Equal(t, annotations.Automation{}, req.Automation)
	require.Len(t, problems, 1)
	assert.Contains(t, problems[0].Message, "--auto=false")
	_, problems = c.parse(map[string]string{annotations.DefaultEnabled: "true"})
	assert.Empty(t, problems)
}
