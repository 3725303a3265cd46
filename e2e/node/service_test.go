package node

import (
	"fmt"
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
	for round := range 3 {
		next(nth("switching on", round))
		w.on("service/my-app")
		set := w.untilActive(services, "my-app")
		both(func(l *load) { l.arrives(fromPage) })
		next(nth("active", round))
		assert.Equal(t, defaultSet(), set)
		testers := w.callers(20, originOf("my-app"))
		await(50)
		testers.await(20)
		testers.stop()
		testers.only("before", fromApp)

		next(nth("switching off", round))
		w.off("service/my-app")
		w.until(services, "my-app", "restored", restored)
		both(func(l *load) { l.arrives(fromApp) })
		next(nth("app again", round))
		assert.Equal(t, spec, w.spec("service/my-app"))
		w.until(services, originOf("my-app"), "its end", absent)
		w.until(configMaps, set, "its end", absent)
		await(50)
	}
	w.untilClean()
	both((*load).stop)
	for round := range 3 {
		callers.only(nth("active", round), from(defaultSet()), kept)
		callers.only(nth("app again", round), fromApp, kept)
		visitors.only(nth("active", round), from(defaultSet()))
		visitors.only(nth("app again", round), fromApp)
	}
}

// nth names a phase of a round.
func nth(phase string, round int) string { return fmt.Sprintf("%s, round %d", phase, round+1) }

// TestServiceOnANodePort, and one to which clients stick: how visitors come to the
// endpoints does not matter.
func TestServiceOnANodePort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(nil, app("my-app"), `apiVersion: v1
kind: Service
metadata: {name: on-port}
spec:
  type: NodePort
  selector: {app: my-app}
  ports: [{name: web, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: sticky}
spec:
  sessionAffinity: ClientIP
  selector: {app: my-app}
  ports: [{name: web, port: 80, targetPort: 8080}]
`)
	node := w.kubectl("get", "nodes", "-o", `jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}`)
	port := w.kubectl("get", "service", "on-port", "-o", "jsonpath={.spec.ports[0].nodePort}")
	at := "http://" + node + ":" + port
	w.arrivesAt(at, "on-port", fromApp)
	names := []string{"on-port", "sticky"}
	specs := map[string]string{}
	for _, name := range names {
		specs[name] = w.spec("service/" + name)
	}
	loads := []*load{w.load(25, at, "on-port"), w.callers(25, "sticky")}
	next := func(name string) {
		for _, l := range loads {
			l.await(25)
			l.phase(name)
		}
	}
	next("switching on")
	for _, name := range names {
		w.on("service/" + name)
	}
	for _, name := range names {
		w.untilActive(services, name)
	}
	for _, l := range loads {
		l.arrives(fromPage)
	}
	next("active")
	next("switching off")
	for _, name := range names {
		w.off("service/" + name)
		w.until(services, name, "restored", restored)
		assert.Equal(t, specs[name], w.spec("service/"+name))
	}
	w.untilClean() // nobody can be led to the page any more
	next("app again")
	for _, l := range loads {
		l.await(25)
		l.stop()
		l.only("active", from(defaultSet()), kept)
		l.only("app again", fromApp, kept)
	}
}

// kept tells answers on connections that were not fresh: they stay where they lead.
func kept(a answer) bool { return !a.fresh }

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
	l.arrives(fromApp)
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
