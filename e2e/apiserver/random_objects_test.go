package apiserver

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/target"
)

func pick[T any](rnd *rand.Rand, of ...T) T { return of[rnd.IntN(len(of))] }

func randomList(rnd *rand.Rand, most int, f func() any) []any {
	list := []any{}
	for range rnd.IntN(most + 1) {
		list = append(list, f())
	}
	return list
}

func randomTarget(rnd *rand.Rand, k target.Kind) *unstructured.Unstructured {
	spec := map[string]any{}
	switch k.Name {
	case "HTTPRoute", "GRPCRoute":
		spec = randomGatewaySpec(rnd, k.Name)
	case "IngressRoute":
		spec["routes"] = append(randomList(rnd, 6, func() any { return randomRoute(rnd) }), randomRoute(rnd))
		if rnd.IntN(2) == 0 {
			spec["entryPoints"] = randomList(rnd, 3, func() any { return pick(rnd, "web", "websecure") })
		}
	default:
		spec["rules"] = randomList(rnd, 12, func() any { return randomRule(rnd) })
		if rnd.IntN(2) == 0 || len(spec["rules"].([]any)) == 0 {
			spec["defaultBackend"] = randomBackend(rnd)
		}
		if rnd.IntN(3) == 0 {
			spec["ingressClassName"] = "traefik"
		}
		if rnd.IntN(3) == 0 {
			spec["tls"] = []any{map[string]any{"hosts": []any{"a.example"}, "secretName": "tls"}, map[string]any{}}
		}
	}
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": k.APIVersion(), "kind": k.Name, "spec": spec}}
	if rnd.IntN(2) == 0 {
		u.SetLabels(map[string]string{"app": pick(rnd, "", "a", "A_b.c")})
		u.SetAnnotations(map[string]string{"kubernetes.io/ingress.class": "traefik", "note": strings.Repeat("x\t", rnd.IntN(2000))})
	}
	return u
}

func randomBackend(rnd *rand.Rand) any {
	if rnd.IntN(6) == 0 {
		return map[string]any{"resource": map[string]any{"apiGroup": pick(rnd, "k8s.example.com", "x.y"), "kind": "Bucket", "name": "static"}}
	}
	port := pick[map[string]any](rnd, map[string]any{"number": int64(1 + rnd.IntN(65535))}, map[string]any{"name": pick(rnd, "http", "a", "use-annotation", "x-1-y")})
	return map[string]any{"service": map[string]any{"name": pick(rnd, "app", "api", "maintenance-app", "cm-acme-http-solver-abc", strings.Repeat("n", 63)), "port": port}}
}

func randomRule(rnd *rand.Rand) any {
	rule := map[string]any{}
	if host := pick(rnd, "", "a.example", "*.example", "b.a.example", strings.Repeat("h", 63)+".example"); host != "" {
		rule["host"] = host
	}
	if rnd.IntN(8) == 0 {
		return rule
	}
	path := func() any {
		p := map[string]any{"pathType": pick(rnd, "Prefix", "Exact", "ImplementationSpecific"), "backend": randomBackend(rnd)}
		p["path"] = pick(rnd, "/", "/a", "/a/", "/.well-known/acme-challenge/x", "/ü", "/a b", "/"+strings.Repeat("p", 300))
		if p["pathType"] == "ImplementationSpecific" {
			p["path"] = pick(rnd, "", "/", "/.*", "/(?i)x")
		}
		return p
	}
	rule["http"] = map[string]any{"paths": append(randomList(rnd, 5, path), path())}
	return rule
}

func randomRoute(rnd *rand.Rand) any {
	route := map[string]any{"match": pick(rnd, "Host(`a.example`)", "Host(`b.example`) && PathPrefix(`/x`)", "HostRegexp(`^.+$`)", "!Path(`/`)", `Host("c.example")`)}
	for field, value := range map[string]any{"kind": "Rule", "priority": int64(rnd.IntN(1000)), "middlewares": []any{map[string]any{"name": "auth", "namespace": "other"}}, "syntax": "v2"} {
		if rnd.IntN(2) == 0 {
			route[field] = value
		}
	}
	if rnd.IntN(6) == 0 {
		return route // a parent of other routes
	}
	route["services"] = append(randomList(rnd, 3, func() any { return randomService(rnd) }), randomService(rnd))
	return route
}

func randomService(rnd *rand.Rand) any {
	service := map[string]any{"name": pick(rnd, "app", "api", "maintenance-app")}
	for field, value := range map[string]any{
		"port": pick[any](rnd, int64(80), "web", int64(443)), "scheme": pick(rnd, "http", "https", "h2c"), "weight": int64(rnd.IntN(3)),
		"namespace": "other", "passHostHeader": rnd.IntN(2) == 0, "nativeLB": true, "serversTransport": "insecure", "strategy": pick(rnd, "wrr", "p2c"),
		"kind": pick(rnd, "Service", "TraefikService"), "sticky": map[string]any{"cookie": map[string]any{"httpOnly": true, "name": "s"}},
		"healthCheck":        map[string]any{"path": "/up", "interval": pick[any](rnd, "5s", int64(5)), "headers": map[string]any{"x": "y"}},
		"responseForwarding": map[string]any{"flushInterval": "1ms"},
	} {
		if rnd.IntN(3) == 0 {
			service[field] = value
		}
	}
	return service
}

