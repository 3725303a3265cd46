package target

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/ownership"
)

// webProtocols are the application protocols that the page server can answer: IANA names,
// and those that proxies have made common.
var webProtocols = map[string]bool{
	"http": true, "https": true, "http2": true, "h2c": true, "h2": true, "grpc": true, "grpc-web": true,
	"ws": true, "wss": true, "tls": true, "ssl": true,
}

// meshProtocols are protocols other than HTTP that meshes read from the name of a port
// without an appProtocol: <protocol>[-<suffix>], see Istio's "Protocol Selection". tcp and
// tls are not among them, because they say nothing about what is inside.
var meshProtocols = map[string]bool{"mongo": true, "mysql": true, "redis": true}

// notHTTP says why a port cannot show a page; empty if it may. An appProtocol without a
// domain is an IANA service name, so one that is not of the web is clearly something else;
// the meaning of those with a domain is up to their owner.
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

// serviceRefusal says why a Service cannot be put in maintenance, and what to do; empty if
// it can.
//
//	ExternalName                  it has no Pods, and DNS has no ports
//	headless                      clients take Pods' addresses from DNS and choose the port themselves
//	no selector                   something else writes its endpoints
//	selector owned by a controller it would be written back, or its rollout would break
//	publishNotReadyAddresses      visitors would be sent to page Pods that do not answer yet
//	a Local traffic policy        nodes without a page Pod would drop visitors
//	no port that may speak HTTP   no visitor could be shown a page
//
// Session affinity, node ports, load balancers and dual stack are fine: they concern how
// visitors reach the endpoints, whatever those are.
func serviceRefusal(svc *corev1.Service) string {
	const instead = "put the annotation on the Ingress, IngressRoute, HTTPRoute or GRPCRoute in front of it"
	switch {
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		return "a Service of type ExternalName is only a DNS name and has no Pods to replace: " + instead
	case svc.Spec.ClusterIP == corev1.ClusterIPNone:
		return "a headless Service gives clients the addresses of Pods, and they choose the port themselves: the page would not be found. " + instead
	case len(svc.Spec.Selector) == 0:
		return "the Service has no selector: something else writes its endpoints. " + instead
	}
	if who := selectorOwner(svc); who != "" {
		return fmt.Sprintf("the selector belongs to %s, which would write it back: %s", who, instead)
	}
	switch {
	case svc.Spec.PublishNotReadyAddresses:
		return "with publishNotReadyAddresses visitors would be sent to page Pods that do not answer yet: " + instead
	case svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal:
		return "with externalTrafficPolicy Local, visitors who arrive at nodes without a page Pod would get nothing: " + instead
	case svc.Spec.InternalTrafficPolicy != nil && *svc.Spec.InternalTrafficPolicy == corev1.ServiceInternalTrafficPolicyLocal:
		return "with internalTrafficPolicy Local, callers on nodes without a page Pod would get nothing: " + instead
	}
	for _, p := range svc.Spec.Ports {
		if notHTTP(p) == "" {
			return ""
		}
	}
	return "no port of the Service speaks HTTP, so no visitor could be shown a page"
}

// Marks of controllers that own a selector.
const (
	rolloutsAnnotation = "argo-rollouts.argoproj.io/managed-by-rollouts"
	kruisePrefix       = "rollouts.kruise.io/"
)

// revisionLabels name one revision of an app. A controller moves a selector with such a
// label from revision to revision: Argo Rollouts, Kruise Rollouts, blue-green tools.
var revisionLabels = []string{"rollouts-pod-template-hash", "pod-template-hash", "controller-revision-hash"}

// selectorManagers are field managers of controllers that write selectors of Services which
// they do not own: Flagger takes over a Service that existed before it.
var selectorManagers = map[string]string{"flagger": "Flagger", "rollouts-controller": "Argo Rollouts"}

// selectorOwner names the controller that owns the selector; empty if people do.
func selectorOwner(svc *corev1.Service) string {
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
	return selectorManagers[ownership.LastWriter(svc.ManagedFields, []ownership.Path{{"spec", "selector"}})]
}
