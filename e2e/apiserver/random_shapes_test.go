package apiserver

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
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
	shapesCount = flag.Int("shapes", 60, "number of random objects in TestRandomShapes; ten times as many with -long")
	shapesSeed  = flag.Uint64("shapes-seed", 0, "seed of TestRandomShapes; 0 = a new one each time")
)

// oddSpecs are unusual specs that the API server accepts, by kind.
var oddSpecs = map[string][]string{
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

// routeKinds are the kinds whose slots all stand for themselves.
func routeKinds() []target.Kind {
	return []target.Kind{target.Ingress(), target.IngressRoute(), target.HTTPRoute(), target.GRPCRoute()}
}

// clientErrors collects the API server's answers of 400 to 499 to the controller. It
// ignores those that are due to a watch that lags: 404 to a GET or a DELETE, and 409 to a
// POST of an object that exists.
type clientErrors struct {
	mu    sync.Mutex
	wrong []string
	all   int
}

func (a *clientErrors) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req)
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.all++; err == nil && resp.StatusCode/100 == 4 && !isExpectedError(req.Method, resp.StatusCode) {
			a.wrong = append(a.wrong, fmt.Sprintf("%s %s: %s", req.Method, req.URL.Path, resp.Status))
		}
		return resp, err
	})
}

// result returns the number of answers so far, and the wrong ones.
func (a *clientErrors) result() (all int, wrong []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all, slices.Clone(a.wrong)
}

func isExpectedError(method string, status int) bool {
	switch method {
	case http.MethodGet, http.MethodDelete:
		return status == http.StatusNotFound
	case http.MethodPost:
		return status == http.StatusConflict
	}
	return false
}

// TestRandomShapes takes odd and random objects through maintenance, each written by one,
// two or three managers in different ways. Afterwards spec, labels and annotations are the
// same, byte by byte, and managedFields has the same managers, operations, API versions,
// subresources and fields.
func TestRandomShapes(t *testing.T) {
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
	env := newTestEnv(t)
	for _, kind := range routeKinds() {
		for _, s := range oddSpecs[kind.Name] {
			env.createByManagers(rnd, kind, env.parse("apiVersion: "+kind.APIVersion()+"\nkind: "+kind.Name+"\nspec: "+s), true)
		}
		valid := 0
		for range count / 2 {
			if env.createByManagers(rnd, kind, randomTarget(rnd, kind), false) {
				valid++
			}
		}
		assert.GreaterOrEqual(t, valid, count/2*3/4, "random objects of kind %s that the API server accepts", kind.Name)
	}
	a := &clientErrors{}
	env.startController(func(_ *controllerConfig, config *restConfig) { config.Wrap(a.wrap) })
	for _, kind := range routeKinds() {
		all := env.list(kind.Resource, "")
		tally.Report(t, "shapes restored", int64(len(all)))
		for i := range all {
			env.enable(kind.Resource, all[i].GetName())
		}
		for i := range all {
			name := all[i].GetName()
			if slots, err := kind.Slots(all[i].Object); err != nil || len(slots) == 0 {
				require.NoError(t, err)
				env.waitForEvent(name, "NothingToSwap")
			} else {
				requireOnPage(t, env.waitFor(kind.Resource, name, "active", state(annotations.Active)))
			}
			env.disable(kind.Resource, name)
		}
		for i := range all {
			assert.Equal(t, env.authoredState(&all[i]), env.authoredState(env.waitFor(kind.Resource, all[i].GetName(), "restored", restored)))
		}
	}
	env.waitForCleanup()
	all, wrong := a.result() // the controller still asks which kinds there are
	assert.Greater(t, all, count)
	assert.Empty(t, wrong)
}

// createByManagers lets some managers write a random object, and says whether the API
// server accepted it. must makes a refusal an error.
func (env *testEnv) createByManagers(rnd *rand.Rand, k target.Kind, u *unstructured.Unstructured, must bool) (made bool) {
	env.Helper()
	u.SetGenerateName("")
	u.SetName(fmt.Sprintf("shape-%d", rnd.Uint64()))
	u.SetNamespace(env.namespace)
	resource := env.dynamic.Resource(k.Resource).Namespace(env.namespace)
	var err error
	if rnd.IntN(2) == 0 {
		_, err = resource.Create(env.Context(), u, metav1.CreateOptions{FieldManager: "author"})
	} else {
		_, err = resource.Apply(env.Context(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "gitops"})
	}
	if apierrors.IsInvalid(err) && !must {
		return false
	}
	require.NoError(env, err, "%s", toJSON(u.Object))
	if rnd.IntN(2) == 0 { // another manager owns the same spec as well
		_, err = resource.Apply(env.Context(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "other-gitops", Force: true})
		require.NoError(env, err)
	}
	if rnd.IntN(2) == 0 {
		env.annotate(k.Resource, u.GetName(), map[string]any{"example.com/" + fmt.Sprint(rnd.IntN(5)): "a\nb\u2028ü"})
	}
	return true
}
