package controller

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
)

func (w *world) service(name string, change ...func(*corev1.Service)) {
	w.Helper()
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Name: "web", Port: 80}}}}
	for _, c := range change {
		c(svc)
	}
	_, err := w.Client.CoreV1().Services(namespace).Create(w.Context(), svc, metav1.CreateOptions{})
	require.NoError(w, err)
}

// setBackends writes the backends of the Ingress's paths, as a person does.
func (w *world) setBackends(backends ...string) {
	w.Helper()
	u := w.get()
	var paths []any
	for i, name := range backends {
		b := map[string]any{"service": map[string]any{"name": name, "port": map[string]any{"number": int64(80)}}}
		if set, port, ok := strings.Cut(name, ":"); ok {
			var n int64
			_, err := fmt.Sscan(port, &n)
			require.NoError(w, err)
			b["service"] = map[string]any{"name": set, "port": map[string]any{"number": n}}
		}
		paths = append(paths, map[string]any{"path": fmt.Sprintf("/%d", i), "pathType": "Prefix", "backend": b})
	}
	u.Object["spec"] = map[string]any{"rules": []any{map[string]any{"http": map[string]any{"paths": paths}}}}
	u.SetGeneration(u.GetGeneration() + 1)
	_, err := w.Dynamic.Resource(target.Ingress().Resource).Namespace(namespace).Update(w.Context(), u, metav1.UpdateOptions{})
	require.NoError(w, err)
}

// backends lists the backends of the paths as name:port.
func (w *world) backends() (all []string) {
	w.Helper()
	rules, _, err := unstructured.NestedSlice(w.get().Object, "spec", "rules")
	require.NoError(w, err)
	paths, _, _ := unstructured.NestedSlice(rules[0].(map[string]any), "http", "paths")
	for _, p := range paths {
		service, _, _ := unstructured.NestedMap(p.(map[string]any), "backend", "service")
		all = append(all, fmt.Sprintf("%s:%d", service["name"], service["port"].(map[string]any)["number"]))
	}
	return all
}

// settings returns the target's page set and its settings.
func (w *world) settings() (string, access.Settings) {
	w.Helper()
	set := w.get().GetAnnotations()[annotations.PageSet]
	cm, err := w.Client.CoreV1().ConfigMaps(namespace).Get(w.Context(), set, metav1.GetOptions{})
	require.NoError(w, err)
	return set, pageset.Settings(cm)
}

func (w *world) countReads(name string) (n int) {
	for _, request := range w.Requests() {
		if request == "get services "+namespace+"/"+name {
			n++
		}
	}
	return n
}

// TestDoorsPerBackend: each backend leads to the door of its app. A backend that is written during
// maintenance stays on the page until the page set that has its door serves, and Services are read
// once.
func TestDoorsPerBackend(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("a")
		w.service("b")
		w.setBackends("b", "a", "b")
		w.annotate(annotations.OpenPaths, "/admin")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		w.MakePodsReady(w.T, namespace)
		w.pass(time.Minute)
		require.Equal(w, annotations.Active, w.state())
		reads := w.countReads("b")
		first, settings := w.settings()
		assert.Equal(w, []string{first + ":8102", first + ":8101", first + ":8102"}, w.backends())
		assert.Equal(w, []string{"a.shop.svc", "b.shop.svc"}, []string{settings.Doors[0].Host, settings.Doors[1].Host})
		svc, err := w.Client.CoreV1().Services(namespace).Get(w.Context(), first, metav1.GetOptions{})
		require.NoError(w, err)
		assert.Len(w, svc.Spec.Ports, 3)
		w.expectNoRequests(23 * time.Hour)

		// Another app is written during maintenance, for which no page set has a door yet.
		w.service("c")
		w.setBackends(first+":8102", "c", first+":8102")
		w.pass(time.Minute)
		assert.Equal(w, []string{first + ":8102", first + ":80", first + ":8102"}, w.backends(), "the app stays behind the page")
		assert.Equal(w, first, w.get().GetAnnotations()[annotations.PageSet])
		w.MakePodsReady(w.T, namespace)
		w.pass(time.Minute)
		second, settings := w.settings()
		require.NotEqual(w, first, second)
		assert.Equal(w, []string{second + ":8101", second + ":8102", second + ":8101"}, w.backends())
		assert.Equal(w, []string{"b.shop.svc", "c.shop.svc"}, []string{settings.Doors[0].Host, settings.Doors[1].Host})
		assert.Equal(w, reads, w.countReads("b"), "it is not read again")
		w.pass(3 * time.Minute) // the first page set is deleted
		w.expectNoRequests(30 * time.Minute)

		w.annotate(annotations.DefaultEnabled, "")
		w.pass(time.Second)
		assert.Equal(w, []string{"b:80", "c:80", "b:80"}, w.backends())
		assert.Equal(w, map[string]string{annotations.OpenPaths: "/admin"}, w.get().GetAnnotations())
		w.pass(48 * time.Hour)
		w.expectNoRequests(24 * time.Hour)
	})
}

