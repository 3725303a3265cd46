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

func defaultSet() string { return page.SetName(pages.Default().Hash()) }

// defaultRetryAfter of the built-in page, in seconds.
const defaultRetryAfter = int(page.DefaultRetryAfter / 1e9)

// TestTheWholeWay is what the product is for, with nothing but kubectl: the app,
// the page as soon as the state is active, the app again. Every visitor on the way
// gets one or the other.
func TestTheWholeWay(t *testing.T) {
	t.Parallel()
	for _, kind := range []target.Kind{target.Ingress(), target.IngressRoute(), target.Service()} { // routes of Gateways: see TestDataPlanes
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			host, object := w.host("my-app"), strings.ToLower(kind.Name)+"/my-app"
			route := ingress("my-app", host, "my-app", 80)
			if kind.Name == "IngressRoute" {
				route = ingressRoute("my-app", host, "name: my-app, port: 80")
			}
			w.serve([]string{host}, app("my-app"), route)
			spec := w.spec(object)
			l := w.visitors(50, host)
			l.await(50)

			l.phase("switching on")
			w.kubectl("annotate", object, "maintenance/enabled=true")
			w.kubectl("wait", "--for=jsonpath={.metadata.annotations.maintenance/state}=active", object, fmt.Sprintf("--timeout=%s", patience))
			l.phase("active")
			bodies := w.requirePage(host, defaultSet(), defaultRetryAfter)
			assert.Equal(t, pages.Default().Bodies["page.en.txt"], bodies["text/plain"])
			l.await(100)

			l.phase("switching off")
			w.kubectl("annotate", object, "maintenance/enabled-")
			w.until(kind.Resource, "my-app", "restored", restored)
			w.arrives(host, fromApp)
			l.phase("app again")
			assert.Equal(t, spec, w.spec(object))
			w.untilClean()
			l.await(50)
			l.stop()

			l.only("before", fromApp)
			l.only("switching on", fromApp, from(defaultSet()))
			l.only("active", from(defaultSet()))
			l.only("switching off", fromApp, from(defaultSet()))
			l.only("app again", fromApp)
			for key := range w.get(kind.Resource, "my-app").GetAnnotations() {
				assert.NotContains(t, key, annotations.Prefix)
			}
		})
	}
}

// TestBackendsThatSpeakSomethingElse has apps that Traefik must be told how to talk
// to. The page is reached as it wants to be, and the way to the app comes back.
func TestBackendsThatSpeakSomethingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	transport := `{apiVersion: traefik.io/v1alpha1, kind: ServersTransport, metadata: {name: trusting}, spec: {insecureSkipVerify: true}}`
	asHTTPS := "traefik.ingress.kubernetes.io/service.serversscheme: https, traefik.ingress.kubernetes.io/service.serverstransport: " + w.namespace + "-trusting@kubernetescrd"
	targets := []struct {
		object, name, over, manifest string
		resource                     schema.GroupVersionResource
	}{
		{"ingressroute/https", "https", "TLS", ingressRoute("https", w.host("https"), "name: tls-app, port: 443, scheme: https, serversTransport: trusting"), ingressRoutes},
		{"ingressroute/h2c", "h2c", "h2c", ingressRoute("h2c", w.host("h2c"), "name: tls-app, port: 80, scheme: h2c, weight: 3"), ingressRoutes},
		{"ingress/annotated", "annotated", "TLS", ingress("annotated", w.host("annotated"), "annotated", 443), ingresses},
	}
	manifests := []string{transport, tlsApp("tls-app", ""), tlsApp("annotated", asHTTPS)}
	var hosts []string
	for _, tt := range targets {
		manifests, hosts = append(manifests, tt.manifest), append(hosts, w.host(tt.name))
	}
	w.serve(hosts, manifests...)
	l := w.visitors(25, hosts...)
	specs := map[string]string{}
	for _, tt := range targets {
		specs[tt.object] = w.spec(tt.object)
		assert.Contains(t, w.arrives(w.host(tt.name), fromApp).body, "over "+tt.over)
	}
	l.await(25)
	l.phase("maintenance")
	for _, tt := range targets {
		w.on(tt.object)
	}
	for _, tt := range targets {
		w.until(tt.resource, tt.name, "active", active)
		w.arrives(w.host(tt.name), fromPage)
		w.requirePage(w.host(tt.name), defaultSet(), defaultRetryAfter)
		assert.NotContains(t, w.spec(tt.object), "scheme")
	}
	l.phase("active")
	l.await(25)
	l.phase("off")
	for _, tt := range targets {
		w.off(tt.object)
	}
	for _, tt := range targets {
		w.until(tt.resource, tt.name, "restored", restored)
		assert.Contains(t, w.arrives(w.host(tt.name), fromApp).body, "over "+tt.over)
		assert.Equal(t, specs[tt.object], w.spec(tt.object))
	}
	w.untilClean()
	l.stop()
	l.only("before", fromApp)
	l.only("active", from(defaultSet()))
}
