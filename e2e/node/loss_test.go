package node

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
)

// TestLostPagePods deletes a page Pod, which nobody notices, and kills the process
// of one, which only those notice whom Traefik sends there before it hears of it.
func TestLostPagePods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	host := w.host("my-app")
	w.serve([]string{host}, app("my-app"), ingressRoute("my-app", host, "name: my-app, port: 80"))
	w.on("ingressroute/my-app")
	set := w.untilActive(ingressRoutes, "my-app")
	w.arrives(host, fromPage)
	first := w.untilPods(set, "two ready Pods", ready)[0]
	l := w.visitors(50, host)
	l.await(25)

	l.phase("a Pod is deleted")
	w.kubectl("delete", "pod", first.Name)
	survivors := w.untilPods(set, "two others", func(p *corev1.Pod) bool { return ready(p) && p.UID != first.UID })
	l.await(25)

	l.lossyPhase("a process is killed")
	killed := survivors[0]
	w.kill(w.processes(killed.UID, "/maintenance-page"))
	w.untilPods(set, "two ready Pods, one with a new process", func(p *corev1.Pod) bool {
		return ready(p) && (p.UID != killed.UID || p.Status.ContainerStatuses[0].RestartCount > 0)
	})
	l.phase("all there again")
	l.await(50)
	l.stop()

	for _, name := range []string{"before", "a Pod is deleted", "a process is killed", "all there again"} {
		l.only(name, from(set))
	}
	lost := 0
	for _, a := range l.during("a process is killed") {
		if a.from == nobody {
			lost++
			assert.Equal(t, http.StatusBadGateway, a.status, "%s", a)
		}
	}
	// The other Pod goes on serving: it gets about every second request. Traefik begins
	// its turns anew when anything in the cluster changes, so not exactly.
	assert.LessOrEqual(t, lost, len(l.during("a process is killed"))*3/4)
	w.off("ingressroute/my-app")
	w.until(ingressRoutes, "my-app", "restored", restored)
	w.arrives(host, fromApp)
	w.untilClean()
}

// TestTheAppGoesDuringMaintenance: what else is a maintenance for.
func TestTheAppGoesDuringMaintenance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hosts := []string{w.host("one"), w.host("two")}
	one, two := ingress("one", hosts[0], "my-app", 80), ingressRoute("two", hosts[1], "name: my-app, port: 80")
	w.serve(hosts, app("my-app"), one, two)
	specs := w.spec("ingress/one") + w.spec("ingressroute/two")
	l := w.visitors(50, hosts...)
	l.await(25)
	l.phase("switching on")
	w.on("ingress/one")
	w.on("ingressroute/two")
	w.untilActive(ingresses, "one")
	w.untilActive(ingressRoutes, "two")
	for _, host := range hosts {
		w.arrives(host, fromPage)
	}

	l.phase("scaled to 0")
	w.kubectl("scale", "deployment/my-app", "--replicas=0")
	w.watch(w.namespace, pods, metav1.ListOptions{LabelSelector: "app=my-app"}, "the end of the app's Pods", none)
	l.await(50)
	l.phase("deleted")
	w.kubectl("delete", "deployment/my-app", "service/my-app")
	w.until(services, "my-app", "its end", absent)
	l.await(50)
	for _, host := range hosts {
		w.requirePage(host, defaultSet(), defaultRetryAfter)
	}
	l.phase("back")
	w.apply(app("my-app"))
	w.untilAvailable("my-app")
	l.await(50)
	l.phase("switching off")
	w.off("ingress/one")
	w.off("ingressroute/two")
	w.until(ingresses, "one", "restored", restored)
	w.until(ingressRoutes, "two", "restored", restored)
	for _, host := range hosts {
		w.arrives(host, fromApp)
	}
	l.phase("app again")
	w.untilClean()
	l.await(25)
	l.stop()

	l.only("before", fromApp)
	for _, name := range []string{"scaled to 0", "deleted", "back"} {
		l.only(name, from(defaultSet()))
	}
	l.only("app again", fromApp)
	assert.Equal(t, specs, w.spec("ingress/one")+w.spec("ingressroute/two"))
}

