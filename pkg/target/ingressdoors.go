package target

import (
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pkg/swap"
)

// ingressPort is the port of a backend as a slot holds it; nil if it has none, or both a
// name and a number.
func ingressPort(b networkingv1.IngressBackend) any {
	switch {
	case b.Service == nil || b.Service.Port.Name != "" && b.Service.Port.Number != 0:
		return nil
	case b.Service.Port.Name != "":
		return b.Service.Port.Name
	}
	return int64(b.Service.Port.Number)
}

func readBackend(value any) (b networkingv1.IngressBackend) {
	if object, ok := value.(map[string]any); ok {
		_ = runtime.DefaultUnstructuredConverter.FromUnstructured(object, &b) // anything else leads nowhere
	}
	return b
}

func ingressWithDoors(s swap.Slot, b networkingv1.IngressBackend, d swap.Doors) swap.Slot {
	s.Page = func(set string, original any) any {
		n := 0
		for _, up := range s.Upstreams(original) {
			n = d.To(set, up)
		}
		return ingressDoor(set, original, n)
	}
	s.Fit = func(want any) swap.Fit {
		if n, ok := doorOf(d, s.PageSet, ingressPort(b)); ok && s.PageSet != d.Exact {
			want = ingressDoor(s.PageSet, s.Value, n)
		}
		return ingressFit(b, s.Value, want)
	}
	return s
}

// ingressUpstreams gives that of a backend; none if the backend is not known.
func ingressUpstreams(object map[string]any, value any) []swap.Upstream {
	if value == nil {
		return nil
	}
	b := ingressBackends(namespaceOf(object), value)[0]
	class, _ := ingressClass(object)
	up := swap.Upstream{Service: b.Name, Port: b.Port, Refused: b.Unjudged, TLSPorts: class == "" || strings.Contains(class, "traefik")}
	if up.Refused == "" {
		up.Scheme, up.Refused = ingressScheme(object, b.Name)
	}
	return []swap.Upstream{up}
}

// Annotations that say how an ingress controller speaks to the apps of an Ingress. Those
// for the whole Ingress stay in force on the page, so the controller speaks to a door the
// same way, and the door passes that on. Those that name a Service do not.
const (
	nginxProtocol   = "nginx.ingress.kubernetes.io/backend-protocol"
	haproxyProtocol = "haproxy-ingress.github.io/backend-protocol"
	nginxTLS        = "nginx.org/ssl-services"
	nginxGRPC       = "nginx.org/grpc-services"
	nginxRewrites   = "nginx.org/rewrites"
	haproxyProto    = "haproxy.org/server-proto"
)

// tlsVerifyAnnotations make an ingress controller verify TLS to the app, or present a
// client certificate.
var tlsVerifyAnnotations = []string{
	"nginx.ingress.kubernetes.io/proxy-ssl-secret", "haproxy-ingress.github.io/secure-crt-secret", "haproxy-ingress.github.io/secure-verify-ca-secret",
	"haproxy.org/server-ca", "haproxy.org/server-crt",
}

// ingressScheme says how a Service is spoken to, if an annotation says so by its name, and
// why no door may lead there.
func ingressScheme(object map[string]any, service string) (scheme, refused string) {
	all, _ := valueAt(object, []any{"metadata", "annotations"}).(map[string]any)
	of := func(key string) string { text, _ := all[key].(string); return text }
	names := func(key string) bool {
		return slices.Contains(strings.FieldsFunc(of(key), func(r rune) bool { return r == ',' || r == ' ' }), service)
	}
	switch {
	case isHTTP2(of(nginxProtocol)), isHTTP2(of(haproxyProtocol)), isHTTP2(of(haproxyProto)), names(nginxGRPC):
		return "", speaksHTTP2
	case of(nginxProtocol) == "FCGI":
		return "", "it speaks FastCGI, not HTTP"
	case of("nginx.ingress.kubernetes.io/proxy-ssl-verify") == "on", slices.ContainsFunc(tlsVerifyAnnotations, func(key string) bool { return of(key) != "" }):
		return "", verifiesTLS
	case cloudLoadBalancer(object) != "":
		return "", "the bypass has not been tested with load balancers of " + cloudLoadBalancer(object)
	case rewrites(of(nginxRewrites), service):
		return "", nginxRewrites + " rewrites its paths by the name of the Service, which the bypass does not have"
	case names(nginxTLS):
		return "https", ""
	}
	return "", ""
}

// rewrites says whether items such as "serviceName=app rewrite=/v2/" name a Service.
func rewrites(items, service string) bool {
	for item := range strings.SplitSeq(items, ";") {
		if slices.Contains(strings.Fields(item), "serviceName="+service) {
			return true
		}
	}
	return false
}

// cloudLoadBalancer names the provider of an Ingress's load balancer, if it is one that
// sends visitors directly to Pods or nodes; empty if it is not known to.
func cloudLoadBalancer(object map[string]any) string {
	class, _ := ingressClass(object)
	all, _ := valueAt(object, []any{"metadata", "annotations"}).(map[string]any)
	with := func(prefix string) bool {
		for key := range all {
			if strings.HasPrefix(key, prefix) {
				return true
			}
		}
		return false
	}
	switch {
	case class == "alb" || with("alb.ingress.kubernetes.io/"):
		return "AWS (ALB)"
	// Its controller serves Ingresses without a class too, and writes these on them.
	case class == "gce" || strings.HasPrefix(class, "gce-") || with("networking.gke.io/") || with("ingress.gcp.kubernetes.io/") || with("ingress.kubernetes.io/url-map"):
		return "Google Cloud (GCE)"
	}
	return ""
}
