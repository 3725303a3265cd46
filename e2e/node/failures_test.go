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

// TestPagePodDeletedOrKilled deletes a page Pod, which no visitor notices, and kills the
// process of another, which only those visitors notice whom Traefik still sends there.
func TestPagePodDeletedOrKilled(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	host := e.host("my-app")
	e.deploy([]string{host}, app("my-app"), ingressRoute("my-app", host, "name: my-app, port: 80"))
	e.on("ingressroute/my-app")
	set := e.untilActive(ingressRoutes, "my-app")
	e.untilAnswer(host, fromPage)
	first := e.untilPods(set, "two ready Pods", ready)[0]
	l := e.visitors(50, host)
	l.await(25)

	l.phase("a Pod is deleted")
	e.kubectl("delete", "pod", first.Name)
	survivors := e.untilPods(set, "two ready Pods without the deleted one", func(p *corev1.Pod) bool { return ready(p) && p.UID != first.UID })
	l.await(25)

	l.lossyPhase("a process is killed")
	killed := survivors[0]
	e.kill(e.processes(killed.UID, "/maintenance-page"))
	e.untilPods(set, "two ready Pods, one with a new process", func(p *corev1.Pod) bool {
		return ready(p) && (p.UID != killed.UID || p.Status.ContainerStatuses[0].RestartCount > 0)
	})
	l.phase("two Pods again")
	l.await(50)
	l.stop()

	for _, name := range []string{"before", "a Pod is deleted", "a process is killed", "two Pods again"} {
		l.assertOnly(name, from(set))
	}
	lost := 0
	for _, a := range l.answersIn("a process is killed") {
		if a.from == nobody {
			lost++
			assert.Equal(t, http.StatusBadGateway, a.status, "%s", a)
		}
	}
	// The other Pod keeps serving and gets about every second request: not exactly, since
	// Traefik restarts its round robin whenever its configuration changes.
	assert.LessOrEqual(t, lost, len(l.answersIn("a process is killed"))*3/4)
	e.off("ingressroute/my-app")
	e.until(ingressRoutes, "my-app", "restored", restored)
	e.untilAnswer(host, fromApp)
	e.untilClean()
}

// TestAppDeletedDuringMaintenance deletes the app and its Service behind the page, and deploys
// them again.
func TestAppDeletedDuringMaintenance(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	hosts := []string{e.host("one"), e.host("two")}
	one, two := ingress("one", hosts[0], "my-app", 80), ingressRoute("two", hosts[1], "name: my-app, port: 80")
	e.deploy(hosts, app("my-app"), one, two)
	specs := e.spec("ingress/one") + e.spec("ingressroute/two")
	l := e.visitors(50, hosts...)
	l.await(25)
	l.phase("switching on")
	e.on("ingress/one")
	e.on("ingressroute/two")
	e.untilActive(ingresses, "one")
	e.untilActive(ingressRoutes, "two")
	for _, host := range hosts {
		e.untilAnswer(host, fromPage)
	}

	l.phase("scaled to 0")
	e.kubectl("scale", "deployment/my-app", "--replicas=0")
	e.watch(e.namespace, pods, metav1.ListOptions{LabelSelector: "app=my-app"}, "no Pods of the app", noObjects)
	l.await(50)
	l.phase("deleted")
	e.kubectl("delete", "deployment/my-app", "service/my-app")
	e.until(services, "my-app", "deleted", absent)
	l.await(50)
	for _, host := range hosts {
		e.requirePage(host, defaultSet(), defaultRetryAfter)
	}
	l.phase("app deployed again")
	e.apply(app("my-app"))
	e.untilAvailable("my-app")
	l.await(50)
	l.phase("switching off")
	e.off("ingress/one")
	e.off("ingressroute/two")
	e.until(ingresses, "one", "restored", restored)
	e.until(ingressRoutes, "two", "restored", restored)
	for _, host := range hosts {
		e.untilAnswer(host, fromApp)
	}
	l.phase("app again")
	e.untilClean()
	l.await(25)
	l.stop()

	l.assertOnly("before", fromApp)
	for _, name := range []string{"scaled to 0", "deleted", "app deployed again"} {
		l.assertOnly(name, from(defaultSet()))
	}
	l.assertOnly("app again", fromApp)
	assert.Equal(t, specs, e.spec("ingress/one")+e.spec("ingressroute/two"))
}

