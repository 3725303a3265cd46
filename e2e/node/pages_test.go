package node

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
)

// TestSharedPageSetStaysForItsLastUser ends the maintenance of one of two targets that share a
// page set. Visitors of the other do not notice.
func TestSharedPageSetStaysForItsLastUser(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	leaves, stays, other := e.host("leaves"), e.host("stays"), e.host("other")
	e.deploy([]string{leaves, stays, other}, app("my-app"), customPage("other", "Other", 60),
		ingress("leaves", leaves, "my-app", 80), ingressRoute("stays", stays, "name: my-app, port: 80"), ingress("other", other, "my-app", 80))
	e.on("ingress/leaves")
	e.on("ingressroute/stays")
	e.on("ingress/other", annotations.DefaultCustomPage+"=other")
	set := e.untilActive(ingressRoutes, "stays")
	require.Equal(t, set, e.untilActive(ingresses, "leaves"), "one set for both")
	otherSet := e.untilActive(ingresses, "other")
	require.NotEqual(t, set, otherSet)
	for _, host := range []string{leaves, stays, other} {
		e.untilAnswer(host, fromPage)
	}
	require.Equal(t, "Ingress/leaves,IngressRoute/stays", e.get(configMaps, set).GetAnnotations()[annotations.UsedBy])
	before := e.readyPods(set)

	l := e.visitors(50, stays)
	e.off("ingress/leaves")
	e.until(ingresses, "leaves", "restored", restored)
	e.untilAnswer(leaves, fromApp)
	// The set of the third target is released later. Once it is deleted, the shared set would
	// be deleted, too, if its second user did not keep it.
	e.off("ingress/other")
	e.until(configMaps, otherSet, "deleted", absent)
	l.await(50)
	l.stop()
	l.assertOnly("before", from(set))
	assert.Equal(t, "IngressRoute/stays", e.get(configMaps, set).GetAnnotations()[annotations.UsedBy])
	assert.Equal(t, before, e.readyPods(set), "the Pods were replaced")
	e.requirePage(stays, set, defaultRetryAfter)

	e.off("ingressroute/stays")
	e.until(ingressRoutes, "stays", "restored", restored)
	e.untilAnswer(stays, fromApp)
	e.untilClean()
}

// TestChangedPageReachesVisitors changes a custom page during maintenance.
func TestChangedPageReachesVisitors(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	host := e.host("my-app")
	e.deploy([]string{host}, app("my-app"), ingress("my-app", host, "my-app", 80), customPage("spring", "The first page", 60))
	e.on("ingress/my-app", annotations.DefaultCustomPage+"=spring")
	first := e.untilActive(ingresses, "my-app")
	e.untilAnswer(host, fromPage)
	for kind, body := range e.requirePage(host, first, 60) {
		assert.Contains(t, body, "The first page", kind)
	}
	l := e.visitors(50, host)
	l.await(25)
	l.phase("changing")
	e.apply(customPage("spring", "The second page", 200))
	second := e.until(ingresses, "my-app", "active with the new page", func(u *unstructured.Unstructured) bool {
		return active(u) && u.GetAnnotations()[annotations.PageSet] != first
	}).GetAnnotations()[annotations.PageSet]
	e.untilAnswer(host, from(second))
	l.phase("changed")
	for kind, body := range e.requirePage(host, second, 200) {
		assert.Contains(t, body, "The second page", kind)
	}
	e.until(configMaps, first, "deleted", absent)
	e.watch(e.namespace, pods, inSet(first), "no Pods of the first page set", noObjects)
	l.await(50)
	l.stop()
	l.assertOnly("before", from(first))
	l.assertOnly("changing", from(first), from(second))
	l.assertOnly("changed", from(second))
	e.off("ingress/my-app")
	e.until(ingresses, "my-app", "restored", restored)
	e.untilAnswer(host, fromApp)
	e.untilClean()
}
