package pageset

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/page"
)

// ServiceOptions shape the Service of a page set.
type ServiceOptions struct {
	Type        corev1.ServiceType `json:"type,omitempty"`        // ClusterIP if empty
	Annotations map[string]string  `json:"annotations,omitempty"` // added to the Service
}

// typesByReach sorts the types: each one offers everything that those before it do.
var typesByReach = []corev1.ServiceType{"", corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer}

// OptionsFor gives the options that serve all of these ingress classes at once: the type
// that reaches furthest, and all annotations. If two classes disagree on an annotation, the
// alphabetically later class wins.
func (t Template) OptionsFor(classes []string) ServiceOptions {
	out := ServiceOptions{Type: corev1.ServiceTypeClusterIP, Annotations: map[string]string{}}
	add := func(o ServiceOptions) {
		if slices.Index(typesByReach, o.Type) > slices.Index(typesByReach, out.Type) {
			out.Type = o.Type
		}
		maps.Copy(out.Annotations, o.Annotations)
	}
	add(t.Service)
	for _, class := range slices.Sorted(slices.Values(classes)) {
		add(t.ServiceClasses[class])
	}
	return out
}

// FittedClasses lists the ingress classes that the Service has been fitted to; none for
// nil. They are kept in an annotation, so that a Service is not taken away from a class
// that may still send visitors, even after a change of leader: a set does not live long.
func FittedClasses(svc *corev1.Service) []string {
	if svc == nil || svc.Annotations[annotations.Classes] == "" {
		return nil
	}
	return strings.Split(svc.Annotations[annotations.Classes], ",")
}

// Fits says whether the Service has been fitted to those of the classes that need more than
// an ordinary Service.
func (t Template) Fits(svc *corev1.Service, classes []string) bool {
	fitted := FittedClasses(svc)
	for _, class := range classes {
		if _, special := t.ServiceClasses[class]; special && !slices.Contains(fitted, class) {
			return false
		}
	}
	return true
}

// Service of the set, fitted to the ingress classes of its users. Its port is 80, named
// http: Traefik would speak TLS to port 443 or to a port whose name starts with https. It
// leads to the Pods' port by number, so that Pods of an older version, which named the port
// differently, are reached too.
func Service(cm *corev1.ConfigMap, t Template, classes []string) *corev1.Service {
	id := ID{cm.Namespace, cm.Name}
	classes = slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(classes))), func(class string) bool {
		_, special := t.ServiceClasses[class]
		return !special
	})
	options := t.OptionsFor(classes)
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name, Labels: labels(id), Annotations: options.Annotations, OwnerReferences: owner(cm)},
		Spec: corev1.ServiceSpec{
			Type:     options.Type,
			Selector: map[string]string{annotations.PageSetLabel: id.Name},
			Ports:    withDoors([]corev1.ServicePort{{Name: "http", Port: page.ServicePort, TargetPort: intstr.FromInt32(page.Port), Protocol: corev1.ProtocolTCP}}, Settings(cm)),
		},
	}
	sum := hash(svc.Spec, options.Annotations)
	if len(classes) > 0 {
		svc.Annotations[annotations.Classes] = strings.Join(classes, ",")
	}
	svc.Annotations[annotations.Template] = sum
	installation.Inherit(cm, svc)
	return svc
}

// LeadsTo says whether a Service of ours leads where it should, to the page or to an app.
// The API server fills in the rest of its spec, and a webhook may add an appProtocol where
// none is wanted: removing that again would never end.
func LeadsTo(there, want corev1.ServiceSpec) bool {
	return maps.Equal(there.Selector, want.Selector) &&
		slices.EqualFunc(there.Ports, want.Ports, func(is, should corev1.ServicePort) bool {
			return is.Name == should.Name && is.Port == should.Port && is.Protocol == should.Protocol && is.TargetPort == should.TargetPort &&
				(should.AppProtocol == nil || ptr.Equal(is.AppProtocol, should.AppProtocol))
		})
}
