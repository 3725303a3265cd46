package node

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/target"
)

// defaultSet returns the name of the default page's page set.
func defaultSet() string { return page.SetName(pages.Default().Hash()) }

// defaultRetryAfter is Retry-After of the built-in page, in seconds.
const defaultRetryAfter = int(page.DefaultRetryAfter / 1e9)

// TestMaintenanceOnAndOff switches maintenance on and off with kubectl, under load: visitors
// get the app, then only the page once the state is active, and then the app again.
func TestMaintenanceOnAndOff(t *testing.T) {
	t.Parallel()
	for _, kind := range []target.Kind{target.Ingress(), target.IngressRoute(), target.Service()} { // TestDataPlanes tests routes of the Gateway API
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			e := newEnv(t)
			host, object := e.host("my-app"), strings.ToLower(kind.Name)+"/my-app"
			route := ingress("my-app", host, "my-app", 80)
			if kind.Name == "IngressRoute" {
				route = ingressRoute("my-app", host, "name: my-app, port: 80")
			}
			e.deploy([]string{host}, app("my-app"), route)
			spec := e.spec(object)
			l := e.visitors(50, host)
			l.await(50)

			l.phase("switching on")
			e.kubectl("annotate", object, "maintenance/enabled=true")
			e.kubectl("wait", "--for=jsonpath={.metadata.annotations.maintenance/state}=active", object, fmt.Sprintf("--timeout=%s", waitTimeout))
			l.phase("active")
			bodies := e.requirePage(host, defaultSet(), defaultRetryAfter)
			assert.Equal(t, pages.Default().Bodies["page.en.txt"], bodies["text/plain"])
			l.await(100)

			l.phase("switching off")
			e.kubectl("annotate", object, "maintenance/enabled-")
			e.until(kind.Resource, "my-app", "restored", restored)
			e.untilAnswer(host, fromApp)
			l.phase("app again")
			assert.Equal(t, spec, e.spec(object))
			e.untilClean()
			l.await(50)
			l.stop()

			l.assertOnly("before", fromApp)
			l.assertOnly("switching on", fromApp, from(defaultSet()))
			l.assertOnly("active", from(defaultSet()))
			l.assertOnly("switching off", fromApp, from(defaultSet()))
			l.assertOnly("app again", fromApp)
			for key := range e.get(kind.Resource, "my-app").GetAnnotations() {
				assert.NotContains(t, key, annotations.Prefix)
			}
		})
	}
}

// TestBackendsOverTLSAndH2C has apps with settings for Traefik's connections to them. During
// maintenance Traefik connects to the page without these, and afterwards they are restored.
func TestBackendsOverTLSAndH2C(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	transport := `{apiVersion: traefik.io/v1alpha1, kind: ServersTransport, metadata: {name: trusting}, spec: {insecureSkipVerify: true}}`
	asHTTPS := "traefik.ingress.kubernetes.io/service.serversscheme: https, traefik.ingress.kubernetes.io/service.serverstransport: " + e.namespace + "-trusting@kubernetescrd"
	targets := []struct {
		object, name, over, manifest string
		resource                     schema.GroupVersionResource
	}{
		{"ingressroute/https", "https", "TLS", ingressRoute("https", e.host("https"), "name: tls-app, port: 443, scheme: https, serversTransport: trusting"), ingressRoutes},
		{"ingressroute/h2c", "h2c", "h2c", ingressRoute("h2c", e.host("h2c"), "name: tls-app, port: 80, scheme: h2c, weight: 3"), ingressRoutes},
		{"ingress/annotated", "annotated", "TLS", ingress("annotated", e.host("annotated"), "annotated", 443), ingresses},
	}
	manifests := []string{transport, tlsApp("tls-app", ""), tlsApp("annotated", asHTTPS)}
	var hosts []string
	for _, tt := range targets {
		manifests, hosts = append(manifests, tt.manifest), append(hosts, e.host(tt.name))
	}
	e.deploy(hosts, manifests...)
	l := e.visitors(25, hosts...)
	specs := map[string]string{}
	for _, tt := range targets {
		specs[tt.object] = e.spec(tt.object)
		assert.Contains(t, e.untilAnswer(e.host(tt.name), fromApp).body, "over "+tt.over)
	}
	l.await(25)
	l.phase("maintenance")
	for _, tt := range targets {
		e.on(tt.object)
	}
	for _, tt := range targets {
		e.until(tt.resource, tt.name, "active", active)
		e.untilAnswer(e.host(tt.name), fromPage)
		e.requirePage(e.host(tt.name), defaultSet(), defaultRetryAfter)
		assert.NotContains(t, e.spec(tt.object), "scheme")
	}
	l.phase("active")
	l.await(25)
	l.phase("off")
	for _, tt := range targets {
		e.off(tt.object)
	}
	for _, tt := range targets {
		e.until(tt.resource, tt.name, "restored", restored)
		assert.Contains(t, e.untilAnswer(e.host(tt.name), fromApp).body, "over "+tt.over)
		assert.Equal(t, specs[tt.object], e.spec(tt.object))
	}
	e.untilClean()
	l.stop()
	l.assertOnly("before", fromApp)
	l.assertOnly("active", from(defaultSet()))
}
