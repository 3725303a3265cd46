package target

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	traefikv1alpha1 "github.com/traefik/traefik/v3/pkg/provider/kubernetes/crd/traefikio/v1alpha1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
)

// IngressRoute is traefik.io/v1alpha1 IngressRoute: one slot for the services of each
// route.
//
// The whole list is one slot: a leftover healthCheck would drop the route, and a leftover
// scheme or serversTransport would speak TLS to the page. Routes to ACME solvers have none.
func IngressRoute(solvers ...string) Kind {
	known := acmeSolvers(solvers)
	return Kind{
		Name:     "IngressRoute",
		Resource: traefikv1alpha1.SchemeGroupVersion.WithResource("ingressroutes"),
		Custom:   true,
		Catches:  "visitors of its routes, through Traefik",
		Misses:   "callers inside the cluster, other routes to the same app, a LoadBalancer or NodePort of the app; routes of TCP and UDP",
		Slots:    func(object map[string]any) ([]swap.Slot, error) { return ingressRouteSlots(object, known) },
		Hosts:    ingressRouteHosts,
		Notes:    ingressRouteNotes,
		Front:    ingressRouteFront,
		Classes:  ownClass(ingressRouteClass),
	}
}

// ingressRouteSlots reads only those parts of each route that say where it leads: what a
// newer Traefik adds must not stop a restore.
func ingressRouteSlots(object map[string]any, acme solvers) ([]swap.Slot, error) {
	routes, err := ingressRoutes(object)
	if err != nil {
		return nil, err
	}
	at := servicesIn(namespaceOf(object))
	var slots []swap.Slot
	ids := duplicates{}
	for i, r := range routes {
		match, _ := valueAt(r, []any{"match"}).(string)
		id := ids.number(swap.ID{Host: hostOf(match), Path: match, Type: "match"})
		services, ok := at.entriesIn(r)
		if !ok || len(services) == 0 { // a parent of other routes must stay one
			continue
		}
		if strings.Contains(match, acmePath) && acme.areAll(services) {
			continue
		}
		slots = append(slots, at.slot(object, id, services, "spec", "routes", i, "services"))
	}
	return slots, nil
}

func ingressRoutes(object map[string]any) ([]any, error) {
	list := valueAt(object, []any{"spec", "routes"})
	routes, ok := list.([]any)
	if !ok && list != nil {
		return nil, errors.New("read as traefik.io/v1alpha1 IngressRoute: spec.routes is not a list")
	}
	return routes, nil
}

// servicesIn is the slot of a route of an object in this namespace.
func servicesIn(namespace string) entries {
	return entries{
		field: "services", identityFields: []string{"name", "namespace", "kind", "port"},
		namespace: namespace, page: ingressRoutePage, door: serviceDoor, upstream: serviceUpstream,
		fit: func(service, as map[string]any) swap.Fit { return serviceFit(service, as, namespace) },
	}
}

// serviceFit: Traefik's CRD has no defaults, so any field next to the name and the port was
// written by somebody. A value that means the same as the page's entry is no difference.
func serviceFit(service, want map[string]any, namespace string) swap.Fit {
	fit := min(portFit(service["port"], want["port"]), missingFieldsFit(service, want, map[string][]any{"weight": {int64(1)}, "strategy": {"wrr", "RoundRobin"}}))
	for field, value := range service {
		var as []any
		other := swap.Near
		switch field {
		case "name", "port":
			continue
		case "kind":
			as, other = []any{"Service"}, swap.Mismatch
		case "namespace":
			as, other = []any{namespace}, swap.Mismatch
		case "scheme":
			as = []any{"http"}
		case "strategy":
			as = []any{"wrr", "RoundRobin"}
		case "passHostHeader":
			as = []any{true}
		case "nativeLB", "nodePortLB":
			as = []any{false}
		}
		if there, ok := want[field]; ok {
			as = []any{there}
		}
		if !slices.ContainsFunc(as, func(as any) bool { return reflect.DeepEqual(as, value) }) {
			fit = min(fit, other)
		}
	}
	return fit
}

// hostMatcher finds the first host that a rule names, in Traefik's syntax of v3 and v2:
// Host(`a.example`), Host("a.example").
var hostMatcher = regexp.MustCompile("\\bHost\\(\\s*[`\"']([^`\"']+)[`\"']")

func hostOf(match string) string {
	if m := hostMatcher.FindStringSubmatch(match); m != nil {
		return m[1]
	}
	return ""
}

// ingressRoutePage names the port by number: a port name that starts with https, or port
// 443, would make Traefik speak TLS.
func ingressRoutePage(set string) map[string]any {
	return map[string]any{"name": set, "port": int64(page.ServicePort)}
}

// ingressRouteNotes reports routes whose services cannot be read.
func ingressRouteNotes(object map[string]any) Notes {
	var n Notes
	routes, _ := ingressRoutes(object) // Slots says why not
	for _, r := range routes {
		if _, known := servicesIn("").entriesIn(r); !known {
			match, _ := valueAt(r, []any{"match"}).(string)
			n.LeftAlone = append(n.LeftAlone, fmt.Sprintf("route %q is left as it is because its services have a shape that this version does not know", annotations.Clip(match)))
		}
	}
	return n
}

func ingressRouteClass(object map[string]any) (string, bool) {
	class, ok := valueAt(object, []any{"metadata", "annotations", classAnnotation}).(string)
	return class, ok
}
