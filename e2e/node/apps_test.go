package node

import (
	"fmt"
	"strings"
)

// app is a Deployment and a Service of the sample app.
func app(name string) string { return appOf(name, "/sample-app", "") }

// tlsApp is an app that speaks only TLS on its port 443 and h2c on its port 80.
func tlsApp(name, serviceAnnotations string) string {
	return appOf(name, "/tls-app", serviceAnnotations)
}

// appOf asks for CPU as apps do: what asks for none gets none while a machine is busy.
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

// ingress leads a host to a port of an app.
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

// ingressRoute leads a host to a service, given as YAML.
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

// customPage is a page of the test's own namespace.
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

// serve applies an app and what leads to it, and waits until visitors of the hosts
// get the app.
func (w *world) serve(hosts []string, manifests ...string) {
	w.Helper()
	w.apply(manifests...)
	w.untilAvailable("--all")
	for _, host := range hosts {
		w.arrives(host, fromApp)
	}
}

// untilAvailable waits for a Deployment, or --all.
func (w *world) untilAvailable(which string) {
	w.Helper()
	w.kubectl("wait", "--for=condition=Available", "deployment", which, fmt.Sprintf("--timeout=%s", patience))
}

// hostsOf are n hosts of the test's own.
func (w *world) hostsOf(n int) []string {
	var hosts []string
	for i := range n {
		hosts = append(hosts, w.host(fmt.Sprintf("app-%02d", i)))
	}
	return hosts
}

// nameOf is the name that a host of ours was made from.
func nameOf(host string) string {
	name, _, _ := strings.Cut(host, ".")
	return name
}
