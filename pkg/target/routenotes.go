package target

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"maintenance-controller.io/pkg/annotations"
)

// notes tells of a route which rules stay, and what of the others stays in force. What
// hangs on a route by a policy of its own (BackendTrafficPolicy, SecurityPolicy and the
// like) is not in it, and cannot be told.
func (r route) notes(object map[string]any) (n Notes) {
	rules, err := r.rules(object)
	if err != nil {
		return Notes{} // Slots says so
	}
	for _, rule := range rules {
		name := annotations.Clip(r.identity(rule).String())
		if why := r.stays(rule); why != "" {
			n.LeftAlone = append(n.LeftAlone, fmt.Sprintf("%q stays as it is, since %s", name, why))
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

// inFront names fields of a rule that may keep visitors from the page, or repeat its
// answers, and says how.
func inFront(rule any) (all []string) {
	filters, _ := objectsAt(rule, "filters")
	for i, filter := range filters {
		text := func(path ...any) string { s, _ := valueAt(filter, path).(string); return annotations.Clip(s) }
		switch text("type") {
		case "ExtensionRef":
			all = append(all, fmt.Sprintf("filters[%d] is %s %q of the implementation's own: it may answer before the page does (a sign-in, a redirect, an error page)",
				i, text("extensionRef", "kind"), text("extensionRef", "name")))
		case "ExternalAuth":
			all = append(all, fmt.Sprintf("filters[%d] (externalAuth) asks %q who may pass: who may not gets its answer, and not the page", i, text("externalAuth", "backendRef", "name")))
		}
	}
	retry, hasRetry := valueAt(rule, []any{"retry"}).(map[string]any)
	codes, hasCodes := retry["codes"].([]any)
	if hasRetry && (!hasCodes || slices.ContainsFunc(codes, func(code any) bool { return fmt.Sprint(code) == "503" })) {
		all = append(all, "retry repeats requests that are answered with 503, as the page answers them")
	}
	if valueAt(rule, []any{"sessionPersistence"}) != nil {
		all = append(all, "sessionPersistence may keep visitors that have a session from the page, or on it afterwards")
	}
	return all
}
