package pageset

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
)

// doored is a set with two doors.
func doored(change ...func(*access.Settings)) *corev1.ConfigMap {
	s := access.Settings{BypassSecret: "team", Doors: []access.Door{
		{Name: "d1", Scheme: access.Auto, Host: "app.shop.svc", Port: 80}, {Name: "d2", Scheme: access.HTTPS, Host: "api.shop.svc", Port: 8443},
	}}
	for _, c := range change {
		c(&s)
	}
	p := plain
	p.Access = s.Encode()
	cm := ConfigMap(idOf(p), p, "Ingress/a")
	cm.UID = "cm"
	return cm
}

func TestSettingsArePartOfTheContent(t *testing.T) {
	t.Parallel()
	assert.Equal(t, access.Key, page.AccessKey)
	cm := doored()
	assert.NotEqual(t, configMap().Name, cm.Name)
	assert.Empty(t, Foreign(cm))
	assert.Len(t, Settings(cm).Doors, 2)
	assert.Equal(t, access.Hash(plain, Settings(cm)), cm.Annotations[annotations.ContentHash], "the page server finds the same")
	assert.Equal(t, access.Settings{}, Settings(configMap()))
	// Doors of a later version stay while slots lead there.
	later := doored()
	later.Data[access.Key] = `{"version":2,"new":true,"doors":[{"name":"d1","of":"the future"}]}`
	require.Len(t, Settings(later).Doors, 1)
	assert.Len(t, Service(later, Template{}, nil).Spec.Ports, 2)
}

func TestDoorsAreReachable(t *testing.T) {
	t.Parallel()
	svc, pod := Service(doored(), Template{}, nil), Pod(doored(), Template{})
	require.Len(t, svc.Spec.Ports, 3)
	assert.Equal(t, int32(80), svc.Spec.Ports[0].Port, "the page is where it ever was")
	listens := map[string]int32{}
	for _, p := range pod.Spec.Containers[0].Ports {
		listens[p.Name] = p.ContainerPort
	}
	for i, p := range svc.Spec.Ports[1:] {
		door := Settings(doored()).Doors[i]
		assert.Equal(t, "http-"+door.Name, p.Name)
		assert.NotEqual(t, int32(443), p.Port)
		assert.Equal(t, intstr.FromString("maintenance-"+door.Name), p.TargetPort)
		assert.Equal(t, int32(door.ContainerPort()), listens[p.TargetPort.StrVal], "a Pod listens there")
	}
	policy := Policy(doored())
	assert.Len(t, policy.Spec.Ingress[0].Ports, 4)
	assert.Empty(t, policy.Spec.Egress, "it keeps no Pod in")
	out := AllowEgress(Policy(doored()))
	assert.Contains(t, out.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
	assert.Len(t, out.Spec.Egress, 2)
	assert.Nil(t, out.Spec.Egress[0].To[0].NamespaceSelector, "its own namespace alone")
	var dns []int
	for _, p := range out.Spec.Egress[1].Ports {
		dns = append(dns, p.Port.IntValue())
	}
	assert.Equal(t, []int{53, 53, 5353, 5353}, dns)
}

// TestOnlyTokensAreMounted and nothing else of the Secret.
func TestOnlyTokensAreMounted(t *testing.T) {
	t.Parallel()
	spec := Pod(doored(), Template{CookieLifetime: time.Hour}).Spec
	require.Len(t, spec.Volumes, 2)
	secret := spec.Volumes[1].Secret
	assert.Equal(t, "team", secret.SecretName)
	assert.Equal(t, []corev1.KeyToPath{{Key: "maintenance-bypass-token", Path: "maintenance-bypass-token"}}, secret.Items)
	assert.Equal(t, int32(0o444), *secret.DefaultMode)
	assert.True(t, *secret.Optional, "a missing one keeps no page from being shown")
	assert.Equal(t, corev1.VolumeMount{Name: "bypass", MountPath: "/bypass", ReadOnly: true}, spec.Containers[0].VolumeMounts[1])
	assert.Contains(t, spec.Containers[0].Args, "--bypass-cookie-lifetime=1h0m0s")

	without := Pod(doored(func(s *access.Settings) { s.BypassSecret, s.ReadOnly = "", true }), Template{CookieLifetime: time.Hour}).Spec
	assert.Len(t, without.Volumes, 1)
	assert.NotContains(t, without.Containers[0].Args, "--bypass-cookie-lifetime=1h0m0s")
}

func TestPodsWithDoorsGetMoreMemoryAndTime(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ limit, want string }{"less": {"96Mi", "256Mi"}, "more": {"1Gi", "1Gi"}, "none": {"", "0"}} {
		tpl := Template{Drain: 10 * time.Second}
		if tc.limit != "" {
			tpl.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(tc.limit)}
		}
		spec := Pod(doored(), tpl).Spec
		assert.Equal(t, tc.want, spec.Containers[0].Resources.Limits.Memory().String(), name)
		assert.Equal(t, int64(620), *spec.TerminationGracePeriodSeconds)
		plainSpec := Pod(configMap(), tpl).Spec
		assert.Equal(t, tpl.Resources, plainSpec.Containers[0].Resources, "and no other Pod has")
	}
}
