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

// lead writes where the paths of the Ingress lead, as a person does.
func (w *world) lead(backends ...string) {
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

// leads lists where the paths lead: name:port.
func (w *world) leads() (all []string) {
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

// settings of the page set that the target is on.
func (w *world) settings() (string, access.Settings) {
	w.Helper()
	set := w.get().GetAnnotations()[annotations.PageSet]
	cm, err := w.Client.CoreV1().ConfigMaps(namespace).Get(w.Context(), set, metav1.GetOptions{})
	require.NoError(w, err)
	return set, pageset.Settings(cm)
}

func (w *world) reads(name string) (n int) {
	for _, request := range w.Requests() {
		if request == "get services "+namespace+"/"+name {
			n++
		}
	}
	return n
}

// TestSlotsLeadToTheirDoors, a backend that is written in the middle waits on the page
// until the set that has its door serves, and Services are read once.
func TestSlotsLeadToTheirDoors(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("a")
		w.service("b")
		w.lead("b", "a", "b")
		w.annotate(annotations.OpenPaths, "/admin")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		w.PlayPods(w.T, namespace)
		w.pass(time.Minute)
		require.Equal(w, annotations.Active, w.state())
		reads := w.reads("b")
		first, settings := w.settings()
		assert.Equal(w, []string{first + ":8102", first + ":8101", first + ":8102"}, w.leads())
		assert.Equal(w, []string{"a.shop.svc", "b.shop.svc"}, []string{settings.Doors[0].Host, settings.Doors[1].Host})
		svc, err := w.Client.CoreV1().Services(namespace).Get(w.Context(), first, metav1.GetOptions{})
		require.NoError(w, err)
		assert.Len(w, svc.Spec.Ports, 3)
		w.quiet(23 * time.Hour)

		// Another app is written in the middle, of which no set has a door yet.
		w.service("c")
		w.lead(first+":8102", "c", first+":8102")
		w.pass(time.Minute)
		assert.Equal(w, []string{first + ":8102", first + ":80", first + ":8102"}, w.leads(), "the app stays behind the page")
		assert.Equal(w, first, w.get().GetAnnotations()[annotations.PageSet])
		w.PlayPods(w.T, namespace)
		w.pass(time.Minute)
		second, settings := w.settings()
		require.NotEqual(w, first, second)
		assert.Equal(w, []string{second + ":8101", second + ":8102", second + ":8101"}, w.leads())
		assert.Equal(w, []string{"b.shop.svc", "c.shop.svc"}, []string{settings.Doors[0].Host, settings.Doors[1].Host})
		assert.Equal(w, reads, w.reads("b"), "it is not read again")
		w.pass(3 * time.Minute) // the first set goes
		w.quiet(30 * time.Minute)

		w.annotate(annotations.DefaultEnabled, "")
		w.pass(time.Second)
		assert.Equal(w, []string{"b:80", "c:80", "b:80"}, w.leads())
		assert.Equal(w, map[string]string{annotations.OpenPaths: "/admin"}, w.get().GetAnnotations())
		w.pass(48 * time.Hour)
		w.quiet(24 * time.Hour)
	})
}

// TestWhoIsLetThroughCanChange, and the page without anybody is the one that it ever was.
func TestWhoIsLetThroughCanChange(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("a")
		w.lead("a")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		w.PlayPods(w.T, namespace)
		w.pass(time.Minute)
		plain := w.get().GetAnnotations()[annotations.PageSet]
		assert.Equal(w, []string{plain + ":80"}, w.leads())

		w.annotate(annotations.ReadOnly, "true")
		w.pass(time.Second)
		w.PlayPods(w.T, namespace)
		w.pass(time.Minute)
		kept, settings := w.settings()
		assert.True(w, settings.ReadOnly)
		assert.Equal(w, []string{kept + ":8101"}, w.leads())

		w.told()
		w.annotate(annotations.ReadOnly, "")
		w.pass(time.Minute)
		assert.Equal(w, []string{plain + ":80"}, w.leads(), "it was still there")
		assert.NotContains(w, strings.Join(w.told(), "\n"), "Warning", "a door that is left is nobody's edit")
		w.pass(3 * time.Minute)
		w.quiet(time.Hour)
	})
}

