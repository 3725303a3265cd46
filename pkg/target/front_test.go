package target

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// TestMiddlewareHides: Traefik's middlewares that do not let a page's 503 through
// unchanged.
func TestMiddlewareHides(t *testing.T) {
	for spec, want := range map[string]string{
		`{"circuitBreaker": {"expression": "ResponseCodeRatio(500, 600, 0, 600) > 0.25"}}`:                                 "circuitBreaker trips on answers with 503",
		`{"circuitBreaker": {"expression": "NetworkErrorRatio() > 0.3 || ResponseCodeRatio(500, 600, 0, 600) > 0.25"}}`:    "circuitBreaker trips",
		`{"circuitBreaker": {"expression": "LatencyAtQuantileMS(50.0) > 100"}}`:                                            "",
		`{"errors": {"status": ["500-599"], "service": {"name": "e"}}}`:                                                    "another page",
		`{"errors": {"status": ["404,503"]}}`:                                                                              "another page",
		`{"errors": {"status": ["404", "500-502", "504"]}}`:                                                                "",
		`{"retry": {"attempts": 4}}`:                                                                                       "", // Traefik 3.6 asks again if nobody answers
		`{"retry": {"attempts": 4, "status": ["503"]}}`:                                                                    "repeats each request",
		`{"buffering": {"retryExpression": "IsNetworkError() && Attempts() < 2"}}`:                                         "",
		`{"buffering": {"retryExpression": "ResponseCode() == 503 && Attempts() < 2"}}`:                                    "repeats requests",
		`{"headers": {"customResponseHeaders": {"a": "b"}}}`:                                                               "",
		`{"errors": {"status": "503"}, "circuitBreaker": "odd", "chain": {"middlewares": [1]}, "retry": {"status": [{}]}}`: "",
	} {
		why, chain := MiddlewareHides(parse(t, spec), "shop", 503)
		assert.Empty(t, chain)
		if want == "" {
			assert.Empty(t, why, spec)
		} else {
			assert.Contains(t, why, want, spec)
		}
	}
	why, _ := MiddlewareHides(parse(t, `{"errors": {"status": ["500-599"]}}`), "shop", 400)
	assert.Empty(t, why, "the page has another status")
	_, chain := MiddlewareHides(parse(t, `{"chain": {"middlewares": [{"name": "a"}, {"name": "b", "namespace": "infra"}, {"name": "c@file"}]}}`), "shop", 503)
	assert.Equal(t, []Middleware{{"shop", "a"}, {"infra", "b"}, {"", "c@file"}}, chain)
}

func TestFrontOfEachKind(t *testing.T) {
	ingress := parse(t, `{
		"metadata": {"namespace": "my-shop", "annotations": {"traefik.ingress.kubernetes.io/router.middlewares": "my-shop-breaker@kubernetescrd, infra-auth@kubernetescrd,limit@file"}},
		"spec": {"defaultBackend": {"service": {"name": "app", "port": {"number": 80}}}, "rules": [{"host": "a"}, {"http": {"paths": [
			{"path": "/", "backend": {"service": {"name": "app"}}}, {"path": "/b", "backend": {"service": {"name": "b"}}}, {"path": "/c", "backend": {"resource": {"kind": "Bucket", "name": "c"}}},
			{"path": "/d", "backend": {"service": {"name": "d", "port": {"name": "use-annotation"}}}}]}}]}}`)
	assert.Equal(t, Front{
		Middlewares: []Middleware{{"my-shop", "breaker"}, {"", "infra-auth@kubernetescrd"}, {"", "limit@file"}}, Services: []string{"app", "b"},
	}, Ingress().Front(ingress, 503))
	assert.Equal(t, []Middleware{{"infra", "auth"}}, Middleware{"", "infra-auth@kubernetescrd"}.Candidates())
	assert.Equal(t, []Middleware{{"my", "infra-auth"}, {"my-infra", "auth"}}, Middleware{"", "my-infra-auth@kubernetescrd"}.Candidates())
	assert.Equal(t, []Middleware{{"my-shop", "a-b"}}, Middleware{"my-shop", "a-b"}.Candidates())
	assert.Empty(t, Middleware{"", "rate-limit@file"}.Candidates())
	assert.Equal(t, Front{}, Ingress().Front(parse(t, `{"spec": {}}`), 503))

	route := parse(t, `{"metadata": {"namespace": "shop"}, "spec": {"routes": [
		{"match": "a", "middlewares": [{"name": "breaker"}, {"name": "auth", "namespace": "infra"}]}, {"match": "b", "middlewares": [{"name": "breaker"}, {"name": "limit@file"}]}, {"match": "c"}]}}`)
	assert.Equal(t, Front{Middlewares: []Middleware{{"shop", "breaker"}, {"infra", "auth"}, {"", "limit@file"}}}, IngressRoute().Front(route, 503))
}

// TestAnnotationsThatHideAPage: annotations of ingress controllers about statuses.
func TestAnnotationsThatHideAPage(t *testing.T) {
	for _, test := range []struct {
		annotations map[string]string
		says        string
	}{
		{map[string]string{nginxErrors: "404,503"}, "custom-http-errors replaces answers with 503 by another page"},
		{map[string]string{nginxErrors: "404,415"}, ""},
		{map[string]string{nginxNextUpstream: "error timeout http_503"}, "leave http_503 out"},
		{map[string]string{nginxNextUpstream: "error timeout http_502"}, ""},
		{map[string]string{gatewayProbe: "/healthz"}, "health-probe-status-codes to 200-399,503"},
		{map[string]string{gatewayProbe: "/healthz", gatewayStatus: "200-399, 503"}, ""},
		{nil, ""},
	} {
		hides := annotatedHides(test.annotations, 503)
		if test.says == "" {
			assert.Empty(t, hides)
		} else if assert.Len(t, hides, 1, test.says) {
			assert.Contains(t, hides[0], test.says)
		}
	}
}

// TestRolloutTool: each is recognised by the marks that it leaves on the Service.
func TestRolloutTool(t *testing.T) {
	named := func(m metav1.ObjectMeta) *corev1.Service { return &corev1.Service{ObjectMeta: m} }
	canary := metav1.OwnerReference{APIVersion: "flagger.app/v1beta1", Kind: "Canary", Name: "app", Controller: ptr.To(true)}
	assert.Equal(t, `Argo Rollouts (Rollout "app")`, RolloutTool(named(metav1.ObjectMeta{Annotations: map[string]string{"argo-rollouts.argoproj.io/managed-by-rollouts": "app"}})))
	assert.Equal(t, "Argo Rollouts", RolloutTool(&corev1.Service{Spec: corev1.ServiceSpec{Selector: map[string]string{"rollouts-pod-template-hash": "5f"}}}))
	assert.Equal(t, `Flagger (Canary "app")`, RolloutTool(named(metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{canary}})))
	assert.Equal(t, "Flagger", RolloutTool(named(metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "flagger"}}})))
	canary.APIVersion, canary.Kind = "apps/v1", "Deployment"
	assert.Empty(t, RolloutTool(named(metav1.ObjectMeta{Name: "app", OwnerReferences: []metav1.OwnerReference{canary}})))
}
