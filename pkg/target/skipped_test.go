package target

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	var object map[string]any
	require.NoError(t, json.Unmarshal([]byte(text), &object))
	return object
}

func pathsOf(t *testing.T, k Kind, object map[string]any) (found []string) {
	t.Helper()
	slots, err := k.Slots(object)
	require.NoError(t, err)
	for _, s := range slots {
		found = append(found, s.ID.Path)
	}
	return found
}

// TestALBActionsAndConditionsAreSkipped: the AWS load balancer controller finds actions and
// conditions by the name of the backend, and the page has another name.
func TestALBActionsAndConditionsAreSkipped(t *testing.T) {
	object := parse(t, `{
		"metadata": {"annotations": {
			"alb.ingress.kubernetes.io/actions.pay": "{\"type\":\"forward\",\"forwardConfig\":{\"targetGroups\":[{\"serviceName\":\"pay\",\"servicePort\":80}]}}",
			"alb.ingress.kubernetes.io/actions.moved": "{\"Type\":\"redirect\",\"RedirectConfig\":{\"StatusCode\":\"HTTP_301\"}}",
			"alb.ingress.kubernetes.io/actions.gone": "{\"type\":\"fixed-response\",\"fixedResponseConfig\":{\"statusCode\":\"410\"}}",
			"alb.ingress.kubernetes.io/conditions.beta": "[{\"field\":\"http-header\"}]"}},
		"spec": {"rules": [{"host": "a.example", "http": {"paths": [
			{"path": "/", "backend": {"service": {"name": "app", "port": {"number": 80}}}},
			{"path": "/pay", "backend": {"service": {"name": "pay", "port": {"name": "use-annotation"}}}},
			{"path": "/moved", "backend": {"service": {"name": "moved", "port": {"name": "use-annotation"}}}},
			{"path": "/gone", "backend": {"service": {"name": "gone", "port": {"name": "use-annotation"}}}},
			{"path": "/beta", "backend": {"service": {"name": "beta", "port": {"number": 80}}}}]}}]}}`)
	k := Ingress()
	assert.Equal(t, []string{"/"}, pathsOf(t, k, object))
	notes := k.Note(object)
	assert.Empty(t, notes.Refused)
	require.Len(t, notes.LeftAlone, 2, "a redirect and an answer lead to no app")
	assert.Contains(t, notes.LeftAlone[0], `path "a.example/pay"`)
	assert.Contains(t, notes.LeftAlone[0], "actions.pay) that leads past the page: its visitors get the app")
	assert.Contains(t, notes.LeftAlone[1], `path "a.example/beta"`)
	assert.Contains(t, notes.LeftAlone[1], "conditions.beta sets conditions for it by name")

	only := parse(t, `{
		"metadata": {"annotations": {"alb.ingress.kubernetes.io/conditions.beta": "[]"}},
		"spec": {"defaultBackend": {"service": {"name": "beta", "port": {"number": 80}}}}}`)
	assert.Empty(t, pathsOf(t, k, only))
	assert.Contains(t, k.Note(only).Refused, "the default backend: its backend stays on the app", "nothing to swap, and why")
}

// TestACMESolversAreSkipped: a page in their place would let certificates expire.
func TestACMESolversAreSkipped(t *testing.T) {
	ingress := parse(t, `{"spec": {"rules": [{"http": {"paths": [
		{"path": "/", "backend": {"service": {"name": "my-solver"}}},
		{"path": "/.well-known/acme-challenge", "backend": {"service": {"name": "my-solver"}}},
		{"path": "/.well-known/acme-challenge/token", "backend": {"service": {"name": "lego-7"}}},
		{"path": "/.well-known/acme-challenge/x", "backend": {"service": {"name": "cm-acme-http-solver-x"}}},
		{"path": "/.well-known/acme-challenges", "backend": {"service": {"name": "my-solver"}}},
		{"path": "/.well-known/acme-challenge/y", "backend": {"service": {"name": "app"}}}]}}]}}`)
	assert.Equal(t, []string{"/", "/.well-known/acme-challenges", "/.well-known/acme-challenge/y"}, pathsOf(t, Ingress("my-solver", "lego-*"), ingress))
	assert.Len(t, pathsOf(t, Ingress(), ingress), 5, "only cert-manager's is known without the flag")

	route := parse(t, `{"spec": {"routes": [
		{"match": "PathPrefix(`+"`/.well-known/acme-challenge/`"+`)", "services": [{"name": "lego-7"}]},
		{"match": "Path(`+"`/.well-known/acme-challenge/a`"+`)", "services": [{"name": "lego-7"}, {"name": "app"}]},
		{"match": "PathPrefix(`+"`/`"+`)", "services": [{"name": "lego-7"}]}]}}`)
	assert.Len(t, pathsOf(t, IngressRoute("lego-*"), route), 2)
	assert.Len(t, pathsOf(t, IngressRoute(), route), 3)
}

// TestPortNamesAreReadAsMeshesDo: a mesh relies on the name of a port without an
// appProtocol.
func TestPortNamesAreReadAsMeshesDo(t *testing.T) {
	for name, want := range map[string]string{
		"mysql": "speaks mysql", "redis-cache": "speaks redis", "mongo": "speaks mongo",
		"": "", "http": "", "web": "", "tcp": "", "tls-web": "", "redisinsight": "", "http-mysql": "",
	} {
		says := notHTTP(corev1.ServicePort{Name: name, Port: 80})
		if want == "" {
			assert.Empty(t, says, name)
		} else {
			assert.Contains(t, says, want)
		}
	}
	assert.Empty(t, notHTTP(corev1.ServicePort{Name: "redis", AppProtocol: ptr.To("http")}), "an appProtocol counts more than a name")
	assert.NotEmpty(t, notHTTP(corev1.ServicePort{Name: "http", AppProtocol: ptr.To("redis")}))
}
