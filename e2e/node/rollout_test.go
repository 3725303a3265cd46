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

// TestDrainedNodes drains one node and then the other, as for an upgrade of the
// cluster. In the second drain both page Pods are on the node that is drained: only
// the PodDisruptionBudget keeps one of them until its replacement serves.
func TestDrainedNodes(t *testing.T) {
	w := newWorld(t)
	host := w.host("my-app")
	w.serve([]string{host}, app("my-app"), ingress("my-app", host, "my-app", 80))
	w.on("ingress/my-app")
	set := w.untilActive(ingresses, "my-app")
	w.arrives(host, fromPage)
	nodes := nodesOf(w.untilPods(set, "two ready Pods", ready))
	require.Equal(t, []string{"node-1", "node-2"}, nodes, "they are spread over the nodes")

	l := w.visitors(50, host)
	fewest := w.watchReady(set)
	l.await(25)
	for _, node := range []string{"node-2", "node-1"} {
		other := map[string]string{"node-1": "node-2", "node-2": "node-1"}[node]
		l.phase(node + " is drained")
		t.Cleanup(func() { w.uncordon(node) })
		w.kubectl("drain", node, "--ignore-daemonsets", "--timeout="+(2*patience).String())
		on := nodesOf(w.untilPods(set, "two ready Pods on "+other, func(p *corev1.Pod) bool { return ready(p) && p.Spec.NodeName == other }))
		assert.Equal(t, []string{other, other}, on)
		l.await(25)
		w.uncordon(node)
	}
	l.phase("both are back")
	l.await(25)
	l.stop()
	assert.Equal(t, 1, fewest(), "Pods that were ready at the worst moment")
	for _, p := range l.phases {
		l.only(p.name, from(set))
	}
	w.requirePage(host, set, defaultRetryAfter)
	w.off("ingress/my-app")
	w.until(ingresses, "my-app", "restored", restored)
	w.arrives(host, fromApp)
	w.untilClean()
}

func (w *world) uncordon(node string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.Context()), patience) // it may be the test's end
	defer cancel()
	if out, err := w.try(ctx, "", "uncordon", node); err != nil {
		w.Errorf("uncordon %s: %v\n%s", node, err, out)
	}
}

func nodesOf(pods []*corev1.Pod) []string {
	var nodes []string
	for _, p := range pods {
		nodes = append(nodes, p.Spec.NodeName)
	}
	slices.Sort(nodes)
	return nodes
}

// TestAnUpgradeRollsPagePods upgrades the release to a newer image, which is the
// page Pods' image as well, and with another setting of theirs.
func TestAnUpgradeRollsPagePods(t *testing.T) {
	w := newWorld(t)
	host := w.host("my-app")
	w.serve([]string{host}, app("my-app"), ingressRoute("my-app", host, "name: my-app, port: 80"))
	w.on("ingressroute/my-app")
	set := w.untilActive(ingressRoutes, "my-app")
	w.arrives(host, fromPage)
	before := w.untilPods(set, "two ready Pods", ready)
	for _, p := range before {
		require.Equal(t, site.image, p.Spec.Containers[0].Image)
	}
	l := w.visitors(50, host)
	fewest := w.watchReady(set)
	l.await(25)
	l.phase("upgrade")
	require.NoError(t, install(t.Context(), site.nextImage, map[string]any{"pagePods": map[string]any{"labels": map[string]string{"team": "web"}}}))
	w.untilPods(set, "two ready Pods of the new image and label, and no others", func(p *corev1.Pod) bool {
		return ready(p) && p.Spec.Containers[0].Image == site.nextImage && p.Labels["team"] == "web"
	})
	l.phase("upgraded")
	l.await(50)
	l.stop()
	assert.Equal(t, 2, fewest(), "new before old: never fewer than two Pods were ready")
	for _, p := range l.phases {
		l.only(p.name, from(set))
	}
	assert.Equal(t, "IngressRoute/my-app", w.get(configMaps, set).GetAnnotations()[annotations.UsedBy])
	w.off("ingressroute/my-app")
	w.until(ingressRoutes, "my-app", "restored", restored)
	w.arrives(host, fromApp)
	w.untilClean()
}
