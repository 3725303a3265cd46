package target

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"maintenance-controller.io/pkg/annotations"
)

// notes reports which rules of a route stay, and what remains in force on the others.
// Policies that are attached to a route (BackendTrafficPolicy, SecurityPolicy and the like)
// are not in the route and cannot be reported.
func (r route) notes(object map[string]any) (n Notes) {
	rules, err := r.rules(object)
	if err != nil {
		return Notes{} // Slots says so
	}
	for _, rule := range rules {
		name := annotations.Clip(r.identity(rule).String())
		if why := r.skipReason(rule); why != "" {
			n.LeftAlone = append(n.LeftAlone, fmt.Sprintf("%q is left as it is because %s", name, why))
			continue
		}
		for _, part := range inFront(rule) {
			n.InFront = append(n.InFront, fmt.Sprintf("%q: %s", name, part))
		}
	}
	if slots, err := r.slots(object); err == nil && len(slots) == 0 {
		n.Refused = cmp.Or(routeRefusal(object), strings.Join(n.LeftAlone, "; "))
	}
	return n
}

// inFront describes fields of a rule that may keep visitors from the page or repeat its
// answers.
func inFront(rule any) (all []string) {
	filters, _ := objectsAt(rule, "filters")
	for i, filter := range filters {
		text := func(path ...any) string { s, _ := valueAt(filter, path).(string); return annotations.Clip(s) }
		switch text("type") {
		case "ExtensionRef":
			all = append(all, fmt.Sprintf("filters[%d] is %s %q, specific to the implementation: it may answer before the page does (a sign-in, a redirect, an error page)",
				i, text("extensionRef", "kind"), text("extensionRef", "name")))
		case "ExternalAuth":
			all = append(all, fmt.Sprintf("filters[%d] (externalAuth) asks %q for authorization: visitors that it rejects get its answer and not the page", i, text("externalAuth", "backendRef", "name")))
		}
	}
	retry, hasRetry := valueAt(rule, []any{"retry"}).(map[string]any)
	codes, hasCodes := retry["codes"].([]any)
	if hasRetry && (!hasCodes || slices.ContainsFunc(codes, func(code any) bool { return fmt.Sprint(code) == "503" })) {
		all = append(all, "retry repeats requests that are answered with 503, which is the page's status")
	}
	if valueAt(rule, []any{"sessionPersistence"}) != nil {
		all = append(all, "sessionPersistence may keep visitors with a session on the app, or on the page afterwards")
	}
	return all
}