// TestBypassSettingsCanChange: removing the bypass leads back to the page set without doors.
func TestBypassSettingsCanChange(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("a")
		w.setBackends("a")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		w.MakePodsReady(w.T, namespace)
		w.pass(time.Minute)
		plain := w.get().GetAnnotations()[annotations.PageSet]
		assert.Equal(w, []string{plain + ":80"}, w.backends())

		w.annotate(annotations.ReadOnly, "true")
		w.pass(time.Second)
		w.MakePodsReady(w.T, namespace)
		w.pass(time.Minute)
		kept, settings := w.settings()
		assert.True(w, settings.ReadOnly)
		assert.Equal(w, []string{kept + ":8101"}, w.backends())

		w.newEvents()
		w.annotate(annotations.ReadOnly, "")
		w.pass(time.Minute)
		assert.Equal(w, []string{plain + ":80"}, w.backends(), "it still existed")
		assert.NotContains(w, strings.Join(w.newEvents(), "\n"), "Warning", "leaving a door does not count as an edit")
		w.pass(3 * time.Minute)
		w.expectNoRequests(time.Hour)
	})
}

// TestAppsWithoutADoor: apps that cannot have a door stay behind the page, an Event says so, and the
// others have doors.
func TestAppsWithoutADoor(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("a")
		w.service("out", func(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeExternalName })
		w.setBackends("a", "out", "gone")
		w.annotate(annotations.BypassSecret, "team")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		w.MakePodsReady(w.T, namespace)
		w.pass(time.Minute)
		set := w.get().GetAnnotations()[annotations.PageSet]
		assert.Equal(w, []string{set + ":8101", set + ":80", set + ":80"}, w.backends())
		told := strings.Join(w.newEvents(), "\n")
		assert.Contains(w, told, `Warning BypassUnavailable the bypass does not reach the app of "Prefix /1": Service out is an ExternalName`)
		assert.Contains(w, told, `Warning BypassUnavailable the bypass does not reach the app of "Prefix /2": there is no Service gone`)
		before, sent := w.countReads("gone"), len(w.Requests())
		w.pass(time.Hour)
		assert.InDelta(w, 13, w.countReads("gone")-before, 3, "it is looked up now and then")
		for _, request := range w.Requests()[sent:] {
			assert.Regexp(w, "^get ", request, "and nothing is written")
		}
		assert.Empty(w, w.newEvents())

		// A Service that is created is found, although nobody touches the target.
		w.service("gone")
		w.pass(maxServiceRetry + time.Second)
		w.MakePodsReady(w.T, namespace)
		w.pass(time.Minute)
		next, settings := w.settings()
		assert.Len(w, settings.Doors, 2)
		assert.Equal(w, []string{next + ":8101", next + ":80", next + ":8102"}, w.backends())
		w.pass(5 * time.Minute)
		w.expectNoRequests(time.Hour)
	})
}

// TestServiceBrieflyDeleted: a Service that is recreated, such as when a release is reinstalled,
// keeps its door.
func TestServiceBrieflyDeleted(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("a")
		w.setBackends("a")
		w.annotate(annotations.OpenPaths, "/admin")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		w.MakePodsReady(w.T, namespace)
		w.assignPodIPs()
		w.pass(10 * time.Second)
		set := w.get().GetAnnotations()[annotations.PageSet]
		require.Equal(w, []string{set + ":8101"}, w.backends())

		require.NoError(w, w.Client.CoreV1().Services(namespace).Delete(w.Context(), "a", metav1.DeleteOptions{}))
		w.summary.Store(&access.Summary{PageSet: set, Doors: []access.DoorState{{Name: "d1", Unreachable: "no such host"}}})
		w.pass(2 * time.Minute)
		assert.Equal(w, []string{set + ":8101"}, w.backends())
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), "Warning BypassFailing the app at a.shop.svc:80 cannot be reached")

		w.service("a")
		w.summary.Store(&access.Summary{PageSet: set, Doors: []access.DoorState{{Name: "d1"}}})
		w.pass(time.Minute)
		now, settings := w.settings()
		assert.Equal(w, set, now)
		assert.Len(w, settings.Doors, 1)
		assert.Equal(w, []string{set + ":8101"}, w.backends())
		w.expectNoRequests(time.Hour)
	})
}

