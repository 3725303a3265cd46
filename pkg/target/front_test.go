package target

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// TestWhatHidesAPage: Traefik's middlewares that a page's 503 does not pass as it is.
func TestWhatHidesAPage(t *testing.T) {
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
		why, chain := Hides(parse(t, spec), "shop", 503)
		assert.Empty(t, chain)
		if want == "" {
			assert.Empty(t, why, spec)
		} else {
			assert.Contains(t, why, want, spec)
		}
	}
	why, _ := Hides(parse(t, `{"errors": {"status": ["500-599"]}}`), "shop", 400)
	assert.Empty(t, why, "the page has another status")
	_, chain := Hides(parse(t, `{"chain": {"middlewares": [{"name": "a"}, {"name": "b", "namespace": "infra"}, {"name": "c@file"}]}}`), "shop", 503)
	assert.Equal(t, []Middleware{{"shop", "a"}, {"infra", "b"}, {"", "c@file"}}, chain)
}

func TestWhatIsInFront(t *testing.T) {
	ingress := parse(t, `{
		"metadata": {"namespace": "my-shop", "annotations": {"traefik.ingress.kubernetes.io/router.middlewares": "my-shop-breaker@kubernetescrd, infra-auth@kubernetescrd,limit@file"}},
		"spec": {"defaultBackend": {"service": {"name": "app", "port": {"number": 80}}}, "rules": [{"host": "a"}, {"http": {"paths": [
			{"path": "/", "backend": {"service": {"name": "app"}}}, {"path": "/b", "backend": {"service": {"name": "b"}}}, {"path": "/c", "backend": {"resource": {"kind": "Bucket", "name": "c"}}},
			{"path": "/d", "backend": {"service": {"name": "d", "port": {"name": "use-annotation"}}}}]}}]}}`)
	assert.Equal(t, Front{
		Middlewares: []Middleware{{"my-shop", "breaker"}, {"", "infra-auth@kubernetescrd"}, {"", "limit@file"}}, Services: []string{"app", "b"},
	}, Ingress().Front(ingress, 503))
	assert.Equal(t, []Middleware{{"infra", "auth"}}, Middleware{"", "infra-auth@kubernetescrd"}.Places())
	assert.Equal(t, []Middleware{{"my", "infra-auth"}, {"my-infra", "auth"}}, Middleware{"", "my-infra-auth@kubernetescrd"}.Places())
	assert.Equal(t, []Middleware{{"my-shop", "a-b"}}, Middleware{"my-shop", "a-b"}.Places())
	assert.Empty(t, Middleware{"", "rate-limit@file"}.Places())
	assert.Equal(t, Front{}, Ingress().Front(parse(t, `{"spec": {}}`), 503))

	route := parse(t, `{"metadata": {"namespace": "shop"}, "spec": {"routes": [
		{"match": "a", "middlewares": [{"name": "breaker"}, {"name": "auth", "namespace": "infra"}]}, {"match": "b", "middlewares": [{"name": "breaker"}, {"name": "limit@file"}]}, {"match": "c"}]}}`)
	assert.Equal(t, Front{Middlewares: []Middleware{{"shop", "breaker"}, {"infra", "auth"}, {"", "limit@file"}}}, IngressRoute().Front(route, 503))
}

// TestAnnotationsThatHideAPage: what ingress controllers are told about statuses.
func TestAnnotationsThatHideAPage(t *testing.T) {
	for _, test := range []struct {
		annotations map[string]string
		says        string
	}{
		{map[string]string{nginxErrors: "404,503"}, "custom-http-errors puts another page in the place of answers with 503"},
		{map[string]string{nginxErrors: "404,415"}, ""},
		{map[string]string{nginxNext: "error timeout http_503"}, "leave http_503 out"},
		{map[string]string{nginxNext: "error timeout http_502"}, ""},
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

// TestWhoLooksForItsService: by the marks that they leave on it.
func TestWhoLooksForItsService(t *testing.T) {
	named := func(m metav1.ObjectMeta) *corev1.Service { return &corev1.Service{ObjectMeta: m} }
	canary := metav1.OwnerReference{APIVersion: "flagger.app/v1beta1", Kind: "Canary", Name: "app", Controller: ptr.To(true)}
	assert.Equal(t, `Argo Rollouts (Rollout "app")`, LooksForIt(named(metav1.ObjectMeta{Annotations: map[string]string{"argo-rollouts.argoproj.io/managed-by-rollouts": "app"}})))
	assert.Equal(t, "Argo Rollouts", LooksForIt(&corev1.Service{Spec: corev1.ServiceSpec{Selector: map[string]string{"rollouts-pod-template-hash": "5f"}}}))
	assert.Equal(t, `Flagger (Canary "app")`, LooksForIt(named(metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{canary}})))
	assert.Equal(t, "Flagger", LooksForIt(named(metav1.ObjectMeta{ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "flagger"}}})))
	canary.APIVersion, canary.Kind = "apps/v1", "Deployment"
	assert.Empty(t, LooksForIt(named(metav1.ObjectMeta{Name: "app", OwnerReferences: []metav1.OwnerReference{canary}})))
}