// TestTheLeaderIsKilled crashes the controller while it switches sixty targets, and
// again while it switches them back. Another replica finishes the work.
func TestTheLeaderIsKilled(t *testing.T) {
	w := newWorld(t)
	const n = 60
	hosts := w.hostsOf(n)
	manifests := []string{app("my-app")}
	for _, host := range hosts {
		manifests = append(manifests, ingress(nameOf(host), host, "my-app", 80))
	}
	w.serve(hosts, manifests...)
	const specsOf = `jsonpath={range .items[*]}{.metadata.name}{" "}{.spec}{"\n"}{end}`
	specs := w.kubectl("get", "ingresses", "-o", specsOf)
	l := w.visitors(50, hosts...)
	l.await(n)

	l.phase("killed while switching on")
	w.crashLeader(annotations.DefaultEnabled+"=true", swapped)
	w.watch(w.namespace, ingresses, metav1.ListOptions{}, "all active", all(n, active))
	for _, host := range hosts {
		w.arrives(host, fromPage)
	}
	l.phase("active")
	l.await(2 * n)

	l.phase("killed while switching off")
	w.crashLeader(annotations.DefaultEnabled+"-", restored)
	w.watch(w.namespace, ingresses, metav1.ListOptions{}, "all restored", all(n, restored))
	for _, host := range hosts {
		w.arrives(host, fromApp)
	}
	l.phase("app again")
	w.untilClean()
	l.await(n)
	l.stop()

	l.only("before", fromApp)
	l.only("active", from(defaultSet()))
	l.only("app again", fromApp)
	assert.Equal(t, specs, w.kubectl("get", "ingresses", "-o", specsOf))
	w.untilBothReplicas()
}

func swapped(u *unstructured.Unstructured) bool {
	return u != nil && u.GetAnnotations()[annotations.Original] != ""
}

// all says that there are n objects and each is as it should be.
func all(n int, ok condition) func(map[string]*unstructured.Unstructured) bool {
	return func(objects map[string]*unstructured.Unstructured) bool {
		for _, u := range objects {
			if !ok(u) {
				return false
			}
		}
		return len(objects) == n
	}
}

// crashLeader annotates all Ingresses and kills the leading controller, its process
// first, as soon as it is done with one of them. It returns when another one leads.
func (w *world) crashLeader(annotation string, done condition) {
	w.Helper()
	leader := w.leader()
	kill := w.aim(leader)

	annotated := make(chan error, 1)
	go func() {
		out, err := w.try(w.Context(), "", "annotate", "ingress", "--all", annotation)
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		annotated <- err
	}()
	w.watch(w.namespace, ingresses, metav1.ListOptions{}, "the first of all", func(objects map[string]*unstructured.Unstructured) bool {
		return slices.ContainsFunc(slices.Collect(maps.Values(objects)), done)
	})
	kill()
	list, err := w.dynamic.Resource(ingresses).Namespace(w.namespace).List(w.Context(), metav1.ListOptions{})
	require.NoError(w, err)
	n := len(slices.DeleteFunc(slices.Clone(list.Items), func(u unstructured.Unstructured) bool { return !done(&u) }))
	require.NoError(w, <-annotated)
	next := w.untilNextLeader(leader)
	w.Logf("%s was killed when it was done with %d of %d, %s took over", leader.Name, n, len(list.Items), next)
}

// leader is the Pod of the controller that leads.
func (w *world) leader() *corev1.Pod {
	w.Helper()
	lease := w.untilIn(ownNamespace, leases, "maintenance-controller", "a leader", func(u *unstructured.Unstructured) bool { return holder(u) != "" })
	p, err := w.client.CoreV1().Pods(ownNamespace).Get(w.Context(), holder(lease), metav1.GetOptions{})
	require.NoError(w, err)
	return p
}

// untilNextLeader waits until another Pod leads, and names it.
func (w *world) untilNextLeader(last *corev1.Pod) (name string) {
	w.Helper()
	return holder(w.untilIn(ownNamespace, leases, "maintenance-controller", "another leader", func(u *unstructured.Unstructured) bool {
		return holder(u) != "" && holder(u) != last.Name
	}))
}

// aim finds the process of a Pod of the controller. What it gives kills that at
// once, and then deletes the Pod, as if its node had gone.
func (w *world) aim(p *corev1.Pod) (kill func()) {
	w.Helper()
	pids := w.processes(p.UID, "/maintenance-controller")
	return func() {
		w.Helper()
		w.kill(pids)
		now := int64(0)
		require.NoError(w, w.client.CoreV1().Pods(ownNamespace).Delete(w.Context(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &p.UID}}))
	}
}

func (w *world) untilBothReplicas() {
	w.Helper()
	w.untilIn(ownNamespace, deployments, "maintenance-controller", "both replicas", func(u *unstructured.Unstructured) bool {
		available, _, _ := unstructured.NestedInt64(u.Object, "status", "availableReplicas")
		return available == 2
	})
}

// holder is the name of the Pod that has a Lease.
func holder(lease *unstructured.Unstructured) string {
	if lease == nil {
		return ""
	}
	id, _, _ := unstructured.NestedString(lease.Object, "spec", "holderIdentity")
	name, _, _ := strings.Cut(id, "_")
	return name
}
