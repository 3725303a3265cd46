package scripts

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/e2e/cluster"
)

// demoClasses are two ingress controllers, of which the demo knows one.
const demoClasses = `apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: traefik}
spec: {controller: traefik.io/ingress-controller}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: rare}
spec: {controller: example.com/rare}`

// demoTraefik are its Services as Traefik's chart makes them.
const demoTraefik = `apiVersion: v1
kind: Namespace
metadata: {name: traefik}
---
apiVersion: v1
kind: Service
metadata: {name: metrics, namespace: traefik, labels: {app.kubernetes.io/name: traefik}}
spec: {ports: [{port: 9100}]}
---
apiVersion: v1
kind: Service
metadata: {name: traefik, namespace: traefik, labels: {app.kubernetes.io/name: traefik}}
spec: {ports: [{name: web, port: 80}, {name: websecure, port: 443}]}`

// newDemoPerson is somebody with a cluster of their own, without nodes, and an image for the demo.
func newDemoPerson(t *testing.T) *person {
	t.Helper()
	plane, err := cluster.StartControlPlane(t.Context(), cluster.Options{Log: os.Stderr})
	require.NoError(t, err)
	t.Cleanup(plane.Stop)
	p := newPersonOn(t, plane)
	p.environment = append(p.environment, "IMAGE="+testImage, "YES=", "KEEP=", "URL=", "INGRESS_CLASS=", "INGRESS_SERVICE=")
	return p
}

// untouched requires that the cluster has nothing of the demo.
func (p *person) untouched() {
	p.Helper()
	assert.Empty(p, p.run("kubectl get namespace maintenance-demo --ignore-not-found"))
	assert.Empty(p, p.run("kubectl get crd servicecheckers.maintenance-controller.io --ignore-not-found"))
}

// The demo on somebody's cluster shows where it would run and what it would make, and
// changes nothing before somebody has said yes.
func TestDemoAsksFirst(t *testing.T) {
	p := newDemoPerson(t)
	const demo = "e2e/demo/own.sh up </dev/null"
	refused := func(line string, want ...string) {
		t.Helper()
		out := p.mustFail(1, line)
		for _, text := range want {
			assert.Contains(t, out, text)
		}
		p.untouched()
	}

	refused(demo, "the cluster has no IngressClass", "helm install traefik")
	p.runWith(demoClasses, "kubectl apply -f -")
	refused(demo, "choose one with INGRESS_CLASS, of rare traefik")
	refused("INGRESS_CLASS=none "+demo, "the cluster has no IngressClass none")
	refused("INGRESS_CLASS=rare "+demo, "no Service is known for ingress class rare (example.com/rare)", "INGRESS_SERVICE=")
	refused("INGRESS_CLASS=rare INGRESS_SERVICE=edge "+demo, "NAMESPACE/NAME:PORT")
	refused("INGRESS_CLASS=rare URL=https://edge "+demo, "http://HOST")
	p.runWith(demoTraefik, "kubectl apply -f -")
	p.run("kubectl annotate ingressclass traefik ingressclass.kubernetes.io/is-default-class=true")
	refused(demo, "context    maintenance-e2e", testImage, "ingress class traefik, port-forward to Service traefik/traefik:80",
		"removes all of it", "there is no terminal to ask on; add YES=1")
	refused("KEEP=1 URL=http://edge:8080 "+demo, "ingress class traefik, http://edge:8080", "until make demo-down")

	const asked = `script -qec 'e2e/demo/own.sh up' /dev/null <<<`
	refused(asked+"n", "Run the demo there? [y/N]", "nothing was changed")
	refused(asked+"''", "nothing was changed")

	p.run("kubectl create namespace ops; kubectl create deployment mine -n ops --image x")
	p.run("kubectl label deployment mine -n ops app.kubernetes.io/name=maintenance-controller")
	refused(demo, "this cluster already has the controller, in namespace ops")
	p.run("kubectl delete namespace ops --wait=false; kubectl delete deployment -n ops --all; kubectl create namespace maintenance-demo")
	for _, line := range []string{demo, "e2e/demo/own.sh down"} {
		assert.Contains(t, p.mustFail(1, line), "namespace maintenance-demo that is not the demo's")
	}
	p.run("kubectl get namespace maintenance-demo")
}
