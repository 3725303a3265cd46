package apiserver

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

var (
	shapesCount = flag.Int("shapes", 60, "random objects that TestEveryShape takes through maintenance; ten times as many with -long")
	shapesSeed  = flag.Uint64("shapes-seed", 0, "seed of TestEveryShape; 0 is a new one each time")
)

// odd are shapes that the API server accepts and nobody expects, by kind.
var odd = map[string][]string{
	"Ingress": {
		`{rules: [{http: {paths: [{pathType: ImplementationSpecific, backend: {service: {name: app, port: {number: 80}}}}]}}]}`,
		`{rules: [{host: "*.a.example", http: {paths: [{path: "/", pathType: Prefix, backend: {service: {name: a, port: {number: 1}}}}]}}, {host: a.example}, {http: {paths: [{path: "/", pathType: Prefix, backend: {service: {name: b, port: {number: 2}}}}]}}]}`,
		`{rules: [{host: a.example, http: {paths: [{path: "/", pathType: Prefix, backend: {service: {name: a, port: {number: 1}}}}, {path: "/", pathType: Prefix, backend: {service: {name: b, port: {number: 2}}}}, {path: "/", pathType: Exact, backend: {service: {name: c, port: {number: 3}}}}]}}]}`,
		`{rules: [{http: {paths: [{path: "/(a|b)/.*$", pathType: ImplementationSpecific, backend: {service: {name: a, port: {name: a-b}}}}]}}]}`,
		`{rules: [{http: {paths: [{path: "/%7Ea b", pathType: Prefix, backend: {service: {name: maintenance-abc, port: {number: 65535}}}}]}}]}`,
		`{rules: [{http: {paths: [{path: "/", pathType: Prefix, backend: {service: {name: maintenance-0123456789abcdeg, port: {number: 80}}}}]}}]}`,
		`{defaultBackend: {resource: {kind: Bucket, name: static}}, rules: [{host: a.example}], tls: [{}]}`,
		`{defaultBackend: {service: {name: app, port: {name: x}}}, rules: []}`,
	},
	"HTTPRoute": {
		`{}`,
		`{rules: [{}]}`,
		`{parentRefs: [{group: "", kind: Service, name: callers}], rules: [{backendRefs: [{name: app, port: 80}]}]}`,
		`{rules: [{backendRefs: [{name: app, port: 80}]}, {backendRefs: [{name: api, port: 80}]}, {matches: [{path: {value: /}}], backendRefs: [{name: app, port: 81}]}]}`,
		`{rules: [{matches: [{path: {value: /v1}}], backendRefs: [{name: app, port: 80, filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}, {type: RequestMirror, requestMirror: {backendRef: {name: shadow, port: 80}}}]}]}]}`,
		`{rules: [{filters: [{type: RequestRedirect, requestRedirect: {scheme: https}}]}, {matches: [{path: {type: RegularExpression, value: "/(a|b)/.*$"}, headers: [{name: x, value: v, type: RegularExpression}], queryParams: [{name: q, value: z}], method: PATCH}], backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: llm}, {group: multicluster.x-k8s.io, kind: ServiceImport, name: app, namespace: other, port: 80, weight: 0}]}]}`,
		`{rules: [{matches: [{path: {value: /.well-known/acme-challenge/token, type: Exact}}], backendRefs: [{name: cm-acme-http-solver-abc, port: 8089}]}, {filters: [{type: RequestMirror, requestMirror: {backendRef: {name: shadow, namespace: other, port: 80}}}, {type: RequestMirror, requestMirror: {backendRef: {name: dark, port: 81}, percent: 5}}], timeouts: {request: 5s}, backendRefs: [{name: app, port: 80}]}]}`,
	},
	"GRPCRoute": {
		`{rules: [{backendRefs: [{name: app, port: 80}]}, {matches: [{}], backendRefs: [{name: api, port: 80}]}]}`,
		`{rules: [{name: a, matches: [{method: {type: RegularExpression, service: "shop.*", method: "Get.*"}, headers: [{name: x, value: v}]}], filters: [{type: RequestMirror, requestMirror: {backendRef: {name: shadow, port: 80}}}], backendRefs: [{name: app, port: 80, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {remove: [x]}}]}]}]}`,
	},
	"IngressRoute": {
		"{routes: [{kind: Rule, match: 'Host(`a.example`)', services: [{kind: TraefikService, name: 'api@internal'}]}]}",
		"{routes: [{match: 'PathPrefix(`/`)', services: [{name: app, port: web, namespace: other, weight: 0}]}, {match: 'PathPrefix(`/`)', services: [{name: app-2, port: 1}]}]}",
		"{routes: [{kind: Rule, match: 'Host(`a.example`)', services: []}, {kind: Rule, match: '主机', services: [{name: app}]}]}",
		"{parentRefs: [{name: parent, namespace: other}], routes: [{match: 'Path(`/child`)', services: [{name: app, port: 80, passHostHeader: false, scheme: h2c}]}]}",
		"{routes: [{match: 'Host(`a.example`) && Headers(`x`, `y`)', priority: 9007199254740993, services: [{name: a, port: 80, sticky: {cookie: {name: c, maxAge: -1}}, healthCheck: {path: /, interval: 1s}, responseForwarding: {flushInterval: 1ms}}]}]}",
	},
}

