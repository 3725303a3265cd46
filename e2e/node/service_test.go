package node

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/origin"
	"maintenance-controller.io/pkg/target"
)

// originOf returns the name of a Service's origin Service.
func originOf(service string) string {
	return origin.Name(target.Ref{Kind: "Service", Name: service})
}

// TestServiceUnderLoad switches a Service under load: callers at its ClusterIP and visitors
// through Traefik only get the app or the page. Callers of the origin Service always get the
// app.
//
// A connection that a caller keeps open stays with its Pod, since no proxy looks into it.
func TestServiceUnderLoad(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	host := e.host("my-app")
	e.deploy([]string{host}, app("my-app"), ingress("my-app", host, "my-app", 80))
	spec := e.spec("service/my-app")
	callers, visitors := e.callers(50, "my-app"), e.visitors(50, host)
	both := func(do func(l *load)) { do(callers); do(visitors) }
	next := func(name string) { both(func(l *load) { l.phase(name) }) }
	await := func(n int) { both(func(l *load) { l.await(n) }) }
	await(50)
	for round := range 3 {
		next(nth("switching on", round))
		e.on("service/my-app")
		set := e.untilActive(services, "my-app")
		both(func(l *load) { l.untilAnswer(fromPage) })
		next(nth("active", round))
		assert.Equal(t, defaultSet(), set)
		testers := e.callers(20, originOf("my-app"))
		await(50)
		testers.await(20)
		testers.stop()
		testers.assertOnly("before", fromApp)

		next(nth("switching off", round))
		e.off("service/my-app")
		e.until(services, "my-app", "restored", restored)
		both(func(l *load) { l.untilAnswer(fromApp) })
		next(nth("app again", round))
		assert.Equal(t, spec, e.spec("service/my-app"))
		e.until(services, originOf("my-app"), "deleted", absent)
		e.until(configMaps, set, "deleted", absent)
		await(50)
	}
	e.untilClean()
	both((*load).stop)
	for round := range 3 {
		callers.assertOnly(nth("active", round), from(defaultSet()), onKeptConnection)
		callers.assertOnly(nth("app again", round), fromApp, onKeptConnection)
		visitors.assertOnly(nth("active", round), from(defaultSet()))
		visitors.assertOnly(nth("app again", round), fromApp)
	}
}

// nth returns the name of a phase in a round, counted from 0.
func nth(phase string, round int) string { return fmt.Sprintf("%s, round %d", phase, round+1) }

// TestServiceWithNodePortOrSessionAffinity switches a Service that is called through its node
// port, and one with session affinity.
func TestServiceWithNodePortOrSessionAffinity(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.deploy(nil, app("my-app"), `apiVersion: v1
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
	node := e.kubectl("get", "nodes", "-o", `jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}`)
	port := e.kubectl("get", "service", "on-port", "-o", "jsonpath={.spec.ports[0].nodePort}")
	at := "http://" + node + ":" + port
	e.untilAnswerAt(at, "on-port", fromApp)
	names := []string{"on-port", "sticky"}
	specs := map[string]string{}
	for _, name := range names {
		specs[name] = e.spec("service/" + name)
	}
	loads := []*load{e.load(25, at, "on-port"), e.callers(25, "sticky")}
	next := func(name string) {
		for _, l := range loads {
			l.await(25)
			l.phase(name)
		}
	}
	next("switching on")
	for _, name := range names {
		e.on("service/" + name)
	}
	for _, name := range names {
		e.untilActive(services, name)
	}
	for _, l := range loads {
		l.untilAnswer(fromPage)
	}
	next("active")
	next("switching off")
	for _, name := range names {
		e.off("service/" + name)
		e.until(services, name, "restored", restored)
		assert.Equal(t, specs[name], e.spec("service/"+name))
	}
	e.untilClean() // no Service routes to the page any more
	next("app again")
	for _, l := range loads {
		l.await(25)
		l.stop()
		l.assertOnly("active", from(defaultSet()), onKeptConnection)
		l.assertOnly("app again", fromApp, onKeptConnection)
	}
}

// onKeptConnection reports whether the answer came on a reused connection, which stays with its Pod.
func onKeptConnection(a answer) bool { return !a.fresh }

// TestServiceAndItsIngressUnderLoad puts an Ingress and then its Service in maintenance, and
// ends both in the same order.
func TestServiceAndItsIngressUnderLoad(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	host := e.host("my-app")
	e.deploy([]string{host}, app("my-app"), ingress("my-app", host, "my-app", 80))
	l := e.visitors(50, host)
	l.await(25)
	l.phase("on")
	e.on("ingress/my-app")
	e.untilActive(ingresses, "my-app")
	e.untilAnswer(host, fromPage)
	l.phase("both")
	e.on("service/my-app")
	e.untilActive(services, "my-app")
	l.await(50)
	e.off("ingress/my-app")
	e.until(ingresses, "my-app", "restored", restored)
	l.await(50)
	l.phase("off")
	e.off("service/my-app")
	e.until(services, "my-app", "restored", restored)
	l.untilAnswer(fromApp)
	l.phase("app again")
	l.await(50)
	e.untilClean()
	l.stop()
	l.assertOnly("on", fromApp, from(defaultSet()))
	l.assertOnly("both", from(defaultSet()))
	l.assertOnly("app again", fromApp)
	for _, object := range []string{"service/my-app", "ingress/my-app"} {
		assert.NotContains(t, e.kubectl("get", object, "-o", "jsonpath={.metadata.annotations}"), annotations.Prefix, object)
	}
}