// TestAppsWithoutADoor are behind the page, people are told, and the rest has doors.
func TestAppsWithoutADoor(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("a")
		w.service("out", func(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeExternalName })
		w.lead("a", "out", "gone")
		w.annotate(annotations.BypassSecret, "team")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		w.PlayPods(w.T, namespace)
		w.pass(time.Minute)
		set := w.get().GetAnnotations()[annotations.PageSet]
		assert.Equal(w, []string{set + ":8101", set + ":80", set + ":80"}, w.leads())
		told := strings.Join(w.told(), "\n")
		assert.Contains(w, told, `Warning NoDoor nobody is let through to the app of "Prefix /1": Service out is an ExternalName`)
		assert.Contains(w, told, `Warning NoDoor nobody is let through to the app of "Prefix /2": there is no Service gone`)
		before, sent := w.reads("gone"), len(w.Requests())
		w.pass(time.Hour)
		assert.InDelta(w, 13, w.reads("gone")-before, 3, "it is looked for, seldom")
		for _, request := range w.Requests()[sent:] {
			assert.Regexp(w, "^get ", request, "and nothing is written")
		}
		assert.Empty(w, w.told())

		// A Service that comes is found, though nobody touches the target.
		w.service("gone")
		w.pass(mostLook + time.Second)
		w.PlayPods(w.T, namespace)
		w.pass(time.Minute)
		next, settings := w.settings()
		assert.Len(w, settings.Doors, 2)
		assert.Equal(w, []string{next + ":8101", next + ":80", next + ":8102"}, w.leads())
		w.pass(5 * time.Minute)
		w.quiet(time.Hour)
	})
}

// TestAServiceThatIsAwayForAMoment, as while a release is installed anew, keeps its door.
func TestAServiceThatIsAwayForAMoment(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("a")
		w.lead("a")
		w.annotate(annotations.OpenPaths, "/admin")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		w.PlayPods(w.T, namespace)
		w.addressed()
		w.pass(10 * time.Second)
		set := w.get().GetAnnotations()[annotations.PageSet]
		require.Equal(w, []string{set + ":8101"}, w.leads())

		require.NoError(w, w.Client.CoreV1().Services(namespace).Delete(w.Context(), "a", metav1.DeleteOptions{}))
		w.says.Store(&access.Summary{PageSet: set, Doors: []access.DoorState{{Name: "d1", Unreachable: "no such host"}}})
		w.pass(2 * time.Minute)
		assert.Equal(w, []string{set + ":8101"}, w.leads())
		assert.Contains(w, strings.Join(w.told(), "\n"), "Warning BypassNotWorking the app at a.shop.svc:80 cannot be reached")

		w.service("a")
		w.says.Store(&access.Summary{PageSet: set, Doors: []access.DoorState{{Name: "d1"}}})
		w.pass(time.Minute)
		now, settings := w.settings()
		assert.Equal(w, set, now)
		assert.Len(w, settings.Doors, 1)
		assert.Equal(w, []string{set + ":8101"}, w.leads())
		w.quiet(time.Hour)
	})
}

// TestTooManyDoorsBlock: the app is served, for a page without the bypass that was asked
// for would lock people out.
func TestTooManyDoorsBlock(t *testing.T) {
	inWorld(t, func(w *world) {
		var many []string
		for i := range 4 {
			many = append(many, fmt.Sprintf("app-%d", i))
			w.service(many[i])
		}
		w.lead(many...)
		w.annotate(annotations.OpenPaths, "/admin")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Minute)
		assert.Equal(w, annotations.Blocked, w.state())
		assert.Contains(w, w.get().GetAnnotations()[annotations.Message], "4 apps, and a page set may have 3 doors (--page-max-doors)")
		assert.Contains(w, strings.Join(w.told(), "\n"), "Warning PageNotReady")
		sets, err := w.Client.CoreV1().ConfigMaps(namespace).List(w.Context(), metav1.ListOptions{})
		require.NoError(w, err)
		assert.Empty(w, sets.Items, "nothing is made")
		assert.Equal(w, "app-0:80", w.leads()[0])
		w.quiet(time.Hour)

		w.lead(many[:3]...)
		w.pass(time.Second)
		w.PlayPods(w.T, namespace)
		w.pass(time.Minute)
		assert.Equal(w, annotations.Active, w.state())

		// One more in the middle: what has a door keeps it, the new app is served behind
		// the page, and nobody who is let through is locked out.
		set := w.get().GetAnnotations()[annotations.PageSet]
		w.lead(set+":8101", set+":8102", set+":8103", many[3])
		w.pass(time.Minute)
		assert.Equal(w, []string{set + ":8101", set + ":8102", set + ":8103", set + ":80"}, w.leads())
		w.quiet(time.Hour)
	})
}

