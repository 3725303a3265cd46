package pageset

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/page"
)

// PolicyMode says when a page set has a NetworkPolicy.
type PolicyMode string

// The modes. In a namespace that denies all traffic by default, nobody could reach the page
// Pods without a policy.
const (
	PolicyAuto   PolicyMode = "auto"   // if another NetworkPolicy exists in the namespace
	PolicyAlways PolicyMode = "always" // in every namespace
	PolicyNever  PolicyMode = "never"  // in none
)

// Policy lets everybody reach the ports of the set's Pods. It concerns no other Pods, and
// no traffic that the Pods begin: see AllowEgress.
func Policy(cm *corev1.ConfigMap) *networkingv1.NetworkPolicy {
	id := ID{cm.Namespace, cm.Name}
	tcp := corev1.ProtocolTCP
	serving, metrics := intstr.FromInt32(page.Port), intstr.FromInt32(MetricsPort)
	policy := &networkingv1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name, Labels: labels(id), OwnerReferences: owner(cm)},
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{annotations.PageSetLabel: id.Name}},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{
				Ports: append([]networkingv1.NetworkPolicyPort{{Protocol: &tcp, Port: &serving}, {Protocol: &tcp, Port: &metrics}}, doorPorts(Settings(cm))...),
			}},
		},
	}
	installation.Inherit(cm, policy)
	return policy
}
