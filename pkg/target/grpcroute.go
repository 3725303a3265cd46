package target

import "strings"

// GRPCRoute is gateway.networking.k8s.io/v1 GRPCRoute: see route. Its page is a gRPC answer
// with UNAVAILABLE. The page Service's port has no appProtocol, which implementations take
// for plain-text HTTP/2 here.
func GRPCRoute() Kind {
	return route{kind: "GRPCRoute", resource: "grpcroutes", defaults: grpcDefaults, text: grpcMatch, noDoors: speaksHTTP2}.asKind()
}

// grpcDefaults: a method is matched exactly.
func grpcDefaults(match map[string]any) {
	if method, ok := match["method"].(map[string]any); ok {
		match["method"] = withDefault(method, "type", "Exact")
	}
}

// grpcMatch describes a match for people: shop.Cart/Add, header x-beta.
func grpcMatch(match any) string {
	text := func(path ...any) string { s, _ := valueAt(match, path).(string); return s }
	method := strings.TrimSuffix(text("method", "service")+"/"+text("method", "method"), "/")
	if method == "" {
		method = "any method"
	}
	return method + conditions(match, "headers", "header")
}
