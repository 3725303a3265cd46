package target

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/ownership"
)

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
	const instead = "put the annotation on the Ingress, IngressRoute, HTTPRoute or GRPCRoute in front of it"
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
