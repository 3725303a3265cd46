package upstream

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/swap"
)

func service(change ...func(*corev1.Service)) *corev1.Service {
	svc := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "app", Annotations: map[string]string{}},
		Spec: corev1.ServiceSpec{ClusterIP: "10.0.0.1", Selector: map[string]string{"app": "app"}, Ports: []corev1.ServicePort{
			{Name: "web", Port: 80}, {Name: "https-alt", Port: 8443}, {Name: "tls", Port: 443}, {Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
		}},
	}
	for _, c := range change {
		c(svc)
	}
	return svc
}

func speaks(protocol string) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Spec.Ports[0].AppProtocol = ptr.To(protocol) }
}

func annotated(key, value string) func(*corev1.Service) {
	return func(svc *corev1.Service) { svc.Annotations[key] = value }
}

func TestOf(t *testing.T) {
	t.Parallel()
	web := swap.Upstream{Service: "app", Port: "80"}
	door := func(scheme access.Scheme, port int) access.Door {
		return access.Door{Scheme: scheme, Host: "app.shop.svc", Port: port}
	}
	for name, tc := range map[string]struct {
		up      swap.Upstream
		svc     *corev1.Service
		traefik bool
		want    access.Door
		refused string
	}{
		"by number":                       {up: web, svc: service(), want: door(access.Auto, 80)},
		"by name":                         {up: swap.Upstream{Service: "app", Port: "web"}, svc: service(), want: door(access.Auto, 80)},
		"443 of an Ingress":               {up: swap.Upstream{Service: "app", Port: "443"}, svc: service(), want: door(access.Auto, 443)},
		"443 of Traefik":                  {up: swap.Upstream{Service: "app", Port: "443"}, svc: service(), traefik: true, want: door(access.HTTPS, 443)},
		"https by name of Traefik":        {up: swap.Upstream{Service: "app", Port: "https-alt"}, svc: service(), traefik: true, want: door(access.HTTPS, 8443)},
		"the target's scheme wins":        {up: swap.Upstream{Service: "app", Port: "443", Scheme: "http"}, svc: service(), traefik: true, want: door(access.HTTP, 443)},
		"the target's before appProtocol": {up: swap.Upstream{Service: "app", Port: "80", Scheme: "https"}, svc: service(speaks("http")), want: door(access.HTTPS, 80)},
		"appProtocol":                     {up: web, svc: service(speaks("https")), want: door(access.HTTPS, 80)},
		"appProtocol http":                {up: web, svc: service(speaks("http")), want: door(access.HTTP, 80)},
		"WebSocket":                       {up: web, svc: service(speaks("kubernetes.io/ws")), want: door(access.HTTP, 80)},
		"Traefik's annotation":            {up: web, svc: service(annotated(traefikScheme, "https")), want: door(access.HTTPS, 80)},
		"h2c":                             {up: web, svc: service(speaks("kubernetes.io/h2c")), refused: "kubernetes.io/h2c"},
		"gRPC":                            {up: web, svc: service(speaks("grpc")), refused: "grpc"},
		"a database":                      {up: web, svc: service(speaks("mysql")), refused: "mysql"},
		"h2c by Traefik's annotation":     {up: web, svc: service(annotated(traefikScheme, "h2c")), refused: "h2c"},
		"a serversTransport":              {up: web, svc: service(annotated(traefikTransport, "shop-mine@kubernetescrd")), refused: "serversTransport"},
		"no Service":                      {up: web, refused: "there is no Service app"},
		"no name of one":                  {up: swap.Upstream{Service: "app@file"}, svc: service(), refused: "app@file"},
		"no such port":                    {up: swap.Upstream{Service: "app", Port: "81"}, svc: service(), refused: `no port "81"`},
		"UDP":                             {up: swap.Upstream{Service: "app", Port: "53"}, svc: service(), refused: "not TCP"},
		"ExternalName":                    {up: web, svc: service(func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeExternalName }), refused: "ExternalName"},
		"headless":                        {up: web, svc: service(func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone }), refused: "headless"},
		"no selector":                     {up: web, svc: service(func(s *corev1.Service) { s.Spec.Selector = nil }), refused: "no selector"},
		"refused by the target":           {up: swap.Upstream{Service: "app", Port: "80", Refused: "why"}, svc: service(), refused: "why"},
		"the only port":                   {up: swap.Upstream{Service: "app"}, svc: service(func(s *corev1.Service) { s.Spec.Ports = s.Spec.Ports[:1] }), want: door(access.Auto, 80)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.up.TLSPorts = tc.traefik
			got := Of(tc.up, tc.svc)
			if tc.refused != "" {
				assert.Contains(t, got.Refused, tc.refused)
				return
			}
			assert.Empty(t, got.Refused)
			assert.Equal(t, tc.want, got.Door)
		})
	}
}

// TestSettings: equal apps give equal settings, in any order, and each app has the number
// of its own door.
func TestSettings(t *testing.T) {
	t.Parallel()
	a, b := App{Door: access.Door{Scheme: access.Auto, Host: "a.shop.svc", Port: 80}}, App{Door: access.Door{Scheme: access.HTTPS, Host: "b.shop.svc", Port: 443}}
	refused := App{Refused: "why"}
	asked := annotations.Access{BypassSecret: "team", OpenPaths: []string{"/admin"}, ReadOnly: true}
	s := Settings(asked, []App{b, refused, a, b})
	require.NoError(t, s.Validate())
	assert.Equal(t, s.Encode(), Settings(asked, []App{a, b}).Encode())
	require.Len(t, s.Doors, 2)
	assert.Equal(t, "a.shop.svc", s.Doors[0].Host)
	byName, byNumber, other, none := swap.Upstream{Service: "a", Port: "web"}, swap.Upstream{Service: "a", Port: "80"}, swap.Upstream{Service: "b", Port: "443"}, swap.Upstream{Service: "c"}
	assert.Equal(t, map[swap.Upstream]int{byName: 1, byNumber: 1, other: 2}, DoorNumbers(s, map[swap.Upstream]App{byName: a, byNumber: a, other: b, none: refused}))
}
