package target

import (
	"fmt"
	"strings"
)

// HTTPRoute is gateway.networking.k8s.io/v1 HTTPRoute: see route.
func HTTPRoute() Kind {
	return route{
		kind: "HTTPRoute", resource: "httproutes",
		defaults: httpDefaults, unmatched: []any{map[string]any{}}, text: httpMatch,
	}.asKind()
}

// httpDefaults: without a path, a match is for everything below /.
func httpDefaults(match map[string]any) {
	path, ok := match["path"].(map[string]any)
	if !ok && match["path"] != nil {
		return
	}
	match["path"] = withDefault(withDefault(path, "type", "PathPrefix"), "value", "/")
}

// httpMatch describes a match for people: GET PathPrefix /api, header x-beta.
func httpMatch(match any) string {
	text := func(path ...any) string { s, _ := valueAt(match, path).(string); return s }
	s := strings.TrimSpace(fmt.Sprintf("%s %s %s", text("method"), text("path", "type"), text("path", "value")))
	return s + conditions(match, "headers", "header") + conditions(match, "queryParams", "query")
}

// conditions lists the names of a match's conditions.
func conditions(match any, field, word string) string {
	var s strings.Builder
	list, _ := objectsAt(match, field)
	for _, c := range list {
		name, _ := c["name"].(string)
		s.WriteString(", " + word + " " + name)
	}
	return s.String()
}