// addressed gives the page Pods addresses, as the kubelet does.
func (w *world) addressed() {
	w.Helper()
	pods, err := w.Client.CoreV1().Pods(namespace).List(w.Context(), metav1.ListOptions{})
	require.NoError(w, err)
	for i := range pods.Items {
		pods.Items[i].Status.PodIP = fmt.Sprintf("10.0.0.%d", i+1)
		_, err := w.Client.CoreV1().Pods(namespace).Update(w.Context(), &pods.Items[i], metav1.UpdateOptions{})
		require.NoError(w, err)
	}
}

// TestWhatPagePodsSayIsSeen: who was let through is on the target, and what keeps people
// from the app is told once, while it lasts; an app that cannot be reached is looked for.
func TestWhatPagePodsSayIsSeen(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("a")
		w.lead("a")
		w.annotate(annotations.BypassSecret, "team")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		w.PlayPods(w.T, namespace)
		w.addressed()
		w.pass(10 * time.Second)
		require.Equal(w, annotations.Active, w.state())
		set := w.get().GetAnnotations()[annotations.PageSet]
		w.told()
		seen := func() string { return w.get().GetAnnotations()[annotations.AccessReport] }
		assert.Empty(w, seen())

		said := access.Summary{PageSet: set, Secret: access.Secret{Name: "team", Missing: true}}
		say := func(s access.Summary) { w.says.Store(&s) }
		say(said)
		w.pass(20 * time.Second)
		assert.Contains(w, seen(), "nobody was let through yet; there is no Secret team")
		assert.Equal(w, annotations.Active, w.state())
		assert.Empty(w, w.get().GetAnnotations()[annotations.Message])
		assert.Contains(w, strings.Join(w.told(), "\n"), "Warning BypassNotWorking there is no Secret team")
		w.quiet(time.Hour)
		assert.Empty(w, w.told(), "it is told once")

		said.Secret = access.Secret{Name: "team", Tokens: 1}
		said.Holders = map[string]access.Holder{"alice": {Requests: 1}}
		said.Through = map[access.By]uint64{access.ByHeader: 1}
		say(said)
		w.pass(20 * time.Second)
		assert.Equal(w, "let through by token or link: alice", seen())
		w.quiet(time.Hour)
		said.Holders = map[string]access.Holder{"alice": {Requests: 1000}}
		say(said)
		w.quiet(time.Hour)

		// The app moves to another port; the page cannot reach it, and finds it.
		require.NoError(w, w.Client.CoreV1().Services(namespace).Delete(w.Context(), "a", metav1.DeleteOptions{}))
		w.service("a", func(svc *corev1.Service) { svc.Spec.Ports[0].AppProtocol = ptr.To("https") })
		said.Doors = []access.DoorState{{Name: "d1", Unreachable: "connection refused"}}
		say(said)
		w.pass(20 * time.Second)
		w.PlayPods(w.T, namespace)
		w.pass(10 * time.Second)
		assert.Contains(w, strings.Join(w.told(), "\n"), "Warning BypassNotWorking the app at a.shop.svc:80 cannot be reached from the page Pods (connection refused)")
		next, settings := w.settings()
		require.NotEqual(w, set, next)
		assert.Equal(w, access.HTTPS, settings.Doors[0].Scheme)

		w.annotate(annotations.DefaultEnabled, "")
		w.pass(time.Second)
		assert.Empty(w, seen())
		w.pass(5 * time.Minute)
		w.quiet(time.Hour)
	})
}

