package target

import (
	"errors"
	"fmt"
	"regexp"

	traefikv1alpha1 "github.com/traefik/traefik/v3/pkg/provider/kubernetes/crd/traefikio/v1alpha1"
	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
)

// IngressRoute is traefik.io/v1alpha1 IngressRoute: a slot for the services of each route.
//
// The whole list is one slot: a leftover healthCheck drops the route, a leftover
// scheme or serversTransport would speak TLS to the page.
func IngressRoute() Kind {
	return Kind{
		Name:     "IngressRoute",
		Resource: traefikv1alpha1.SchemeGroupVersion.WithResource("ingressroutes"),
		Custom:   true,
		Slots:    ingressRouteSlots,
		Class:    ingressRouteClass,
	}
}

func ingressRouteSlots(object map[string]any) ([]swap.Slot, error) {
	var route traefikv1alpha1.IngressRoute
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &route); err != nil {
		return nil, fmt.Errorf("read as traefik.io/v1alpha1 IngressRoute: %w", err)
	}
	var slots []swap.Slot
	ids := numbered{}
	for i, r := range route.Spec.Routes {
		id := ids.id(swap.ID{Host: hostOf(r.Match), Path: r.Match, Type: "match"})
		if len(r.Services) == 0 { // a parent of other routes: it must stay so
			continue
		}
		path := []any{"spec", "routes", i, "services"}
		s := swap.Slot{ID: id, Path: path, Value: valueAt(object, path), Page: ingressRoutePage, Check: checkServices}
		for _, service := range r.Services {
			if page.IsSetName(service.Name) {
				s.PageSet = service.Name
			}
		}
		slots = append(slots, s)
	}
	return slots, nil
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
func ingressRoutePage(set string) any {
	return []any{map[string]any{"name": set, "port": int64(page.ServicePort)}}
}

// checkServices decodes with Traefik's types, but lets a field pass that only a
// newer Traefik knows: to refuse it would be to lose it.
func checkServices(value any) error {
	list, ok := value.([]any)
	if !ok || len(list) == 0 {
		return errors.New("services is not a list with entries")
	}
	for _, entry := range list {
		fields, ok := entry.(map[string]any)
		if !ok {
			return errors.New("an entry of services is not an object")
		}
		var s traefikv1alpha1.Service
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &s); err != nil {
			return err
		}
		if s.Name == "" {
			return errors.New("an entry of services has no name")
		}
		if page.IsSetName(s.Name) {
			return errors.New("a page set is no original")
		}
	}
	return nil
}

func ingressRouteClass(object map[string]any) (string, bool) {
	class, ok := valueAt(object, []any{"metadata", "annotations", classAnnotation}).(string)
	return class, ok
}
