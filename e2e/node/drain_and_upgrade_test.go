package node

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"maintenance-controller.io/pkg/annotations"
)

// TestNodesDrained drains one node and then the other, as in an upgrade of the cluster. In the
// second drain, both page Pods are on the drained node: only the PodDisruptionBudget keeps one
// of them until its replacement serves.
func TestNodesDrained(t *testing.T) {
	e := newEnv(t)
	host := e.host("my-app")
	e.deploy([]string{host}, app("my-app"), ingress("my-app", host, "my-app", 80))
	e.on("ingress/my-app")
	set := e.untilActive(ingresses, "my-app")
	e.untilAnswer(host, fromPage)
	nodes := nodesOf(e.untilPods(set, "two ready Pods", ready))
	require.Equal(t, []string{"node-1", "node-2"}, nodes, "the page Pods are not spread over the nodes")

	l := e.visitors(50, host)
	fewest := e.watchReady(set)
	l.await(25)
	for _, node := range []string{"node-2", "node-1"} {
		other := map[string]string{"node-1": "node-2", "node-2": "node-1"}[node]
		l.phase(node + " is drained")
		t.Cleanup(func() { e.uncordon(node) })
		e.kubectl("drain", node, "--ignore-daemonsets", "--timeout="+(2*waitTimeout).String())
		on := nodesOf(e.untilPods(set, "two ready Pods on "+other, func(p *corev1.Pod) bool { return ready(p) && p.Spec.NodeName == other }))
		assert.Equal(t, []string{other, other}, on)
		l.await(25)
		e.uncordon(node)
	}
	l.phase("both nodes uncordoned")
	l.await(25)
	l.stop()
	assert.Equal(t, 1, fewest(), "the lowest number of ready Pods")
	for _, p := range l.phases {
		l.assertOnly(p.name, from(set))
	}
	e.requirePage(host, set, defaultRetryAfter)
	e.off("ingress/my-app")
	e.until(ingresses, "my-app", "restored", restored)
	e.untilAnswer(host, fromApp)
	e.untilClean()
}

// uncordon lets a node accept Pods again.
func (e *env) uncordon(node string) {
	e.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(e.Context()), waitTimeout) // also after the test's end
	defer cancel()
	if out, err := e.try(ctx, "", "uncordon", node); err != nil {
		e.Errorf("uncordon %s: %v\n%s", node, err, out)
	}
}

// nodesOf returns the sorted names of the Pods' nodes.
func nodesOf(pods []*corev1.Pod) []string {
	var nodes []string
	for _, p := range pods {
		nodes = append(nodes, p.Spec.NodeName)
	}
	slices.Sort(nodes)
	return nodes
}

// TestUpgradeRollsPagePods upgrades the release to a new image, which page Pods use as well,
// and to a new label of page Pods.
func TestUpgradeRollsPagePods(t *testing.T) {
	e := newEnv(t)
	host := e.host("my-app")
	e.deploy([]string{host}, app("my-app"), ingressRoute("my-app", host, "name: my-app, port: 80"))
	e.on("ingressroute/my-app")
	set := e.untilActive(ingressRoutes, "my-app")
	e.untilAnswer(host, fromPage)
	before := e.untilPods(set, "two ready Pods", ready)
	for _, p := range before {
		require.Equal(t, site.image, p.Spec.Containers[0].Image)
	}
	l := e.visitors(50, host)
	fewest := e.watchReady(set)
	l.await(25)
	l.phase("upgrade")
	require.NoError(t, install(t.Context(), site.nextImage, map[string]any{"pagePods": map[string]any{"labels": map[string]string{"team": "web"}}}))
	e.untilPods(set, "two ready Pods of the new image and label, and no others", func(p *corev1.Pod) bool {
		return ready(p) && p.Spec.Containers[0].Image == site.nextImage && p.Labels["team"] == "web"
	})
	l.phase("upgraded")
	l.await(50)
	l.stop()
	assert.Equal(t, 2, fewest(), "fewer than two Pods were ready: a new one must be ready before an old one ends")
	for _, p := range l.phases {
		l.assertOnly(p.name, from(set))
	}
	assert.Equal(t, "IngressRoute/my-app", e.get(configMaps, set).GetAnnotations()[annotations.UsedBy])
	e.off("ingressroute/my-app")
	e.until(ingressRoutes, "my-app", "restored", restored)
	e.untilAnswer(host, fromApp)
	e.untilClean()
}