// assignPodIPs assigns addresses to the page Pods, as the kubelet does.
func (w *world) assignPodIPs() {
	w.Helper()
	pods, err := w.Client.CoreV1().Pods(namespace).List(w.Context(), metav1.ListOptions{})
	require.NoError(w, err)
	for i := range pods.Items {
		pods.Items[i].Status.PodIP = fmt.Sprintf("10.0.0.%d", i+1)
		_, err := w.Client.CoreV1().Pods(namespace).Update(w.Context(), &pods.Items[i], metav1.UpdateOptions{})
		require.NoError(w, err)
	}
}

// TestPagePodReports: the target shows who was let through, a problem is reported once while it
// lasts, and an app that cannot be reached is looked up again.
func TestPagePodReports(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("a")
		w.setBackends("a")
		w.annotate(annotations.BypassSecret, "team")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		w.MakePodsReady(w.T, namespace)
		w.assignPodIPs()
		w.pass(10 * time.Second)
		require.Equal(w, annotations.Active, w.state())
		set := w.get().GetAnnotations()[annotations.PageSet]
		w.newEvents()
		seen := func() string { return w.get().GetAnnotations()[annotations.AccessReport] }
		assert.Empty(w, seen())

		said := access.Summary{PageSet: set, Secret: access.Secret{Name: "team", Missing: true}}
		say := func(s access.Summary) { w.summary.Store(&s) }
		say(said)
		w.pass(20 * time.Second)
		assert.Contains(w, seen(), "nobody has been let through yet; there is no Secret team")
		assert.Equal(w, annotations.Active, w.state())
		assert.Empty(w, w.get().GetAnnotations()[annotations.Message])
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), "Warning BypassFailing there is no Secret team")
		w.expectNoRequests(time.Hour)
		assert.Empty(w, w.newEvents(), "it is reported once")

		said.Secret = access.Secret{Name: "team", Tokens: 1}
		said.Holders = map[string]access.Holder{"alice": {Requests: 1}}
		said.Through = map[access.By]uint64{access.ByHeader: 1}
		say(said)
		w.pass(20 * time.Second)
		assert.Equal(w, "let through by token or link: alice", seen())
		w.expectNoRequests(time.Hour)
		said.Holders = map[string]access.Holder{"alice": {Requests: 1000}}
		say(said)
		w.expectNoRequests(time.Hour)

		// The app moves to another port; the page Pods cannot reach it, and the controller finds it.
		require.NoError(w, w.Client.CoreV1().Services(namespace).Delete(w.Context(), "a", metav1.DeleteOptions{}))
		w.service("a", func(svc *corev1.Service) { svc.Spec.Ports[0].AppProtocol = ptr.To("https") })
		said.Doors = []access.DoorState{{Name: "d1", Unreachable: "connection refused"}}
		say(said)
		w.pass(20 * time.Second)
		w.MakePodsReady(w.T, namespace)
		w.pass(10 * time.Second)
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), "Warning BypassFailing the app at a.shop.svc:80 cannot be reached from the page Pods (connection refused)")
		next, settings := w.settings()
		require.NotEqual(w, set, next)
		assert.Equal(w, access.HTTPS, settings.Doors[0].Scheme)

		w.annotate(annotations.DefaultEnabled, "")
		w.pass(time.Second)
		assert.Empty(w, seen())
		w.pass(5 * time.Minute)
		w.expectNoRequests(time.Hour)
	})
}

// TestDoorToServiceInMaintenance: the app is reached through the origin Service.
func TestDoorToServiceInMaintenance(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("a", func(svc *corev1.Service) {
			svc.Spec.Selector = map[string]string{annotations.PageSetLabel: "maintenance-00000000000000aa"}
		})
		controller := true
		w.service("maintenance-origin-a", func(svc *corev1.Service) {
			svc.Labels = map[string]string{annotations.ManagedByLabel: annotations.ManagedBy, annotations.ComponentLabel: annotations.ComponentOrigin}
			svc.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: "a", UID: "a", Controller: &controller}}
		})
		w.setBackends("a")
		w.annotate(annotations.OpenPaths, "/admin")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		w.MakePodsReady(w.T, namespace)
		w.pass(10 * time.Second)
		_, settings := w.settings()
		require.Len(w, settings.Doors, 1)
		assert.Equal(w, "maintenance-origin-a.shop.svc", settings.Doors[0].Host)
	})
}
