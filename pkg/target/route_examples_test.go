package target_test

import (
	"fmt"
	"math/rand/v2"
)

// randomGatewayRoute makes a route of the Gateway API, as the API server stores it or as
// its author wrote it.
func randomGatewayRoute(rnd *rand.Rand, kind string, match func(*rand.Rand) any) map[string]any {
	metadata := map[string]any{"name": "a", "namespace": "shop"}
	if rnd.IntN(12) == 0 {
		metadata["labels"] = map[string]any{"rollouts.argoproj.io/gatewayapi-canary": "in-progress"}
	}
	parent := map[string]any{"name": "web"}
	if rnd.IntN(12) == 0 {
		parent = map[string]any{"group": "", "kind": "Service", "name": "callers"}
	}
	var rules []any
	for range rnd.IntN(5) {
		rules = append(rules, randomGatewayRule(rnd, match))
	}
	return map[string]any{"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind, "metadata": metadata,
		"spec": map[string]any{"parentRefs": []any{parent}, "hostnames": []any{"a.example"}, "rules": rules, "aFieldOfTheFuture": true}}
}

func randomGatewayRule(rnd *rand.Rand, match func(*rand.Rand) any) map[string]any {
	rule := map[string]any{"aFieldOfTheFuture": map[string]any{"x": int64(1)}}
	if rnd.IntN(3) == 0 {
		rule["name"] = fmt.Sprintf("r%d", rnd.IntN(3))
	}
	if rnd.IntN(4) > 0 {
		matches := []any{}
		for range 1 + rnd.IntN(2) {
			matches = append(matches, match(rnd))
		}
		rule["matches"] = matches
	}
	if rnd.IntN(8) == 0 {
		rule["filters"] = []any{map[string]any{"type": "RequestRedirect", "requestRedirect": map[string]any{"statusCode": int64(301)}}}
		return rule
	}
	var filters []any
	for range rnd.IntN(3) {
		filters = append(filters, randomFilter(rnd))
	}
	if filters != nil {
		rule["filters"] = filters
	}
	var refs []any
	for range rnd.IntN(4) {
		refs = append(refs, randomRef(rnd))
	}
	if refs != nil {
		rule["backendRefs"] = refs
	}
	return rule
}

func randomFilter(rnd *rand.Rand) map[string]any {
	switch rnd.IntN(3) {
	case 0:
		return map[string]any{"type": "RequestMirror", "requestMirror": map[string]any{"backendRef": map[string]any{"name": fmt.Sprintf("shadow-%d", rnd.IntN(2)), "port": int64(80)}, "percent": int64(5)}}
	case 1:
		return map[string]any{"type": "ExtensionRef", "extensionRef": map[string]any{"group": "example.com", "kind": "Auth", "name": "sign-in"}}
	default:
		return map[string]any{"type": "RequestHeaderModifier", "requestHeaderModifier": map[string]any{"set": []any{map[string]any{"name": "x", "value": "y"}}}}
	}
}

func randomRef(rnd *rand.Rand) map[string]any {
	ref := map[string]any{"group": "", "kind": "Service", "name": fmt.Sprintf("svc-%d", rnd.IntN(4)), "port": int64(8080), "weight": int64(rnd.IntN(3))}
	switch rnd.IntN(4) {
	case 0:
		ref["namespace"] = "other"
	case 1:
		ref = map[string]any{"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": "llm", "aFieldOfTheFuture": true}
	case 2:
		ref["filters"] = []any{randomFilter(rnd)}
	}
	return ref
}

func randomHTTPMatch(rnd *rand.Rand) any {
	match := map[string]any{}
	switch rnd.IntN(4) {
	case 0:
		match["path"] = map[string]any{"value": "/.well-known/acme-challenge/x", "type": "Exact"}
	case 1:
		match["path"] = map[string]any{"value": []string{"/", "/a", "/b"}[rnd.IntN(3)]}
	case 2:
		match["path"] = map[string]any{"type": "PathPrefix", "value": "/a"}
		match["headers"] = []any{map[string]any{"name": "x-beta", "value": "1"}}
	}
	if rnd.IntN(3) == 0 {
		match["method"] = "GET"
	}
	return match
}

func randomGRPCMatch(rnd *rand.Rand) any {
	match := map[string]any{"method": map[string]any{"service": fmt.Sprintf("shop.S%d", rnd.IntN(3))}}
	if rnd.IntN(3) == 0 {
		match["headers"] = []any{map[string]any{"name": "x-beta", "value": "1", "type": "Exact"}}
	}
	return match
}
