package node

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/origin"
	"maintenance-controller.io/pkg/target"
)

func originOf(service string) string {
	return origin.Name(target.Ref{Kind: "Service", Name: service})
}

// TestServiceHasNoHole switches a Service under load: callers at its ClusterIP and
// visitors through Traefik, who come to the same Service, get the app or the page
// and nothing else. Those who call the origin get the app all the time.
//
// A connection that a caller keeps stays where it leads: no proxy looks into it.
func TestServiceHasNoHole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	host := w.host("my-app")
	w.serve([]string{host}, app("my-app"), ingress("my-app", host, "my-app", 80))
	spec := w.spec("service/my-app")
	callers, visitors := w.callers(50, "my-app"), w.visitors(50, host)
	both := func(do func(l *load)) { do(callers); do(visitors) }
	next := func(name string) { both(func(l *load) { l.phase(name) }) }
	await := func(n int) { both(func(l *load) { l.await(n) }) }
	await(50)
	for range 3 {
		next("switching on")
		w.on("service/my-app")
		set := w.untilActive(services, "my-app")
		w.arrives(host, fromPage)
		next("active")
		assert.Equal(t, defaultSet(), set)
		testers := w.callers(20, originOf("my-app"))
		await(50)
		testers.await(20)
		testers.stop()
		testers.only("before", fromApp)

		next("switching off")
		w.off("service/my-app")
		w.until(services, "my-app", "restored", restored)
		w.arrives(host, fromApp)
		next("app again")
		assert.Equal(t, spec, w.spec("service/my-app"))
		w.until(services, originOf("my-app"), "its end", absent)
		w.until(configMaps, set, "its end", absent)
		await(50)
	}
	w.untilClean()
	both((*load).stop)
	kept := func(a answer) bool { return !a.fresh }
	callers.only("active", from(defaultSet()), kept)
	callers.only("app again", fromApp, kept)
	visitors.only("active", from(defaultSet()))
	visitors.only("app again", fromApp)
}

// TestServiceAndItsIngressUnderLoad has both in maintenance, and takes them out in
// the order in which they came.
func TestServiceAndItsIngressUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	host := w.host("my-app")
	w.serve([]string{host}, app("my-app"), ingress("my-app", host, "my-app", 80))
	l := w.visitors(50, host)
	l.await(25)
	l.phase("on")
	w.on("ingress/my-app")
	w.untilActive(ingresses, "my-app")
	w.arrives(host, fromPage)
	l.phase("both")
	w.on("service/my-app")
	w.untilActive(services, "my-app")
	l.await(50)
	w.off("ingress/my-app")
	w.until(ingresses, "my-app", "restored", restored)
	l.await(50)
	l.phase("off")
	w.off("service/my-app")
	w.until(services, "my-app", "restored", restored)
	w.arrives(host, fromApp)
	l.phase("app again")
	l.await(50)
	w.untilClean()
	l.stop()
	l.only("on", fromApp, from(defaultSet()))
	l.only("both", from(defaultSet()))
	l.only("app again", fromApp)
	for _, object := range []string{"service/my-app", "ingress/my-app"} {
		assert.NotContains(t, w.kubectl("get", object, "-o", "jsonpath={.metadata.annotations}"), annotations.Prefix, object)
	}
}