// shaped are the kinds of which all slots are in the objects themselves.
func shaped() []target.Kind {
	return []target.Kind{target.Ingress(), target.IngressRoute(), target.HTTPRoute(), target.GRPCRoute()}
}

// answers collects the API server's answers of 400 to 499 to the controller, but
// for those to what a watch has not shown yet: 404 to a GET or a DELETE, and 409 to
// a POST of what is there.
type answers struct {
	mu    sync.Mutex
	wrong []string
	all   int
}

func (a *answers) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.all++; err == nil && resp.StatusCode/100 == 4 && !behind(req.Method, resp.StatusCode) {
			a.wrong = append(a.wrong, fmt.Sprintf("%s %s: %s", req.Method, req.URL.Path, resp.Status))
		}
		return resp, err
	})
}

func behind(method string, status int) bool {
	switch method {
	case http.MethodGet, http.MethodDelete:
		return status == http.StatusNotFound
	case http.MethodPost:
		return status == http.StatusConflict
	}
	return false
}

// TestEveryShape takes odd and random objects through maintenance, each written by
// one, two or three managers in different ways. What comes back is the same to the
// byte: spec, labels, annotations; and managedFields name the same managers,
// operations, API versions, subresources and fields, at whatever time.
func TestEveryShape(t *testing.T) {
	t.Parallel()
	seed := *shapesSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	count := *shapesCount
	if *long {
		count *= 10
	}
	t.Logf("-shapes-seed=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	for _, kind := range shaped() {
		for _, s := range odd[kind.Name] {
			w.make(rnd, kind, w.parse("apiVersion: "+kind.APIVersion()+"\nkind: "+kind.Name+"\nspec: "+s), true)
		}
		valid := 0
		for range count / 2 {
			if w.make(rnd, kind, randomTarget(rnd, kind), false) {
				valid++
			}
		}
		assert.GreaterOrEqual(t, valid, count/2*3/4, "random objects of kind %s that the API server accepts", kind.Name)
	}
	a := &answers{}
	w.start(func(_ *controllerConfig, config *restConfig) { config.Wrap(a.wrap) })
	for _, kind := range shaped() {
		all := w.list(kind.Resource, "")
		tally.Tell(t, "shapes restored", int64(len(all)))
		for i := range all {
			w.on(kind.Resource, all[i].GetName())
		}
		for i := range all {
			name := all[i].GetName()
			if slots, err := kind.Slots(all[i].Object); err != nil || len(slots) == 0 {
				require.NoError(t, err)
				w.untilEvent(name, "NothingToSwap")
			} else {
				allOn(t, w.until(kind.Resource, name, "active", state(annotations.Active)))
			}
			w.off(kind.Resource, name)
		}
		for i := range all {
			assert.Equal(t, w.shape(&all[i]), w.shape(w.until(kind.Resource, all[i].GetName(), "restored", restored)))
		}
	}
	w.untilClean()
	assert.Greater(t, a.all, count)
	assert.Empty(t, a.wrong)
}

// make has some managers write an object that the API server accepts. One that it
// refuses is of no use, and a fault of the test's if it must not be.
func (w *world) make(rnd *rand.Rand, k target.Kind, u *unstructured.Unstructured, must bool) (made bool) {
	w.Helper()
	u.SetGenerateName("")
	u.SetName(fmt.Sprintf("shape-%d", rnd.Uint64()))
	u.SetNamespace(w.namespace)
	resource := w.dynamic.Resource(k.Resource).Namespace(w.namespace)
	var err error
	if rnd.IntN(2) == 0 {
		_, err = resource.Create(w.Context(), u, metav1.CreateOptions{FieldManager: "author"})
	} else {
		_, err = resource.Apply(w.Context(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "gitops"})
	}
	if apierrors.IsInvalid(err) && !must {
		return false
	}
	require.NoError(w, err, "%s", text(u.Object))
	if rnd.IntN(2) == 0 { // the same spec, owned by another as well
		_, err = resource.Apply(w.Context(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "other-gitops", Force: true})
		require.NoError(w, err)
	}
	if rnd.IntN(2) == 0 {
		w.annotate(k.Resource, u.GetName(), map[string]any{"example.com/" + fmt.Sprint(rnd.IntN(5)): "a\nb\u2028ü"})
	}
	return true
}

func one[T any](rnd *rand.Rand, of ...T) T { return of[rnd.IntN(len(of))] }

func several(rnd *rand.Rand, most int, f func() any) []any {
	list := []any{}
	for range rnd.IntN(most + 1) {
		list = append(list, f())
	}
	return list
}

