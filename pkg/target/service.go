package target

import (
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
)

// Service is v1 Service: a slot for the selector, and one for the targetPort of
// each port that may speak HTTP. Both change in one write; a selector of the page
// beside a port of the app would lead nowhere.
//
//	selector                             → {maintenance/page-set: <set>}
//	targetPort, a number or a name       → the page Pods' port, by its name
//	port that is not TCP or plainly no HTTP → stays; nobody answers on it meanwhile
//
// The port is named, and not 8080: many apps listen there, and what a person
// writes into a port during maintenance must be told from what was swapped.
func Service() Kind {
	return Kind{
		Name:     "Service",
		Resource: corev1.SchemeGroupVersion.WithResource("services"),
		Catches:  "everybody who comes to the Service: through every Ingress, IngressRoute, Gateway API route or service mesh in front of it, its LoadBalancer and node ports, and callers inside the cluster by name or ClusterIP",
		Misses:   "other Services that select the same Pods; connections that are open already, which stay with the app until they are closed; ports that do not speak HTTP, on which nobody answers meanwhile",
		Slots:    serviceSlots,
		Whole:    true,
		Notes:    serviceNotes,
		Origin:   serviceOrigin,
		Classes:  one(func(map[string]any) (string, bool) { return "", false }),
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
	// What is on a page can always be restored, whatever has become of it since.
	if !serviceOnPage(svc) && refusal(svc) != "" {
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
		Path: path, Field: ownership.Path{"spec", "ports", key, "targetPort"},
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

func protocol(p corev1.ServicePort) corev1.Protocol {
	if p.Protocol == "" {
		return corev1.ProtocolTCP
	}
	return p.Protocol
}

// portName tells the ports of a Service apart as the API server does.
func portName(p corev1.ServicePort) string { return fmt.Sprintf("%d/%s", p.Port, protocol(p)) }

// webProtocols are the application protocols that the page server can answer:
// IANA names, and those that proxies have made common.
var webProtocols = map[string]bool{
	"http": true, "https": true, "http2": true, "h2c": true, "h2": true, "grpc": true, "grpc-web": true,
	"ws": true, "wss": true, "tls": true, "ssl": true,
}

// meshProtocols are those other than HTTP that meshes read from the name of a port
// without an appProtocol: <protocol>[-<suffix>], see Istio's "Protocol Selection".
// Not tcp and tls, which there say nothing of what is inside.
var meshProtocols = map[string]bool{"mongo": true, "mysql": true, "redis": true}

// notHTTP says why a port cannot show a page; empty if it may. An appProtocol
// without a domain is an IANA service name, so one that is not of the web is
// plainly something else; those with a domain are their owner's to define.
func notHTTP(p corev1.ServicePort) string {
	if protocol(p) != corev1.ProtocolTCP {
		return "its protocol is not TCP"
	}
	if p.AppProtocol == nil || *p.AppProtocol == "" {
		if spoken, _, _ := strings.Cut(p.Name, "-"); meshProtocols[spoken] {
			return fmt.Sprintf("its name %q says that it speaks %s, as service meshes read it", annotations.Clip(p.Name), spoken)
		}
		return ""
	}
	if strings.Contains(*p.AppProtocol, "/") || webProtocols[strings.ToLower(*p.AppProtocol)] {
		return ""
	}
	return fmt.Sprintf("its appProtocol is %q", annotations.Clip(*p.AppProtocol))
}

// refusal says why a Service cannot be put in maintenance, and what to do; empty if it can.
//
//	ExternalName                  it has no Pods, and DNS has no ports
//	headless                      clients take Pods' addresses from DNS and choose the port themselves
//	no selector                   somebody else writes its endpoints
//	selector kept by a controller it would be written back, or its rollout would break
//	publishNotReadyAddresses      visitors would be sent to page Pods that do not answer yet
//	a Local traffic policy        nodes without a page Pod would drop visitors
//	no port that may speak HTTP   nobody could be shown a page
//
// Session affinity, node ports, load balancers and dual stack are fine: they are
// about how visitors come to the endpoints, whatever those are.
func refusal(svc *corev1.Service) string {
	const instead = "put the annotation on the Ingress or IngressRoute in front of it"
	switch {
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		return "a Service of type ExternalName is a name in DNS and leads to no Pods that could be replaced: " + instead
	case svc.Spec.ClusterIP == corev1.ClusterIPNone:
		return "a headless Service gives clients the addresses of Pods, and they choose the port themselves: the page would not be found. " + instead
	case len(svc.Spec.Selector) == 0:
		return "the Service has no selector: somebody else writes its endpoints. " + instead
	}
	if who := keeper(svc); who != "" {
		return fmt.Sprintf("the selector belongs to %s, which would write it back: %s", who, instead)
	}
	switch {
	case svc.Spec.PublishNotReadyAddresses:
		return "with publishNotReadyAddresses visitors would be sent to page Pods that do not answer yet: " + instead
	case svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal:
		return "with externalTrafficPolicy Local, visitors of nodes without a page Pod would get nothing: " + instead
	case svc.Spec.InternalTrafficPolicy != nil && *svc.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal:
		return "with internalTrafficPolicy Local, callers on nodes without a page Pod would get nothing: " + instead
	}
	for _, p := range svc.Spec.Ports {
		if notHTTP(p) == "" {
			return ""
		}
	}
	return "no port of the Service speaks HTTP, so that no visitor could be shown a page"
}

// Marks of controllers that keep a selector.
const (
	rolloutsAnnotation = "argo-rollouts.argoproj.io/managed-by-rollouts"
	kruisePrefix       = "rollouts.kruise.io/"
)

// revisionLabels name one revision of an app. A selector with one is moved from
// revision to revision by a controller: Argo Rollouts, Kruise Rollouts, blue-green tools.
var revisionLabels = []string{"rollouts-pod-template-hash", "pod-template-hash", "controller-revision-hash"}

// keepers are field managers of controllers that write selectors of Services
// which they do not own: Flagger takes over one that was there before it.
var keepers = map[string]string{"flagger": "Flagger", "rollouts-controller": "Argo Rollouts"}

// keeper names the controller that keeps the selector; empty if people do.
func keeper(svc *corev1.Service) string {
	if owner := metav1.GetControllerOf(svc); owner != nil {
		return fmt.Sprintf("its owner, %s %q", owner.Kind, annotations.Clip(owner.Name))
	}
	if name := svc.Annotations[rolloutsAnnotation]; name != "" {
		return fmt.Sprintf("Argo Rollouts (Rollout %q)", annotations.Clip(name))
	}
	for _, label := range revisionLabels {
		if _, ok := svc.Spec.Selector[label]; ok {
			return fmt.Sprintf("a rollout controller (label %s)", label)
		}
	}
	for label := range svc.Spec.Selector {
		if strings.HasPrefix(label, kruisePrefix) {
			return "Kruise Rollouts"
		}
	}
	return keepers[ownership.LastWriter(svc.ManagedFields, []ownership.Path{{"spec", "selector"}})]
}

func serviceNotes(object map[string]any) Notes {
	svc, err := readService(object)
	if err != nil {
		return Notes{} // Slots says so
	}
	var n Notes
	if !serviceOnPage(svc) {
		if n.Refused = refusal(svc); n.Refused != "" {
			return n
		}
	}
	for _, p := range svc.Spec.Ports {
		if why := notHTTP(p); why != "" && !portOnPage(p) {
			n.LeftAlone = append(n.LeftAlone, fmt.Sprintf("port %s stays as it is, since %s: nobody answers on it during maintenance", portName(p), why))
		}
	}
	return n
}

// serviceOrigin has the ways inside the cluster only: node ports and addresses
// of load balancers stay with the Service itself.
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
			return errors.New("the page's port is no original")
		}
		if problems := validation.IsValidPortName(port); len(problems) > 0 {
			return errors.New(problems[0])
		}
	default:
		return errors.New("a targetPort is a number or a name")
	}
	return nil
}
