package target

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseUsedByEntry(t *testing.T) {
	ref, err := ParseUsedByEntry("shop", "Ingress/my-app")
	require.NoError(t, err)
	assert.Equal(t, Ref{Kind: "Ingress", Namespace: "shop", Name: "my-app"}, ref)
	assert.Equal(t, "Ingress/my-app", ref.UsedByEntry())
	for _, entry := range []string{"", "Ingress", "/a", "Ingress/", "+3"} {
		_, err := ParseUsedByEntry("shop", entry)
		assert.Error(t, err, entry)
	}
}

func TestKindByName(t *testing.T) {
	k, ok := KindByName("ingressroute")
	require.True(t, ok)
	assert.Equal(t, "traefik.io/v1alpha1", k.APIVersion())
	_, ok = KindByName("Gateway")
	assert.False(t, ok)
}

func TestKindByArgument(t *testing.T) {
	for arg, want := range map[string]string{
		"ing": "Ingress", "Ingress": "Ingress", "ingresses": "Ingress", "ingress.networking.k8s.io": "Ingress", "ing.networking.k8s.io": "Ingress",
		"svc": "Service", "httproutes.gateway.networking.k8s.io": "HTTPRoute", "ingressroute": "IngressRoute",
		"": "", "pod": "", "ingress.example.com": "", ".": "",
	} {
		k, _ := KindByArgument(arg)
		assert.Equal(t, want, k.Name, arg)
	}
}

// TestEveryKindSaysWhatItCatches: a row of the table in docs/services.md is made of it.
func TestEveryKindSaysWhatItCatches(t *testing.T) {
	for _, k := range Kinds() {
		for _, text := range []string{k.Catches, k.Misses} {
			assert.NotEmpty(t, text, k.Name)
			assert.NotContains(t, text, "|", "%s: a cell ends there", k.Name)
			assert.NotContains(t, text, "\n", k.Name)
		}
	}
}

// TestWhatMayBeRestored: an annotation can be forged, so a restored value must be a backend
// of the kind and never a page set. Fields that only a newer API knows are kept.
func TestWhatMayBeRestored(t *testing.T) {
	check := map[string]func(any) error{"Ingress": checkIngressBackend, "IngressRoute": servicesIn("").check, "refs": refsIn("").check, "mirror": checkMirror, "selector": checkSelector, "targetPort": checkTargetPort}
	for name, tc := range map[string]struct {
		kind, value string
		ok          bool
	}{
		"a service":              {"Ingress", `{"service":{"name":"app","port":{"number":80}}}`, true},
		"a resource":             {"Ingress", `{"resource":{"kind":"Bucket","name":"b"}}`, true},
		"both":                   {"Ingress", `{"service":{"name":"app"},"resource":{"kind":"Bucket","name":"b"}}`, false},
		"neither":                {"Ingress", `{}`, false},
		"of a newer API":         {"Ingress", `{"service":{"name":"app","port":{"number":80},"fieldOfTheFuture":{"a":[1]}},"another":true}`, true},
		"a page set inside":      {"Ingress", `{"service":{"name":"app","fallback":[{"name":"maintenance-0123456789abcdef"}]}}`, false},
		"no service name":        {"Ingress", `{"service":{"port":{"number":80}}}`, false},
		"a service and no name":  {"Ingress", `{"service":{"name":""},"resource":{"name":"b"}}`, false},
		"a name of another type": {"Ingress", `{"service":{"name":1}}`, false},
		"too large":              {"Ingress", `{"service":{"name":"app","x":"` + strings.Repeat("x", maxValue) + `"}}`, false},
		"a page set":             {"Ingress", `{"service":{"name":"maintenance-0123456789abcdef","port":{"number":80}}}`, false},
		"a list":                 {"Ingress", `[]`, false},
		"null":                   {"Ingress", `null`, false},
		"services":               {"IngressRoute", `[{"name":"app","port":80,"scheme":"https"}]`, true},
		"of a newer Traefik":     {"IngressRoute", `[{"name":"app","fieldOfTheFuture":1}]`, true},
		"a type of the future":   {"IngressRoute", `[{"name":"app","weight":{"much":1}}]`, true},
		"services too large":     {"IngressRoute", `[{"name":"app","x":"` + strings.Repeat("x", maxValue) + `"}]`, false},
		"a page set of services": {"IngressRoute", `[{"name":"app","mirrors":[{"name":"maintenance-0123456789abcdef"}]}]`, false},
		"no services":            {"IngressRoute", `[]`, false},
		"no name":                {"IngressRoute", `[{"port":80}]`, false},
		"no list":                {"IngressRoute", `{"name":"app"}`, false},
		"a selector":             {"selector", `{"app":"a"}`, true},
		"no labels":              {"selector", `{}`, false},
		"a page set's selector":  {"selector", `{"app":"a","maintenance/page-set":"maintenance-0123456789abcdef"}`, false},
		"labels of other types":  {"selector", `{"app":1}`, false},
		"a named port":           {"targetPort", `"http"`, true},
		"the page's port":        {"targetPort", `"maintenancepage"`, false},
		"no name of a port":      {"targetPort", `"with spaces"`, false},
		"refs":                   {"refs", `[{"name":"app","port":80,"weight":0,"filters":[{"type":"RequestMirror"}]},{"group":"inference.networking.k8s.io","kind":"InferencePool","name":"llm"}]`, true},
		"a page set of refs":     {"refs", `[{"name":"app","filters":[{"requestMirror":{"backendRef":{"name":"maintenance-0123456789abcdef"}}}]}]`, false},
		"no refs":                {"refs", `[]`, false},
		"a ref without a name":   {"refs", `[{"kind":"Service"}]`, false},
		"a mirror":               {"mirror", `{"name":"shadow","namespace":"other","port":80}`, true},
		"a mirror without name":  {"mirror", `{"port":80}`, false},
		"a mirror to a page set": {"mirror", `{"name":"maintenance-0123456789abcdef","port":80}`, false},
		"a page set in services": {"IngressRoute", `[{"name":"app"},{"name":"maintenance-0123456789abcdef"}]`, false},
	} {
		t.Run(name, func(t *testing.T) {
			var value any
			require.NoError(t, json.Unmarshal([]byte(tc.value), &value))
			err := check[tc.kind](value)
			assert.Equal(t, tc.ok, err == nil, "%v", err)
		})
	}
}