func randomTarget(rnd *rand.Rand, k target.Kind) *unstructured.Unstructured {
	spec := map[string]any{}
	switch k.Name {
	case "HTTPRoute", "GRPCRoute":
		spec = randomGatewaySpec(rnd, k.Name)
	case "IngressRoute":
		spec["routes"] = append(several(rnd, 6, func() any { return randomRoute(rnd) }), randomRoute(rnd))
		if rnd.IntN(2) == 0 {
			spec["entryPoints"] = several(rnd, 3, func() any { return one(rnd, "web", "websecure") })
		}
	default:
		spec["rules"] = several(rnd, 12, func() any { return randomRule(rnd) })
		if rnd.IntN(2) == 0 || len(spec["rules"].([]any)) == 0 {
			spec["defaultBackend"] = randomBackend(rnd)
		}
		if rnd.IntN(3) == 0 {
			spec["ingressClassName"] = "traefik"
		}
		if rnd.IntN(3) == 0 {
			spec["tls"] = []any{map[string]any{"hosts": []any{"a.example"}, "secretName": "tls"}, map[string]any{}}
		}
	}
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": k.APIVersion(), "kind": k.Name, "spec": spec}}
	if rnd.IntN(2) == 0 {
		u.SetLabels(map[string]string{"app": one(rnd, "", "a", "A_b.c")})
		u.SetAnnotations(map[string]string{"kubernetes.io/ingress.class": "traefik", "note": strings.Repeat("x\t", rnd.IntN(2000))})
	}
	return u
}

func randomBackend(rnd *rand.Rand) any {
	if rnd.IntN(6) == 0 {
		return map[string]any{"resource": map[string]any{"apiGroup": one(rnd, "k8s.example.com", "x.y"), "kind": "Bucket", "name": "static"}}
	}
	port := one[map[string]any](rnd, map[string]any{"number": int64(1 + rnd.IntN(65535))}, map[string]any{"name": one(rnd, "http", "a", "use-annotation", "x-1-y")})
	return map[string]any{"service": map[string]any{"name": one(rnd, "app", "api", "maintenance-app", "cm-acme-http-solver-abc", strings.Repeat("n", 63)), "port": port}}
}

func randomRule(rnd *rand.Rand) any {
	rule := map[string]any{}
	if host := one(rnd, "", "a.example", "*.example", "b.a.example", strings.Repeat("h", 63)+".example"); host != "" {
		rule["host"] = host
	}
	if rnd.IntN(8) == 0 {
		return rule
	}
	path := func() any {
		p := map[string]any{"pathType": one(rnd, "Prefix", "Exact", "ImplementationSpecific"), "backend": randomBackend(rnd)}
		p["path"] = one(rnd, "/", "/a", "/a/", "/.well-known/acme-challenge/x", "/ü", "/a b", "/"+strings.Repeat("p", 300))
		if p["pathType"] == "ImplementationSpecific" {
			p["path"] = one(rnd, "", "/", "/.*", "/(?i)x")
		}
		return p
	}
	rule["http"] = map[string]any{"paths": append(several(rnd, 5, path), path())}
	return rule
}

func randomRoute(rnd *rand.Rand) any {
	route := map[string]any{"match": one(rnd, "Host(`a.example`)", "Host(`b.example`) && PathPrefix(`/x`)", "HostRegexp(`^.+$`)", "!Path(`/`)", `Host("c.example")`)}
	for field, value := range map[string]any{"kind": "Rule", "priority": int64(rnd.IntN(1000)), "middlewares": []any{map[string]any{"name": "auth", "namespace": "other"}}, "syntax": "v2"} {
		if rnd.IntN(2) == 0 {
			route[field] = value
		}
	}
	if rnd.IntN(6) == 0 {
		return route // a parent of other routes
	}
	route["services"] = append(several(rnd, 3, func() any { return randomService(rnd) }), randomService(rnd))
	return route
}

func randomService(rnd *rand.Rand) any {
	service := map[string]any{"name": one(rnd, "app", "api", "maintenance-app")}
	for field, value := range map[string]any{
		"port": one[any](rnd, int64(80), "web", int64(443)), "scheme": one(rnd, "http", "https", "h2c"), "weight": int64(rnd.IntN(3)),
		"namespace": "other", "passHostHeader": rnd.IntN(2) == 0, "nativeLB": true, "serversTransport": "insecure", "strategy": one(rnd, "wrr", "p2c"),
		"kind": one(rnd, "Service", "TraefikService"), "sticky": map[string]any{"cookie": map[string]any{"httpOnly": true, "name": "s"}},
		"healthCheck":        map[string]any{"path": "/up", "interval": one[any](rnd, "5s", int64(5)), "headers": map[string]any{"x": "y"}},
		"responseForwarding": map[string]any{"flushInterval": "1ms"},
	} {
		if rnd.IntN(3) == 0 {
			service[field] = value
		}
	}
	return service
}