// randomGatewaySpec returns the spec of a route that the API server accepts in most cases.
func randomGatewaySpec(rnd *rand.Rand, kind string) map[string]any {
	spec := map[string]any{"rules": append(randomList(rnd, 4, func() any { return randomGatewayRule(rnd, kind) }), randomGatewayRule(rnd, kind))}
	if rnd.IntN(2) == 0 {
		spec["parentRefs"] = []any{map[string]any{"name": "web"}, map[string]any{"name": "edge", "namespace": "infra", "sectionName": "https"}}
	}
	if rnd.IntN(2) == 0 {
		spec["hostnames"] = []any{"a.example", "*.b.example"}
	}
	return spec
}

func randomGatewayRule(rnd *rand.Rand, kind string) any {
	rule := map[string]any{}
	if rnd.IntN(2) == 0 {
		rule["name"] = fmt.Sprintf("rule-%d", rnd.IntN(4))
	}
	rewritable := false
	if rnd.IntN(4) > 0 {
		matches := append(randomList(rnd, 2, func() any { return randomMatch(rnd, kind) }), randomMatch(rnd, kind))
		rule["matches"] = matches
		path, _ := matches[0].(map[string]any)["path"].(map[string]any)
		rewritable = len(matches) == 1 && path["type"] == "PathPrefix"
	}
	if kind == "HTTPRoute" && rnd.IntN(8) == 0 {
		rule["filters"] = []any{map[string]any{"type": "RequestRedirect", "requestRedirect": map[string]any{"scheme": "https", "statusCode": int64(301)}}}
		return rule
	}
	if filters := randomList(rnd, 2, func() any { return mirrorTo(rnd) }); len(filters) > 0 {
		rule["filters"] = filters
	}
	rule["backendRefs"] = randomList(rnd, 4, func() any {
		ref := randomBackendRef(rnd)
		if rewritable && kind == "HTTPRoute" && rnd.IntN(2) == 0 {
			ref["filters"] = []any{map[string]any{"type": "URLRewrite", "urlRewrite": map[string]any{"path": map[string]any{"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}}}
		}
		return ref
	})
	return rule
}

func mirrorTo(rnd *rand.Rand) any {
	return map[string]any{"type": "RequestMirror", "requestMirror": map[string]any{"backendRef": map[string]any{"name": fmt.Sprintf("shadow-%d", rnd.IntN(3)), "port": int64(80)}}}
}

func randomBackendRef(rnd *rand.Rand) map[string]any {
	ref := map[string]any{"name": pick(rnd, "app", "api", "maintenance-app"), "port": int64(1 + rnd.IntN(65535))}
	for field, value := range map[string]any{"weight": int64(rnd.IntN(1000)), "namespace": "other", "kind": "Service", "filters": []any{
		map[string]any{"type": "ResponseHeaderModifier", "responseHeaderModifier": map[string]any{"add": []any{map[string]any{"name": "x", "value": "y"}}}}, mirrorTo(rnd)}} {
		if rnd.IntN(3) == 0 {
			ref[field] = value
		}
	}
	if rnd.IntN(8) == 0 {
		return map[string]any{"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "llm"}
	}
	return ref
}

func randomMatch(rnd *rand.Rand, kind string) any {
	match := map[string]any{}
	headers := []any{map[string]any{"name": "x-beta", "value": pick(rnd, "1", "2")}}
	if rnd.IntN(3) == 0 {
		match["headers"] = headers
	}
	if kind == "GRPCRoute" {
		match["method"] = pick[any](rnd, map[string]any{"service": "shop.Cart"}, map[string]any{"method": "Get"}, map[string]any{"service": "shop.Orders", "method": "Get", "type": "Exact"})
		return match
	}
	if rnd.IntN(3) > 0 {
		match["path"] = map[string]any{"type": pick(rnd, "PathPrefix", "Exact", "RegularExpression"), "value": pick(rnd, "/", "/a", "/.well-known/acme-challenge/x", "/b/c")}
	}
	if rnd.IntN(3) == 0 {
		match["method"] = pick(rnd, "GET", "POST")
	}
	return match
}

// uniqueMatches returns matches that no other rule has; nil for kinds without such rules.
func uniqueMatches(kind string, n int) []any {
	switch kind {
	case "HTTPRoute":
		return []any{map[string]any{"path": map[string]any{"type": "PathPrefix", "value": fmt.Sprintf("/m%d", n)}}}
	case "GRPCRoute":
		return []any{map[string]any{"method": map[string]any{"type": "Exact", "service": fmt.Sprintf("m%d", n)}}}
	}
	return nil
}
