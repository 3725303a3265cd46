package pageset

import (
	"encoding/json"
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"maintenance-controller.io/pkg/access"
)

// Where a page Pod finds the tokens.
const (
	bypassVolume = "bypass"
	bypassDir    = "/bypass"
)

// doorMemory is the minimum memory limit of a page Pod with doors.
func doorMemory() resource.Quantity { return resource.MustParse("256Mi") }

// Settings are the bypass settings of a set: who is let through, and by which doors; zero
// for a set without. Of a later version's settings they are what this version knows: the
// set's doors must stay while slots lead there.
func Settings(cm *corev1.ConfigMap) access.Settings {
	text := cm.Data[access.Key]
	if text == "" {
		return access.Settings{}
	}
	if s, err := access.Parse(text); err == nil {
		return s
	}
	var s access.Settings
	_ = json.Unmarshal([]byte(text), &s) // anything but JSON has no doors
	return s
}

// withDoors adds the ports of a set's doors to those of its Service. They lead to the Pods'
// ports by name: only Pods with this set's own settings have them.
func withDoors(ports []corev1.ServicePort, s access.Settings) []corev1.ServicePort {
	for _, d := range s.Doors {
		ports = append(ports, corev1.ServicePort{
			Name: d.ServicePortName(), Port: int32(d.ContainerPort()),
			TargetPort: intstr.FromString(d.ContainerPortName()), Protocol: corev1.ProtocolTCP,
		})
	}
	return ports
}

// addDoors adds to the spec of a page Pod what its doors need.
func addDoors(spec *corev1.PodSpec, s access.Settings, t Template) {
	if len(s.Doors) == 0 {
		return
	}
	c := &spec.Containers[0]
	for _, d := range s.Doors {
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: d.ContainerPortName(), ContainerPort: int32(d.ContainerPort()), Protocol: corev1.ProtocolTCP})
	}
	*spec.TerminationGracePeriodSeconds += int64(access.StopTime.Seconds())
	if limit, bounded := c.Resources.Limits[corev1.ResourceMemory]; bounded && limit.Cmp(doorMemory()) < 0 {
		c.Resources.Limits = maps.Clone(c.Resources.Limits)
		c.Resources.Limits[corev1.ResourceMemory] = doorMemory()
	}
	if s.BypassSecret == "" {
		return
	}
	if t.CookieLifetime > 0 {
		c.Args = append(c.Args, fmt.Sprintf("--bypass-cookie-lifetime=%s", t.CookieLifetime))
	}
	spec.Volumes = append(spec.Volumes, tokenVolume(s.BypassSecret))
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: bypassVolume, MountPath: bypassDir, ReadOnly: true})
}

// tokenVolume holds the one key of the Secret that lets people through. A missing Secret
// lets nobody through, and does not keep the page from being shown.
func tokenVolume(secret string) corev1.Volume {
	mode, optional := int32(0o444), true
	return corev1.Volume{Name: bypassVolume, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: secret, DefaultMode: &mode, Optional: &optional,
		Items: []corev1.KeyToPath{{Key: access.SecretKey, Path: access.SecretKey}},
	}}}
}

// doorPorts are the ports that visitors must reach besides the page's.
func doorPorts(s access.Settings) (ports []networkingv1.NetworkPolicyPort) {
	tcp := corev1.ProtocolTCP
	for _, d := range s.Doors {
		port := intstr.FromInt32(int32(d.ContainerPort()))
		ports = append(ports, networkingv1.NetworkPolicyPort{Protocol: &tcp, Port: &port})
	}
	return ports
}

// AllowEgress lets the Pods of a set with doors reach the apps of their namespace, and DNS.
// It is needed where another policy restricts egress; where none does, this one would
// restrict it.
func AllowEgress(policy *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicy {
	tcp, udp := corev1.ProtocolTCP, corev1.ProtocolUDP
	dns, openShift := intstr.FromInt32(53), intstr.FromInt32(5353) // where OpenShift's DNS Pods listen
	policy.Spec.PolicyTypes = append(policy.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
	policy.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{
		{To: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{}}}},
		{Ports: []networkingv1.NetworkPolicyPort{{Protocol: &udp, Port: &dns}, {Protocol: &tcp, Port: &dns}, {Protocol: &udp, Port: &openShift}, {Protocol: &tcp, Port: &openShift}}},
	}
	return policy
}
