package target

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"maintenance-controller.io/pkg/annotations"
)

// Follower is a controller that reports in the object's status what it has observed of it.
type Follower struct {
	// Name identifies it: the parent, and the controller's own name.
	Name string
	// Seen is the generation of the object that it has observed; 0 if it does not say.
	Seen int64
	// Refused is why it does not accept the object, in its own words; empty if it does.
	Refused string
	// Since is when it began to refuse the object; zero if it does not, or does not say.
	Since time.Time
}

// parentRefs of a route, with the API server's defaults.
func parentRefs(object map[string]any) []map[string]any {
	spec := map[string]any{"parentRefs": valueAt(object, []any{"spec", "parentRefs"})}
	namespace, _ := valueAt(object, []any{"metadata", "namespace"}).(string)
	refs, _ := objectsAt(spec, "parentRefs")
	for i, ref := range refs {
		refs[i] = parentRef(ref, namespace)
	}
	return refs
}

func parentRef(ref map[string]any, namespace string) map[string]any {
	ref = withDefault(withDefault(ref, "group", gatewayAPI), "kind", "Gateway")
	return withDefault(ref, "namespace", namespace)
}

// parentName names a parent for people, and distinguishes it from the route's other
// parents.
func parentName(ref map[string]any) string {
	text := func(field string) string { s, _ := ref[field].(string); return s }
	name := text("kind") + " " + text("namespace") + "/" + text("name")
	if section := text("sectionName"); section != "" {
		name += " listener " + section
	}
	if port := ref["port"]; port != nil {
		name += fmt.Sprintf(" port %v", port)
	}
	return name
}

// routeClasses are those of the Gateways that a route names. They are not known if one of
// its parents is not a Gateway or cannot be read.
func routeClasses(object map[string]any, gateway func(namespace, name string) (class string, known bool)) (classes []string, known bool) {
	refs := parentRefs(object)
	known = len(refs) > 0
	for _, ref := range refs {
		if ref["group"] != gatewayAPI || ref["kind"] != "Gateway" {
			known = false
			continue
		}
		namespace, _ := ref["namespace"].(string)
		name, _ := ref["name"].(string)
		class, found := gateway(namespace, name)
		switch {
		case !found:
			known = false
		case !slices.Contains(classes, class):
			classes = append(classes, class)
		}
	}
	return classes, known
}

// routeFollowers reads what the controllers of the route's current parents report. Having
// observed the route does not mean having followed: most controllers write the status
// before they change their configuration.
func routeFollowers(object map[string]any) []Follower {
	namespace, _ := valueAt(object, []any{"metadata", "namespace"}).(string)
	named := map[string]bool{}
	for _, ref := range parentRefs(object) {
		named[parentName(ref)] = true
	}
	status := map[string]any{"parents": valueAt(object, []any{"status", "parents"})}
	parents, _ := objectsAt(status, "parents")
	var all []Follower
	for _, parent := range parents {
		ref, _ := parent["parentRef"].(map[string]any)
		name := parentName(parentRef(ref, namespace))
		controller, _ := parent["controllerName"].(string)
		if !named[name] {
			continue
		}
		f := Follower{Name: name + " of " + controller}
		f.read(parent)
		all = append(all, f)
	}
	return all
}

// read reads the conditions, two of which are about the route as a whole.
func (f *Follower) read(parent map[string]any) {
	conditions, _ := objectsAt(parent, "conditions")
	var why []string
	for _, c := range conditions {
		text := func(field string) string { s, _ := c[field].(string); return s }
		if kind := text("type"); kind != "Accepted" && kind != "ResolvedRefs" {
			continue
		}
		seen, _ := c["observedGeneration"].(int64)
		if f.Seen == 0 || seen < f.Seen {
			f.Seen = seen
		}
		if text("status") != "False" {
			continue
		}
		why = append(why, fmt.Sprintf("%s is False: %s (%s)", text("type"), annotations.Clip(text("message")), text("reason")))
		if since, err := time.Parse(time.RFC3339, text("lastTransitionTime")); err == nil && since.After(f.Since) {
			f.Since = since
		}
	}
	f.Refused = strings.Join(why, "; ")
}

// rolloutLabel is on a route while Argo Rollouts moves its backends.
const rolloutLabel = "rollouts.argoproj.io/gatewayapi-canary"

// routeRefusal says why a route cannot be put in maintenance, and what to do; empty if it
// can.
func routeRefusal(object map[string]any) string {
	if valueAt(object, []any{"metadata", "labels", rolloutLabel}) == "in-progress" {
		return "Argo Rollouts is moving the route's backends (label " + rolloutLabel + "): finish or abort the rollout first"
	}
	refs := parentRefs(object)
	mesh := slices.DeleteFunc(refs, func(ref map[string]any) bool { return ref["group"] == "" && ref["kind"] == "Service" })
	if len(mesh) == 0 && valueAt(object, []any{"spec", "parentRefs", 0}) != nil {
		return "the route's only parents are Services: it is for callers inside a mesh, not for visitors. Put the annotation on the Service, or on the route in front of it"
	}
	return ""
}