// TestLeaderKilledWhileSwitching crashes the controller while it switches sixty targets, and
// again while it switches them back. Another replica finishes the work.
func TestLeaderKilledWhileSwitching(t *testing.T) {
	e := newEnv(t)
	const n = 60
	hosts := e.hostsOf(n)
	manifests := []string{app("my-app")}
	for _, host := range hosts {
		manifests = append(manifests, ingress(nameOf(host), host, "my-app", 80))
	}
	e.deploy(hosts, manifests...)
	const specsOf = `jsonpath={range .items[*]}{.metadata.name}{" "}{.spec}{"\n"}{end}`
	specs := e.kubectl("get", "ingresses", "-o", specsOf)
	l := e.visitors(50, hosts...)
	l.await(n)

	l.phase("killed while switching on")
	e.crashLeader(annotations.DefaultEnabled+"=true", swapped)
	e.watch(e.namespace, ingresses, metav1.ListOptions{}, "all active", allObjects(n, active))
	for _, host := range hosts {
		e.untilAnswer(host, fromPage)
	}
	l.phase("active")
	l.await(2 * n)

	l.phase("killed while switching off")
	e.crashLeader(annotations.DefaultEnabled+"-", restored)
	e.watch(e.namespace, ingresses, metav1.ListOptions{}, "all restored", allObjects(n, restored))
	for _, host := range hosts {
		e.untilAnswer(host, fromApp)
	}
	l.phase("app again")
	e.untilClean()
	l.await(n)
	l.stop()

	l.assertOnly("before", fromApp)
	l.assertOnly("active", from(defaultSet()))
	l.assertOnly("app again", fromApp)
	assert.Equal(t, specs, e.kubectl("get", "ingresses", "-o", specsOf))
	e.untilBothReplicas()
}

func swapped(u *unstructured.Unstructured) bool {
	return u != nil && u.GetAnnotations()[annotations.Original] != ""
}

// allObjects reports whether there are n objects that all meet the condition.
func allObjects(n int, ok condition) func(map[string]*unstructured.Unstructured) bool {
	return func(objects map[string]*unstructured.Unstructured) bool {
		for _, u := range objects {
			if !ok(u) {
				return false
			}
		}
		return len(objects) == n
	}
}

// crashLeader annotates all Ingresses, kills the leading controller as soon as it is done with
// the first of them, and waits until another replica leads.
func (e *env) crashLeader(annotation string, done condition) {
	e.Helper()
	leader := e.leader()
	kill := e.prepareKill(leader)

	annotated := make(chan error, 1)
	go func() {
		out, err := e.try(e.Context(), "", "annotate", "ingress", "--all", annotation)
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		annotated <- err
	}()
	e.watch(e.namespace, ingresses, metav1.ListOptions{}, "the first target done", func(objects map[string]*unstructured.Unstructured) bool {
		return slices.ContainsFunc(slices.Collect(maps.Values(objects)), done)
	})
	kill()
	list, err := e.dynamic.Resource(ingresses).Namespace(e.namespace).List(e.Context(), metav1.ListOptions{})
	require.NoError(e, err)
	n := len(slices.DeleteFunc(slices.Clone(list.Items), func(u unstructured.Unstructured) bool { return !done(&u) }))
	require.NoError(e, <-annotated)
	next := e.untilNextLeader(leader)
	e.Logf("%s was killed when it was done with %d of %d targets; %s took over", leader.Name, n, len(list.Items), next)
}

// leader returns the Pod of the leading controller.
func (e *env) leader() *corev1.Pod {
	e.Helper()
	lease := e.untilIn(ownNamespace, leases, "maintenance-controller", "a leader", func(u *unstructured.Unstructured) bool { return holder(u) != "" })
	p, err := e.client.CoreV1().Pods(ownNamespace).Get(e.Context(), holder(lease), metav1.GetOptions{})
	require.NoError(e, err)
	return p
}

// untilNextLeader waits until a Pod other than last leads, and returns its name.
func (e *env) untilNextLeader(last *corev1.Pod) (name string) {
	e.Helper()
	return holder(e.untilIn(ownNamespace, leases, "maintenance-controller", "another leader", func(u *unstructured.Unstructured) bool {
		return holder(u) != "" && holder(u) != last.Name
	}))
}

// prepareKill finds the process of a controller Pod and returns a function that kills it
// and deletes the Pod, as if its node were lost.
func (e *env) prepareKill(p *corev1.Pod) (kill func()) {
	e.Helper()
	pids := e.processes(p.UID, "/maintenance-controller")
	return func() {
		e.Helper()
		e.kill(pids)
		now := int64(0)
		require.NoError(e, e.client.CoreV1().Pods(ownNamespace).Delete(e.Context(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &p.UID}}))
	}
}

func (e *env) untilBothReplicas() {
	e.Helper()
	e.untilIn(ownNamespace, deployments, "maintenance-controller", "two available replicas", func(u *unstructured.Unstructured) bool {
		available, _, _ := unstructured.NestedInt64(u.Object, "status", "availableReplicas")
		return available == 2
	})
}

// holder returns the name of the Pod that holds a Lease, or "".
func holder(lease *unstructured.Unstructured) string {
	if lease == nil {
		return ""
	}
	id, _, _ := unstructured.NestedString(lease.Object, "spec", "holderIdentity")
	name, _, _ := strings.Cut(id, "_")
	return name
}
