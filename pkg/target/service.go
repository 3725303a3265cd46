package target

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"

	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
)

// Service is v1 Service: one slot for the selector, and one for the targetPort of each port
// that may speak HTTP. Both change in one write, because a selector of the page with a port
// of the app would lead nowhere.
//
//	selector                             → {maintenance/page-set: <set>}
//	targetPort, a number or a name       → the page Pods' port, by its name
//	port that is not TCP or clearly not HTTP → stays; nothing answers on it during maintenance
//
// The port has a name instead of number 8080 because many apps listen on 8080, and what a
// person writes into a port during maintenance must be distinguishable from what was
// swapped.
func Service() Kind {
	return Kind{
		Name:               "Service",
		Resource:           corev1.SchemeGroupVersion.WithResource("services"),
		Short:              "svc",
		Catches:            "everybody who reaches the Service: through any Ingress, IngressRoute, Gateway API route or service mesh in front of it, through its LoadBalancer and node ports, and inside the cluster by name or ClusterIP",
		Misses:             "other Services that select the same Pods; connections that are already open, which stay with the app until they are closed; ports that do not speak HTTP, on which nothing answers during maintenance",
		Slots:              serviceSlots,
		Hosts:              serviceHosts,
		SwitchesAtomically: true,
		Notes:              serviceNotes,
		Origin:             serviceOrigin,
		NoDoors:            "the bypass does not work for a Service yet: put the annotation on the Ingress, IngressRoute or HTTPRoute in front of it",
		Classes:            ownClass(func(map[string]any) (string, bool) { return "", false }),
	}
}

func readService(object map[string]any) (*corev1.Service, error) {
	var svc corev1.Service
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, &svc); err != nil {
		return nil, fmt.Errorf("read as v1 Service: %w", err)
	}
	return &svc, nil
}

func serviceSlots(object map[string]any) ([]swap.Slot, error) {
	svc, err := readService(object)
	if err != nil {
		return nil, err
	}
	// What is on a page can always be restored, even if it would be refused now.
	if !serviceOnPage(svc) && serviceRefusal(svc) != "" {
		return nil, nil
	}
	var slots []swap.Slot
	if len(svc.Spec.Selector) > 0 {
		slots = append(slots, selectorSlot(object, svc))
	}
	for i, p := range svc.Spec.Ports {
		if notHTTP(p) == "" || portOnPage(p) {
			slots = append(slots, portSlot(object, i, p))
		}
	}
	return slots, nil
}

func portSlot(object map[string]any, i int, p corev1.ServicePort) swap.Slot {
	path := []any{"spec", "ports", i, "targetPort"}
	value := valueAt(object, path)
	if value == nil { // the API server's own default
		value = int64(p.Port)
	}
	key := ownership.Key{"port": int64(p.Port), "protocol": string(protocol(p))}
	return swap.Slot{
		ID:   swap.ID{Type: "targetPort", Path: portName(p)},
		Path: path, ManagedPath: ownership.Path{"spec", "ports", key, "targetPort"},
		Value: value, AnyPage: portOnPage(p),
		Page:  func(string, any) any { return page.PortName },
		Check: checkTargetPort,
	}
}

func portOnPage(p corev1.ServicePort) bool { return p.TargetPort.StrVal == page.PortName }

func serviceOnPage(svc *corev1.Service) bool {
	on := selectsPage(svc.Spec.Selector)
	for _, p := range svc.Spec.Ports {
		on = on || portOnPage(p)
	}
	return on
}

// OnPage says whether a Service leads to a page, by its selector or by any of its ports.
func OnPage(svc *corev1.Service) bool { return serviceOnPage(svc) }

func protocol(p corev1.ServicePort) corev1.Protocol {
	if p.Protocol == "" {
		return corev1.ProtocolTCP
	}
	return p.Protocol
}

// portName identifies a port of a Service as the API server does.
func portName(p corev1.ServicePort) string { return fmt.Sprintf("%d/%s", p.Port, protocol(p)) }

func serviceNotes(object map[string]any) Notes {
	svc, err := readService(object)
	if err != nil {
		return Notes{} // Slots reports it
	}
	var n Notes
	if !serviceOnPage(svc) {
		if n.Refused = serviceRefusal(svc); n.Refused != "" {
			return n
		}
	}
	for _, p := range svc.Spec.Ports {
		if why := notHTTP(p); why != "" && !portOnPage(p) {
			n.LeftAlone = append(n.LeftAlone, fmt.Sprintf("port %s is left as it is because %s: nothing answers on it during maintenance", portName(p), why))
		}
	}
	return n
}

// serviceOrigin is reachable inside the cluster only: node ports and load balancer
// addresses stay with the Service itself.
func serviceOrigin(object map[string]any) *corev1.ServiceSpec {
	svc, err := readService(object)
	if err != nil || len(svc.Spec.Selector) == 0 || serviceOnPage(svc) {
		return nil
	}
	spec := corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, Selector: svc.Spec.Selector,
		IPFamilies: svc.Spec.IPFamilies, IPFamilyPolicy: svc.Spec.IPFamilyPolicy,
	}
	for _, p := range svc.Spec.Ports {
		spec.Ports = append(spec.Ports, corev1.ServicePort{Name: p.Name, Protocol: protocol(p), AppProtocol: p.AppProtocol, Port: p.Port, TargetPort: p.TargetPort})
	}
	return &spec
}

func checkTargetPort(value any) error {
	switch port := value.(type) {
	case int64:
		if problems := validation.IsValidPortNum(int(port)); len(problems) > 0 {
			return errors.New(problems[0])
		}
	case string:
		if port == page.PortName {
			return errors.New("the page's port cannot be an original")
		}
		if problems := validation.IsValidPortName(port); len(problems) > 0 {
			return errors.New(problems[0])
		}
	default:
		return errors.New("a targetPort must be a number or a name")
	}
	return nil
}
