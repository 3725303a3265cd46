package node

import (
	"fmt"
	"strings"
)

// app returns the manifests of a Deployment and a Service that run the sample app.
func app(name string) string { return appOf(name, "/sample-app", "") }

// tlsApp returns the manifests of an app that serves only TLS on port 443 and only h2c on port 80.
func tlsApp(name, serviceAnnotations string) string {
	return appOf(name, "/tls-app", serviceAnnotations)
}

// appOf requests CPU as real apps do: on a busy machine, a Pod without a request gets none.
func appOf(name, program, serviceAnnotations string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      terminationGracePeriodSeconds: 1
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: app
          image: sample-app:dev
          command: [%[2]s]
          env: [{name: APP_NAME, value: %[1]s}]
          resources: {requests: {cpu: 50m}}
          readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s, annotations: {%[3]s}}
spec:
  selector: {app: %[1]s}
  ports: [{name: web, port: 80, targetPort: 8080}, {name: secure, port: 443, targetPort: 8443}]
`, name, program, serviceAnnotations)
}

// ingress returns an Ingress that routes a host to a port of an app.
func ingress(name, host, app string, port int) string {
	return fmt.Sprintf(`apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: %s}
spec:
  rules:
    - host: %s
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: %s, port: {number: %d}}}}
`, name, host, app, port)
}

// ingressRoute returns an IngressRoute that routes a host to a service, given as YAML.
func ingressRoute(name, host, service string) string {
	return fmt.Sprintf(`apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: %[1]s}
spec:
  entryPoints: [web]
  routes:
    - kind: Rule
      match: Host(%[4]s%[2]s%[4]s)
      services: [{%[3]s}]
`, name, host, service, "`")
}

// customPage returns a page in the test's own namespace. retryAfter is in seconds.
func customPage(name, title string, retryAfter int) string {
	return fmt.Sprintf(`apiVersion: v1
kind: ConfigMap
metadata: {name: page-%[1]s, labels: {maintenance/custom-page: %[1]s}}
data:
  page.html: "<!doctype html><title>%[2]s</title><h1>%[2]s</h1>"
  page.json: '{"title": "%[2]s"}'
  page.xml: "<maintenance><title>%[2]s</title></maintenance>"
  page.txt: "%[2]s"
  retry-after: "%[3]d"
`, name, title, retryAfter)
}

// deploy applies the manifests of an app and its routes, and waits until visitors of the
// hosts get the app.
func (e *env) deploy(hosts []string, manifests ...string) {
	e.Helper()
	e.apply(manifests...)
	e.untilAvailable("--all")
	for _, host := range hosts {
		e.untilAnswer(host, fromApp)
	}
}

// untilAvailable waits until a Deployment is available; --all waits for all of them.
func (e *env) untilAvailable(which string) {
	e.Helper()
	e.kubectl("wait", "--for=condition=Available", "deployment", which, fmt.Sprintf("--timeout=%s", waitTimeout))
}

// hostsOf returns n hosts that only this test uses.
func (e *env) hostsOf(n int) []string {
	var hosts []string
	for i := range n {
		hosts = append(hosts, e.host(fmt.Sprintf("app-%02d", i)))
	}
	return hosts
}

// nameOf returns the name that was given to host.
func nameOf(host string) string {
	name, _, _ := strings.Cut(host, ".")
	return name
}
