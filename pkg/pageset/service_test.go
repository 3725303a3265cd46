package pageset

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// TestLeadsTo: what the API server or a webhook adds does not lead elsewhere.
func TestLeadsTo(t *testing.T) {
	want := Service(configMap(), Template{}, nil).Spec
	for name, tc := range map[string]struct {
		edit  func(spec *corev1.ServiceSpec)
		leads bool
	}{
		"nothing is changed": {func(*corev1.ServiceSpec) {}, true},
		"addresses": {func(s *corev1.ServiceSpec) {
			s.ClusterIP, s.IPFamilies = "10.0.0.1", []corev1.IPFamily{corev1.IPv4Protocol}
		}, true},
		"a node port":           {func(s *corev1.ServiceSpec) { s.Ports[0].NodePort = 30080 }, true},
		"a webhook's protocol":  {func(s *corev1.ServiceSpec) { s.Ports[0].AppProtocol = ptr.To("http") }, true},
		"another selector":      {func(s *corev1.ServiceSpec) { s.Selector = map[string]string{"app": "shop"} }, false},
		"one label more":        {func(s *corev1.ServiceSpec) { s.Selector["app"] = "shop" }, false},
		"another port":          {func(s *corev1.ServiceSpec) { s.Ports[0].Port = 81 }, false},
		"another port's name":   {func(s *corev1.ServiceSpec) { s.Ports[0].Name = "https" }, false},
		"another target":        {func(s *corev1.ServiceSpec) { s.Ports[0].TargetPort = intstr.FromInt32(1) }, false},
		"a transport":           {func(s *corev1.ServiceSpec) { s.Ports[0].Protocol = corev1.ProtocolUDP }, false},
		"one port more":         {func(s *corev1.ServiceSpec) { s.Ports = append(s.Ports, corev1.ServicePort{Port: 81}) }, false},
		"no port that it needs": {func(s *corev1.ServiceSpec) { s.Ports = nil }, false},
	} {
		there := want.DeepCopy()
		tc.edit(there)
		assert.Equal(t, tc.leads, LeadsTo(*there, want), name)
	}
	asked := want.DeepCopy()
	asked.Ports[0].AppProtocol = ptr.To("kubernetes.io/h2c")
	assert.False(t, LeadsTo(want, *asked), "what the app's own port asks for is there")
}
