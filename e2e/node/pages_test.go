package node

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
)

// TestOneOfTwoLeavesASharedSet: the other's visitors never notice.
func TestOneOfTwoLeavesASharedSet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	leaves, stays, other := w.host("leaves"), w.host("stays"), w.host("other")
	w.serve([]string{leaves, stays, other}, app("my-app"), customPage("other", "Other", 60),
		ingress("leaves", leaves, "my-app", 80), ingressRoute("stays", stays, "name: my-app, port: 80"), ingress("other", other, "my-app", 80))
	w.on("ingress/leaves")
	w.on("ingressroute/stays")
	w.on("ingress/other", annotations.DefaultCustomPage+"=other")
	set := w.untilActive(ingressRoutes, "stays")
	require.Equal(t, set, w.untilActive(ingresses, "leaves"), "one set for both")
	otherSet := w.untilActive(ingresses, "other")
	require.NotEqual(t, set, otherSet)
	for _, host := range []string{leaves, stays, other} {
		w.arrives(host, fromPage)
	}
	require.Equal(t, "Ingress/leaves,IngressRoute/stays", w.get(configMaps, set).GetAnnotations()[annotations.UsedBy])
	before := w.podsOf(set)

	l := w.visitors(50, stays)
	w.off("ingress/leaves")
	w.until(ingresses, "leaves", "restored", restored)
	w.arrives(leaves, fromApp)
	// When the other's set, which was left later, has gone, so had that of the first,
	// were it not for its second user.
	w.off("ingress/other")
	w.until(configMaps, otherSet, "its end", absent)
	l.await(50)
	l.stop()
	l.only("before", from(set))
	assert.Equal(t, "IngressRoute/stays", w.get(configMaps, set).GetAnnotations()[annotations.UsedBy])
	assert.Equal(t, before, w.podsOf(set), "the Pods are the same")
	w.requirePage(stays, set, defaultRetryAfter)

	w.off("ingressroute/stays")
	w.until(ingressRoutes, "stays", "restored", restored)
	w.arrives(stays, fromApp)
	w.untilClean()
}

// TestAChangedPageReachesVisitors changes a custom page in the middle.
func TestAChangedPageReachesVisitors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	host := w.host("my-app")
	w.serve([]string{host}, app("my-app"), ingress("my-app", host, "my-app", 80), customPage("spring", "The first page", 60))
	w.on("ingress/my-app", annotations.DefaultCustomPage+"=spring")
	first := w.untilActive(ingresses, "my-app")
	w.arrives(host, fromPage)
	for kind, body := range w.requirePage(host, first, 60) {
		assert.Contains(t, body, "The first page", kind)
	}
	l := w.visitors(50, host)
	l.await(25)
	l.phase("changing")
	w.apply(customPage("spring", "The second page", 200))
	second := w.until(ingresses, "my-app", "active with the new page", func(u *unstructured.Unstructured) bool {
		return active(u) && u.GetAnnotations()[annotations.PageSet] != first
	}).GetAnnotations()[annotations.PageSet]
	w.arrives(host, from(second))
	l.phase("changed")
	for kind, body := range w.requirePage(host, second, 200) {
		assert.Contains(t, body, "The second page", kind)
	}
	w.until(configMaps, first, "its end", absent)
	w.watch(w.namespace, pods, inSet(first), "the end of its Pods", none)
	l.await(50)
	l.stop()
	l.only("before", from(first))
	l.only("changing", from(first), from(second))
	l.only("changed", from(second))
	w.off("ingress/my-app")
	w.until(ingresses, "my-app", "restored", restored)
	w.arrives(host, fromApp)
	w.untilClean()
}
