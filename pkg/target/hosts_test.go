package target_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"maintenance-controller.io/pkg/target"
)

// hostsOf gives the hosts of an object as form:name, separated by spaces.
func hostsOf(k target.Kind, object map[string]any) string {
	var all []string
	for _, h := range k.Hosts(object) {
		all = append(all, fmt.Sprintf("%s:%s", h.Form, h.Name))
	}
	return strings.Join(all, " ")
}

func TestHostsOfATraefikRule(t *testing.T) {
	for match, want := range map[string]string{
		"Host(`A.example`)":      "exact:a.example",
		`Host("a.example.")`:     "exact:a.example",
		"HOST(`a.example`)":      "exact:a.example",
		"PathPrefix(`/api`)":     "none:",
		"":                       "none:",
		"HostHeader(`a`)":        "exact:a",
		"Host(`a`, `b`)":         "exact:a exact:b",
		"HostRegexp(`^a.*$`)":    "regexp:^a.*$",
		"(Host(`b`)||Host(`a`))": "exact:a exact:b",
		"Host(`a`) && (PathPrefix(`/x`) || Header(`Host`, `b`))": "exact:a",
		"Host(`a`) && PathPrefix(`/x`) || PathPrefix(`/y`)":      "exact:a none:",
		"Host(`a`) && Host(`b`)":                                 "",
		"(Host(`a`) || Host(`b`)) && Host(`b`)":                  "exact:b",
		"!Host(`a`)":                                             "regexp:!Host(`a`)",
		"!(Host(`a`) || Path(`/x`))":                             "regexp:!Host(`a`)",
		"!(Host(`a`) && Path(`/x`))":                             "regexp:!Host(`a`) none:",
		"!!Host(`a`)":                                            "exact:a",
		"(Host(`a`) || Host(`b`)) && !Host(`a`)":                 "exact:b",
		"!Host(`a`) && (Host(`a`) || Host(`b`))":                 "exact:b",
		"(Host(`a.x`) || Host(`b.x`)) && HostRegexp(`^a`)":       "exact:a.x",
		"Host(`a.x`) && HostRegexp(`{sub:[a-z]+}.x`)":            "exact:a.x",
		"HostRegexp(`^[a-z]{2}$`) && Host(`abc`)":                "",
		"HostRegexp(`a`) && HostRegexp(`b`) && Host(`a`)":        "",
		"HostRegexp(`[`) && Host(`a`)":                           "exact:a",
		"Host(`a`) && NewMatcher(`x`)":                           "exact:a",
		"Host(`a`":                                               "regexp:Host(`a`",
		"Host(a)":                                                "regexp:Host(a)",
		"`Host`":                                                 "regexp:`Host`",
		"Host(`a`) + Host(`b`)":                                  "regexp:Host(`a`) + Host(`b`)",
	} {
		object := map[string]any{"spec": map[string]any{"routes": []any{map[string]any{"match": match}}}}
		assert.Equal(t, want, hostsOf(target.IngressRoute(), object), match)
	}
}

func TestHostsOfEachKind(t *testing.T) {
	spec := func(fields map[string]any) map[string]any { return map[string]any{"spec": fields} }
	rules := func(hosts ...any) (all []any) {
		for _, h := range hosts {
			all = append(all, map[string]any{"host": h})
		}
		return all
	}
	for _, c := range []struct {
		kind   target.Kind
		object map[string]any
		want   string
	}{
		{target.Ingress(), spec(map[string]any{"rules": rules("b.example", "*.a.example", "b.example", "")}), "exact:b.example wildcard:*.a.example none:"},
		{target.Ingress(), spec(map[string]any{"defaultBackend": map[string]any{}, "rules": rules("a.example")}), "exact:a.example none:"},
		{target.Ingress(), spec(map[string]any{}), ""},
		{target.IngressRoute(), spec(map[string]any{"routes": []any{map[string]any{"match": "Host(`b`)"}, map[string]any{"match": "Host(`a`)"}, map[string]any{}}}), "exact:a exact:b none:"},
		{target.HTTPRoute(), spec(map[string]any{"hostnames": []any{"*.a.example", "a.example"}}), "exact:a.example wildcard:*.a.example"},
		{target.GRPCRoute(), spec(map[string]any{}), "none:"},
		{target.Service(), spec(map[string]any{"externalName": "a.example"}), ""},
	} {
		assert.Equal(t, c.want, hostsOf(c.kind, c.object), "%s %v", c.kind.Name, c.object)
	}
	assert.Equal(t, "*", target.Host{Form: target.NoHost}.String())
	assert.Equal(t, "*.a", target.ParseHost("*.a").String())
}
