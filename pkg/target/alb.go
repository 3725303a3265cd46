package target

import (
	"encoding/json"
	"fmt"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"maintenance-controller.io/pkg/annotations"
)

// AWS's load balancer controller hangs settings on the names of backends, by
// annotations of the Ingress that end in the name. A page has another name.
const (
	albActions    = "alb.ingress.kubernetes.io/actions."
	albConditions = "alb.ingress.kubernetes.io/conditions."
)

// isAction: the name of such a backend is that of an action in an annotation, and
// not of a Service.
func isAction(b networkingv1.IngressBackend) bool {
	return b.Service != nil && b.Service.Port.Name == "use-annotation"
}

// leadsOn says whether an action sends visitors to an app. One that cannot be read may.
func leadsOn(ing *networkingv1.Ingress, b networkingv1.IngressBackend) bool {
	var action struct{ Type string }
	if err := json.Unmarshal([]byte(ing.Annotations[albActions+b.Service.Name]), &action); err != nil {
		return true
	}
	return action.Type != "redirect" && action.Type != "fixed-response"
}

// hasConditions: an annotation says which requests the backend is for, by its name.
// Under the page's name it would be for all of them.
func hasConditions(ing *networkingv1.Ingress, b networkingv1.IngressBackend) bool {
	return b.Service != nil && ing.Annotations[albConditions+b.Service.Name] != ""
}

// ingressNotes tells which backends stay although visitors are sent there.
func ingressNotes(object map[string]any) Notes {
	ing, err := readIngress(object)
	if err != nil {
		return Notes{}
	}
	var notes Notes
	swapped := 0
	look := func(where string, b networkingv1.IngressBackend) {
		switch {
		case isAction(b) && leadsOn(ing, b):
			notes.LeftAlone = append(notes.LeftAlone, fmt.Sprintf("%s: its backend is an action of AWS's load balancer controller (annotation %s%s) that leads past the page: its visitors get the app",
				where, albActions, annotations.Clip(b.Service.Name)))
		case isAction(b):
		case hasConditions(ing, b):
			notes.LeftAlone = append(notes.LeftAlone, fmt.Sprintf("%s: its backend stays on the app, since annotation %s%s has conditions for it by its name, and the page would be shown without them: take that annotation off during maintenance, or put the Service in maintenance",
				where, albConditions, annotations.Clip(b.Service.Name)))
		default:
			swapped++
		}
	}
	if ing.Spec.DefaultBackend != nil {
		look("the default backend", *ing.Spec.DefaultBackend)
	}
	for _, rule := range ing.Spec.Rules {
		if rule.HTTP == nil {
			continue
		}
		for _, p := range rule.HTTP.Paths {
			look(fmt.Sprintf("path %q", annotations.Clip(rule.Host+p.Path)), p.Backend)
		}
	}
	if swapped == 0 {
		notes.Refused = strings.Join(notes.LeftAlone, "; ")
	}
	return notes
}
