package apiserver

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
)

// manifests has an object of each kind, by its name.
var manifests = map[string]func(name string) string{
	"Ingress": ingress, "IngressRoute": ingressRoute, "HTTPRoute": httpRoute, "GRPCRoute": grpcRoute, "Service": service,
}

func ingress(name string) string {
	return fmt.Sprintf(`
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: %s
  labels: {app: shop}
spec:
  ingressClassName: traefik
  defaultBackend: {service: {name: fallback, port: {name: web}}}
  tls: [{hosts: [a.example], secretName: tls}]
  rules:
    - host: a.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}
          - {path: /api, pathType: Exact, backend: {service: {name: api, port: {name: http}}}}
    - host: b.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {resource: {apiGroup: k8s.example.com, kind: Bucket, name: static}}}
`, name)
}

func ingressRoute(name string) string {
	return fmt.Sprintf(`
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata:
  name: %s
spec:
  entryPoints: [web]
  routes:
    - kind: Rule
      match: Host(`+"`a.example`"+`)
      priority: 7
      middlewares: [{name: auth}]
      services:
        - {name: app, port: 8443, scheme: https, weight: 3, sticky: {cookie: {name: s}}, healthCheck: {path: /up, interval: 5s}}
        - {name: canary, port: web, weight: 1}
    - kind: Rule
      match: Host(`+"`b.example`"+`)
      services: [{kind: TraefikService, name: mirror}]
`, name)
}

func httpRoute(name string) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: %s
spec:
  parentRefs: [{name: web}]
  hostnames: [a.example, b.example]
  rules:
    - name: first
      matches: [{path: {value: /shop}}]
      filters: [{type: RequestMirror, requestMirror: {backendRef: {name: mirror, port: 8443}}}]
      backendRefs:
        - {name: app, port: 8443, weight: 3, filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]}
        - {name: canary, namespace: other, port: 8080, weight: 0}
    - backendRefs: [{name: api, port: 8080}]
`, name)
}

func grpcRoute(name string) string {
	return fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata:
  name: %s
spec:
  parentRefs: [{name: web}]
  hostnames: [a.example, b.example]
  rules:
    - name: first
      matches: [{method: {service: shop.Cart}}]
      backendRefs:
        - {name: app, port: 8443, weight: 3}
        - {name: canary, namespace: other, port: 8080, weight: 0}
    - matches: [{method: {service: shop.Orders, method: Get}}]
      backendRefs: [{name: api, port: 8080}]
`, name)
}

func service(name string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata:
  name: %s
  labels: {app: shop}
spec:
  selector: {app: shop, tier: web}
  ports:
    - {name: web, port: 80, targetPort: 8080}
    - {name: secure, port: 443, targetPort: https, appProtocol: https}
    - {name: dns, port: 53, protocol: UDP, targetPort: 5353}
`, name)
}

func customPage(name, key, text string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: page-%s, labels: {%s: %s}}\ndata: {%s: %q}\n", name, annotations.CustomPageLabel, name, key, text)
}

// simpleIngress has one backend, a Service whose readiness can be judged.
func simpleIngress(name string) string {
	return fmt.Sprintf(`
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: %s
spec:
  rules:
    - host: a.example
      http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: my-app, port: {number: 80}}}}]}
`, name)
}

func withClass(name, class string) string {
	return "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: " + name + "}, spec: {ingressClassName: " + class +
		", defaultBackend: {service: {name: app, port: {number: 80}}}}}"
}

func rules(u *unstructured.Unstructured) []any {
	r, _, _ := unstructured.NestedSlice(u.Object, "spec", "rules")
	return r
}