func TestHostOf(t *testing.T) {
	for match, want := range map[string]string{
		"Host(`a.example`)":                     "a.example",
		"PathPrefix(`/x`) && Host(`a.example`)": "a.example",
		`Host("a.example", "b.example")`:        "a.example",
		"HostRegexp(`.*`)":                      "",
		"PathPrefix(`/`)":                       "",
		"":                                      "",
	} {
		assert.Equal(t, want, hostOf(match), match)
	}
}

// FuzzSlots: whatever the API server accepts, a kind reads it or reports an error.
func FuzzSlots(f *testing.F) {
	f.Add(`{"spec":{"rules":[{"host":"a","http":{"paths":[{"path":"/","backend":{"service":{"name":"a"}}}]}}]}}`)
	f.Add(`{"spec":{"routes":[{"match":"Host(` + "`a`" + `)","services":[{"name":"a"}]}]}}`)
	f.Add(`{"metadata":{"namespace":"shop"},"spec":{"parentRefs":[{"name":"web"}],"rules":[{"name":"a","matches":[{"path":{"value":"/x"}}],"filters":[{"type":"RequestMirror","requestMirror":{"backendRef":{"name":"b"}}}],"backendRefs":[{"name":"a","port":80}]}]}}`)
	f.Add(`{"spec":{"rules":[{"matches":[{"method":{"service":"a"}}],"backendRefs":[{"name":"maintenance-0123456789abcdef","port":80}]}]},"status":{"parents":[{"parentRef":{"name":"web"},"controllerName":"x","conditions":[{"type":"Accepted"}]}]}}`)
	f.Add(`{"spec":{"rules":[null],"defaultBackend":{}}}`)
	f.Add(`{"spec":{"selector":{"app":"a"},"ports":[{"port":80,"targetPort":"http"},{"port":53,"protocol":"UDP"}]}}`)
	f.Add(`{"spec":{"selector":{"maintenance/page-set":"maintenance-0123456789abcdef","a":"b"},"ports":[{"port":80,"targetPort":"maintenancepage"}]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var object map[string]any
		if json.Unmarshal([]byte(text), &object) != nil {
			return
		}
		for _, k := range Kinds() {
			slots, err := k.Slots(object)
			if err != nil {
				continue
			}
			for _, s := range slots {
				if s.Check(s.Value) == nil && s.OnPage() {
					t.Fatalf("%s holds page set %s, which passes for an original", s.ID, s.PageSet)
				}
			}
			k.Classes(object, func(string, string) (string, bool) { return "", false })
			if k.Followers != nil {
				k.Followers(object)
			}
		}
	})
}
