package target

import (
	"encoding/json"
	"fmt"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"maintenance-controller.io/pkg/annotations"
)

// The AWS load balancer controller finds settings by the names of backends, in annotations
// of the Ingress that end in the name. A page has another name.
const (
	albActions    = "alb.ingress.kubernetes.io/actions."
	albConditions = "alb.ingress.kubernetes.io/conditions."
)

// isALBAction says whether the name of a backend is that of an action in an annotation, and
// not that of a Service.
func isALBAction(b networkingv1.IngressBackend) bool {
	return b.Service != nil && b.Service.Port.Name == "use-annotation"
}

// albForwards says whether an action sends visitors to an app. An action that cannot be
// read may.
func albForwards(ing *networkingv1.Ingress, b networkingv1.IngressBackend) bool {
	var action struct{ Type string }
	if err := json.Unmarshal([]byte(ing.Annotations[albActions+b.Service.Name]), &action); err != nil {
		return true
	}
	return action.Type != "redirect" && action.Type != "fixed-response"
}

// hasALBConditions says whether an annotation restricts the requests for the backend by its
// name. Under the page's name, all requests would match.
func hasALBConditions(ing *networkingv1.Ingress, b networkingv1.IngressBackend) bool {
	return b.Service != nil && ing.Annotations[albConditions+b.Service.Name] != ""
}

// ingressNotes reports backends that stay although visitors are sent there.
func ingressNotes(object map[string]any) Notes {
	ing, err := readIngress(object)
	if err != nil {
		return Notes{}
	}
	var notes Notes
	swapped := 0
	look := func(where string, b networkingv1.IngressBackend) {
		switch {
		case isALBAction(b) && albForwards(ing, b):
			notes.LeftAlone = append(notes.LeftAlone, fmt.Sprintf("%s: its backend is an action of the AWS load balancer controller (annotation %s%s) that leads past the page: its visitors get the app",
				where, albActions, annotations.Clip(b.Service.Name)))
		case isALBAction(b):
		case hasALBConditions(ing, b):
			notes.LeftAlone = append(notes.LeftAlone, fmt.Sprintf("%s: its backend stays on the app because annotation %s%s sets conditions for it by name, and the page would be shown without them: remove that annotation during maintenance, or put the Service in maintenance",
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
