package target

import (
	"errors"
	"fmt"
	"reflect"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
)

// classAnnotation named the class before spec.ingressClassName existed.
const classAnnotation = "kubernetes.io/ingress.class"

// Ingress is networking.k8s.io/v1 Ingress: one slot for the default backend and one for
// each path. Paths to ACME solvers have none: cert-manager's, and the given ones; see
// Kinds.
func Ingress(solvers ...string) Kind {
	known := acmeSolvers(solvers)
	return Kind{
		Name:     "Ingress",
		Resource: networkingv1.SchemeGroupVersion.WithResource("ingresses"),
		Short:    "ing",
		Catches:  "visitors of its hosts and paths, through any ingress controller that reads it",
		Misses:   "callers inside the cluster, other Ingresses to the same app, a LoadBalancer or NodePort of the app",
		Slots:    func(object map[string]any) ([]swap.Slot, error) { return ingressSlots(object, known) },
		Hosts:    ingressHosts,
		Notes:    ingressNotes,
		Front:    ingressFront,
		Classes:  ownClass(ingressClass),
	}
}

func readIngress(object map[string]any) (*networkingv1.Ingress, error) {
	var ing networkingv1.Ingress
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &ing); err != nil {
		return nil, fmt.Errorf("read as networking.k8s.io/v1 Ingress: %w", err)
	}
	return &ing, nil
}

func ingressSlots(object map[string]any, acme solvers) ([]swap.Slot, error) {
	ing, err := readIngress(object)
	if err != nil {
		return nil, err
	}
	stays := func(b networkingv1.IngressBackend) bool { return isALBAction(b) || hasALBConditions(ing, b) }
	var slots []swap.Slot
	if b := ing.Spec.DefaultBackend; b != nil && !stays(*b) {
		slots = append(slots, ingressSlot(object, swap.ID{Type: "defaultBackend"}, *b, "spec", "defaultBackend"))
	}
	ids := duplicates{}
	for i, rule := range ing.Spec.Rules {
		if rule.HTTP == nil { // a host without paths: its traffic goes to the default backend
			continue
		}
		for j, p := range rule.HTTP.Paths {
			id := swap.ID{Host: rule.Host, Path: p.Path, Type: "path"}
			if p.PathType != nil {
				id.Type = string(*p.PathType)
			}
			id = ids.number(id)
			if stays(p.Backend) || p.Backend.Service != nil && acme.isSolverPath(p.Path, p.Backend.Service.Name) {
				continue
			}
			slots = append(slots, ingressSlot(object, id, p.Backend, "spec", "rules", i, "http", "paths", j, "backend"))
		}
	}
	return slots, nil
}

func ingressSlot(object map[string]any, id swap.ID, b networkingv1.IngressBackend, path ...any) swap.Slot {
	s := swap.Slot{ID: id, Path: path, Value: valueAt(object, path), Page: ingressPage, Check: checkIngressBackend}
	s.Backends = func(value any) []swap.Backend { return ingressBackends(namespaceOf(object), value) }
	s.Fit = func(want any) swap.Fit { return ingressFit(b, s.Value, want) }
	s.Upstreams = func(value any) []swap.Upstream { return ingressUpstreams(object, value) }
	if b.Service != nil && page.IsSetName(b.Service.Name) {
		s.PageSet = b.Service.Name
	}
	s.WithDoors = func(d swap.Doors) swap.Slot { return ingressWithDoors(s, b, d) }
	return s
}

// ingressPage is the backend that leads to the page alone.
func ingressPage(set string, original any) any { return ingressDoor(set, original, 0) }

// ingressDoor names the port by name or number as the original does. A merge patch, as
// kubectl apply and Helm send it, adds its own field to what is there, and the API server
// refuses a port that has both.
func ingressDoor(set string, original any, n int) any {
	port := map[string]any{"number": doorPort(n, false)}
	if name, _ := valueAt(original, []any{"service", "port", "name"}).(string); name != "" {
		port = map[string]any{"name": doorPort(n, true)}
	}
	return map[string]any{"service": map[string]any{"name": set, "port": port}}
}

// ingressFit: the page's port, by name or number, leads to the page regardless of other
// fields.
func ingressFit(b networkingv1.IngressBackend, value, want any) swap.Fit {
	switch {
	case reflect.DeepEqual(value, want):
		return swap.Exact
	case b.Service != nil && b.Resource == nil:
		return min(swap.Near, portFit(ingressPort(b), ingressPort(readBackend(want))))
	}
	return swap.Mismatch
}

// checkIngressBackend lets unknown fields pass: refusing the fields of a newer API would
// lose them.
func checkIngressBackend(value any) error {
	service, ofService := valueAt(value, []any{"service", "name"}).(string)
	resource, ofResource := valueAt(value, []any{"resource", "name"}).(string)
	fields, _ := value.(map[string]any)
	switch {
	case fields["service"] != nil && fields["resource"] != nil, service == "" && resource == "", ofService && service == "", ofResource && resource == "":
		return errors.New("a backend needs either a service or a resource, with a name")
	case !validName(service + resource):
		return errors.New("the name of a backend is not a valid object name")
	}
	return checkRaw(value)
}

// ingressBackends: an Ingress leads to Services of its own namespace, or to a resource that
// its controller knows.
func ingressBackends(namespace string, value any) []swap.Backend {
	if name, _ := valueAt(value, []any{"service", "name"}).(string); name != "" {
		port := valueAt(value, []any{"service", "port", "name"})
		if port == nil || port == "" {
			port = valueAt(value, []any{"service", "port", "number"})
		}
		return []swap.Backend{{Namespace: namespace, Name: name, Port: portText(port), Weight: 1}}
	}
	kind, _ := valueAt(value, []any{"resource", "kind"}).(string)
	name, _ := valueAt(value, []any{"resource", "name"}).(string)
	return []swap.Backend{{Namespace: namespace, Name: name, Weight: 1, Unjudged: notAService(kind)}}
}

func ingressClass(object map[string]any) (string, bool) {
	if name, ok := valueAt(object, []any{"spec", "ingressClassName"}).(string); ok {
		return name, true
	}
	name, _ := valueAt(object, []any{"metadata", "annotations", classAnnotation}).(string)
	return name, true
}

// valueAt gives the value at a path of a raw object, nil if there is none.
func valueAt(at any, path []any) any {
	for _, step := range path {
		switch node := at.(type) {
		case map[string]any:
			key, _ := step.(string)
			at = node[key]
		case []any:
			i, ok := step.(int)
			if !ok || i >= len(node) {
				return nil
			}
			at = node[i]
		default:
			return nil
		}
	}
	return at
}
