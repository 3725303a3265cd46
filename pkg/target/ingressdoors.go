package target

import (
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pkg/swap"
)

// ingressPort is the port of a backend as a slot holds it; nil if it has none, or both
// a name and a number.
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
		_ = runtime.DefaultUnstructuredConverter.FromUnstructured(object, &b) // what is none leads nowhere
	}
	return b
}

func throughIngress(s swap.Slot, b networkingv1.IngressBackend, d swap.Doors) swap.Slot {
	s.Page = func(set string, original any) any {
		n := 0
		for _, way := range s.Ways(original) {
			n = d.To(set, way)
		}
		return ingressDoor(set, original, n)
	}
	s.Fit = func(want any) swap.Fit {
		if n, ok := leads(d, s.PageSet, ingressPort(b)); ok && s.PageSet != d.Exact {
			want = ingressDoor(s.PageSet, s.Value, n)
		}
		return ingressFit(b, s.Value, want)
	}
	return s
}

// ingressWays: of a backend, or none if it is not known.
func ingressWays(object map[string]any, value any) []swap.Way {
	if value == nil {
		return nil
	}
	b := ingressBackends(namespaceOf(object), value)[0]
	class, _ := ingressClass(object)
	way := swap.Way{Service: b.Name, Port: b.Port, Refused: b.Unjudged, TLSPorts: class == "" || strings.Contains(class, "traefik")}
	if way.Refused == "" {
		way.Scheme, way.Refused = ingressScheme(object, b.Name)
	}
	return []swap.Way{way}
}

// What annotations say of how an ingress controller speaks to the apps of an Ingress.
// Such as hang on the Ingress stay in force on the page, so that a door is spoken to in
// the same way, and passes that on. Those that name a Service do not.
const (
	nginxProtocol   = "nginx.ingress.kubernetes.io/backend-protocol"
	haproxyProtocol = "haproxy-ingress.github.io/backend-protocol"
	nginxTLS        = "nginx.org/ssl-services"
	nginxGRPC       = "nginx.org/grpc-services"
	nginxRewrites   = "nginx.org/rewrites"
	haproxyProto    = "haproxy.org/server-proto"
)

// verifying are annotations under which TLS to the app is verified, or has a client
// certificate.
var verifying = []string{
	"nginx.ingress.kubernetes.io/proxy-ssl-secret", "haproxy-ingress.github.io/secure-crt-secret", "haproxy-ingress.github.io/secure-verify-ca-secret",
	"haproxy.org/server-ca", "haproxy.org/server-crt",
}

// ingressScheme says how a Service is spoken to, where an annotation says so of it by
// its name, and why no door may lead there.
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
		return "", "it speaks FastCGI and not HTTP"
	case of("nginx.ingress.kubernetes.io/proxy-ssl-verify") == "on", slices.ContainsFunc(verifying, func(key string) bool { return of(key) != "" }):
		return "", verifiesTLS
	case cloudLoadBalancer(object) != "":
		return "", "doors have not been tried with the load balancers of " + cloudLoadBalancer(object)
	case rewrites(of(nginxRewrites), service):
		return "", nginxRewrites + " takes other paths to it, and names it, which a door is not"
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

// cloudLoadBalancer names who makes the load balancer of an Ingress, if it is one that
// sends visitors to Pods or nodes by itself; empty if none is known to.
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