// TestAnAppInMaintenanceItself is reached by the Service that leads to it meanwhile.
func TestAnAppInMaintenanceItself(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("a", func(svc *corev1.Service) {
			svc.Spec.Selector = map[string]string{annotations.PageSetLabel: "maintenance-00000000000000aa"}
		})
		controller := true
		w.service("maintenance-origin-a", func(svc *corev1.Service) {
			svc.Labels = map[string]string{annotations.ManagedByLabel: annotations.ManagedBy, annotations.ComponentLabel: annotations.ComponentOrigin}
			svc.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: "a", UID: "a", Controller: &controller}}
		})
		w.lead("a")
		w.annotate(annotations.OpenPaths, "/admin")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		w.PlayPods(w.T, namespace)
		w.pass(10 * time.Second)
		_, settings := w.settings()
		require.Len(w, settings.Doors, 1)
		assert.Equal(w, "maintenance-origin-a.shop.svc", settings.Doors[0].Host)
	})
}

// TestTooManySetsBlock, until one of them is used by nobody any more.
func TestTooManySetsBlock(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("a")
		for i, name := range []string{"one", "two"} {
			u := ingress()
			u.SetName(name)
			u.SetAnnotations(map[string]string{annotations.DefaultEnabled: "true", annotations.OpenPaths: fmt.Sprintf("/%d", i)})
			require.NoError(w, unstructured.SetNestedField(u.Object, "a", "spec", "defaultBackend", "service", "name"))
			_, err := w.Dynamic.Resource(target.Ingress().Resource).Namespace(namespace).Create(w.Context(), u, metav1.CreateOptions{})
			require.NoError(w, err)
		}
		w.pass(time.Second)
		w.lead("a")
		w.annotate(annotations.OpenPaths, "/3")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		assert.Equal(w, annotations.Blocked, w.state())
		assert.Contains(w, w.get().GetAnnotations()[annotations.Message], "2 other page sets of the namespace have doors")
		w.annotate(annotations.OpenPaths, "/1")
		w.pass(time.Second)
		assert.Equal(w, annotations.Pending, w.state(), "who shares a set needs no other")
		w.annotate(annotations.OpenPaths, "/3")
		w.pass(time.Second)
		assert.Equal(w, annotations.Blocked, w.state())

		client := w.Dynamic.Resource(target.Ingress().Resource).Namespace(namespace)
		u, err := client.Get(w.Context(), "one", metav1.GetOptions{})
		require.NoError(w, err)
		u.SetAnnotations(nil)
		_, err = client.Update(w.Context(), u, metav1.UpdateOptions{})
		require.NoError(w, err)
		w.pass(time.Second)
		assert.Equal(w, annotations.Pending, w.state(), "there is room")
	})
}

// TestSetsAtTheBoundCanChange: targets that share the only set that may be leave it one by
// one, for one that lets fewer in.
func TestSetsAtTheBoundCanChange(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("a")
		ingresses := w.Dynamic.Resource(target.Ingress().Resource).Namespace(namespace)
		for name, path := range map[string]string{"one": "/0", "two": "/1"} { // my-app shares two's
			u := ingress()
			u.SetName(name)
			u.SetAnnotations(map[string]string{annotations.DefaultEnabled: "true", annotations.OpenPaths: path})
			require.NoError(w, unstructured.SetNestedField(u.Object, "a", "spec", "defaultBackend", "service", "name"))
			_, err := ingresses.Create(w.Context(), u, metav1.CreateOptions{})
			require.NoError(w, err)
		}
		w.lead("a")
		w.annotate(annotations.OpenPaths, "/1")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		w.PlayPods(w.T, namespace)
		w.pass(time.Minute)
		require.Equal(w, annotations.Active, w.state())
		before, _ := w.settings()

		w.annotate(annotations.OpenPaths, "/narrower")
		w.pass(time.Second)
		w.PlayPods(w.T, namespace)
		w.pass(time.Minute)
		after, settings := w.settings()
		assert.NotEqual(w, before, after)
		assert.Equal(w, []string{"/narrower"}, settings.OpenPaths)
		assert.Equal(w, annotations.Active, w.state())
	})
}
