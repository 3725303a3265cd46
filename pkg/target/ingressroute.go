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

// IngressRoute is traefik.io/v1alpha1 IngressRoute: a slot for the services of each route.
//
// The whole list is one slot: a leftover healthCheck drops the route, a leftover
// scheme or serversTransport would speak TLS to the page. Routes to solvers of ACME have none.
func IngressRoute(solvers ...string) Kind {
	known := withSolvers(solvers)
	return Kind{
		Name:     "IngressRoute",
		Resource: traefikv1alpha1.SchemeGroupVersion.WithResource("ingressroutes"),
		Custom:   true,
		Slots:    func(object map[string]any) ([]swap.Slot, error) { return ingressRouteSlots(object, known) },
		Notes:    ingressRouteNotes,
		Front:    ingressRouteFront,
		Class:    ingressRouteClass,
	}
}

// ingressRouteSlots reads of each route what says where it leads, and nothing else:
// what a newer Traefik has beside it must not stop a restore.
func ingressRouteSlots(object map[string]any, acme solvers) ([]swap.Slot, error) {
	routes, err := ingressRoutes(object)
	if err != nil {
		return nil, err
	}
	var slots []swap.Slot
	ids := numbered{}
	for i, r := range routes {
		match, _ := valueAt(r, []any{"match"}).(string)
		id := ids.id(swap.ID{Host: hostOf(match), Path: match, Type: "match"})
		services, ok := servicesOf(r)
		if !ok || len(services) == 0 { // a parent of other routes must stay so
			continue
		}
		if strings.Contains(match, acmePath) && acme.all(services) {
			continue
		}
		slots = append(slots, servicesSlot(object, id, services, "spec", "routes", i, "services"))
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

// servicesOf gives the entries of a route's services; false if they are not of the
// shape that this program knows.
func servicesOf(route any) (services []map[string]any, known bool) {
	there := valueAt(route, []any{"services"})
	list, ok := there.([]any)
	for _, entry := range list {
		service, isObject := entry.(map[string]any)
		ok = ok && isObject
		services = append(services, service)
	}
	return services, ok || there == nil
}

func servicesSlot(object map[string]any, id swap.ID, services []map[string]any, path ...any) swap.Slot {
	s := swap.Slot{ID: id, Path: path, Value: valueAt(object, path), Page: ingressRoutePage, Check: checkServices}
	var others []any
	for _, service := range services {
		if name, _ := service["name"].(string); page.IsSetName(name) {
			s.PageSet = name
		} else {
			others = append(others, service)
		}
	}
	if s.PageSet != "" && len(others) > 0 {
		s.Merge = func(original, _ any) any { return mergedServices(original, others) }
	}
	namespace, _ := valueAt(object, []any{"metadata", "namespace"}).(string)
	s.Fit = func(any) swap.Fit { return servicesFit(services, namespace) }
	return s
}

// mergedServices puts the original in the place of the page, with what somebody has
// written beside it. Of an entry that both have, theirs is the newer. Where the
// original is not known, nobody can tell.
func mergedServices(original any, others []any) any {
	was, ok := original.([]any)
	if !ok {
		return nil
	}
	all := slices.DeleteFunc(slices.Clone(was), func(entry any) bool {
		return slices.ContainsFunc(others, func(other any) bool { return sameService(entry, other) })
	})
	return append(all, others...)
}

func sameService(a, b any) bool {
	for _, field := range []string{"name", "namespace", "kind", "port"} {
		if !reflect.DeepEqual(valueAt(a, []any{field}), valueAt(b, []any{field})) {
			return false
		}
	}
	return true
}

// servicesFit: Traefik's CRD has no defaults, so what is beside the name and the
// port was written. What says the same as the page's entry is no difference.
func servicesFit(services []map[string]any, namespace string) swap.Fit {
	if len(services) != 1 || services[0]["port"] != int64(page.ServicePort) && services[0]["port"] != page.ServicePortName {
		return swap.Beside
	}
	fit := swap.Exact
	for field, value := range services[0] {
		var as []any
		other := swap.Near
		switch field {
		case "name", "port":
			continue
		case "kind":
			as, other = []any{"Service"}, swap.Beside
		case "namespace":
			as, other = []any{namespace}, swap.Beside
		case "scheme":
			as = []any{"http"}
		case "strategy":
			as = []any{"wrr", "RoundRobin"}
		case "passHostHeader":
			as = []any{true}
		case "nativeLB", "nodePortLB":
			as = []any{false}
		}
		if !slices.Contains(as, value) {
			fit = min(fit, other)
		}
	}
	return fit
}

// hostMatcher finds the first host that a rule names, in Traefik's syntax of
// v3 and v2: Host(`a.example`), Host("a.example").
var hostMatcher = regexp.MustCompile("\\bHost\\(\\s*[`\"']([^`\"']+)[`\"']")

func hostOf(match string) string {
	if m := hostMatcher.FindStringSubmatch(match); m != nil {
		return m[1]
	}
	return ""
}

// ingressRoutePage names the port by number: a port name that starts with
// https, or 443, would make Traefik speak TLS.
func ingressRoutePage(set string, _ any) any {
	return []any{map[string]any{"name": set, "port": int64(page.ServicePort)}}
}

// checkServices lets fields pass that only a newer Traefik knows: to refuse them
// would be to lose them.
func checkServices(value any) error {
	list, ok := value.([]any)
	if !ok || len(list) == 0 {
		return errors.New("services is not a list with entries")
	}
	for _, entry := range list {
		if name, _ := valueAt(entry, []any{"name"}).(string); !validName(name) {
			return errors.New("an entry of services has no name")
		}
	}
	return checkRaw(value)
}

// ingressRouteNotes tells of routes whose services cannot be read.
func ingressRouteNotes(object map[string]any) Notes {
	var n Notes
	routes, _ := ingressRoutes(object) // Slots says why not
	for _, r := range routes {
		if _, known := servicesOf(r); !known {
			match, _ := valueAt(r, []any{"match"}).(string)
			n.LeftAlone = append(n.LeftAlone, fmt.Sprintf("route %q stays as it is, since its services have a shape that this version does not know", annotations.Clip(match)))
		}
	}
	return n
}

func ingressRouteClass(object map[string]any) (string, bool) {
	class, ok := valueAt(object, []any{"metadata", "annotations", classAnnotation}).(string)
	return class, ok
}
