package target_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// httpRoute makes a route in namespace shop from the JSON of its rules.
func httpRoute(t *testing.T, rules string) map[string]any {
	t.Helper()
	return decoded(t, `{"metadata":{"namespace":"shop"},"spec":{"parentRefs":[{"name":"web"}],"rules":`+rules+`}}`)
}

func decoded(t *testing.T, text string) map[string]any {
	t.Helper()
	var object map[string]any
	require.NoError(t, utiljson.Unmarshal([]byte(text), &object))
	return object
}

func slotsOf(t *testing.T, k target.Kind, object map[string]any) []swap.Slot {
	t.Helper()
	slots, err := k.Slots(object)
	require.NoError(t, err)
	return slots
}

// TestIdentityOfARule does not depend on whether the API server's defaults are written out.
func TestIdentityOfARule(t *testing.T) {
	const app = `"backendRefs":[{"name":"app","port":80}]`
	for name, tc := range map[string]struct {
		kind target.Kind
		a, b string // fields of a rule
		same bool
		says string // of a
	}{
		"no matches":          {target.HTTPRoute(), ``, `"matches":[{"path":{"type":"PathPrefix","value":"/"}}],`, true, "rule PathPrefix /"},
		"an empty list":       {target.HTTPRoute(), `"matches":[],`, ``, true, "rule PathPrefix /"},
		"a type":              {target.HTTPRoute(), `"matches":[{"path":{"value":"/a"}}],`, `"matches":[{"path":{"type":"PathPrefix","value":"/a"}}],`, true, "rule PathPrefix /a"},
		"a header's type":     {target.HTTPRoute(), `"matches":[{"headers":[{"name":"x","value":"1"}]}],`, `"matches":[{"path":{"type":"PathPrefix","value":"/"},"headers":[{"name":"x","value":"1","type":"Exact"}]}],`, true, "rule PathPrefix /, header x"},
		"a query's type":      {target.HTTPRoute(), `"matches":[{"queryParams":[{"name":"x","value":"1"}]}],`, `"matches":[{"path":{"type":"PathPrefix","value":"/"},"queryParams":[{"name":"x","value":"1","type":"Exact"}]}],`, true, "rule PathPrefix /, query x"},
		"another path":        {target.HTTPRoute(), `"matches":[{"path":{"value":"/a"}}],`, `"matches":[{"path":{"value":"/b"}}],`, false, "rule PathPrefix /a"},
		"another method":      {target.HTTPRoute(), `"matches":[{"method":"GET"}],`, `"matches":[{"method":"POST"}],`, false, "rule GET PathPrefix /"},
		"another second":      {target.HTTPRoute(), `"matches":[{},{"method":"GET"}],`, `"matches":[{},{"method":"PUT"}],`, false, "rule PathPrefix /"},
		"another field":       {target.HTTPRoute(), `"matches":[{"ofTheFuture":1}],`, `"matches":[{"ofTheFuture":2}],`, false, "rule PathPrefix /"},
		"a name":              {target.HTTPRoute(), `"name":"a",`, `"name":"b",`, false, "rule a PathPrefix /"},
		"a method of gRPC":    {target.GRPCRoute(), `"matches":[{"method":{"service":"s","method":"M"}}],`, `"matches":[{"method":{"type":"Exact","service":"s","method":"M"}}],`, true, "rule s/M"},
		"any method of gRPC":  {target.GRPCRoute(), `"matches":[{}],`, `"matches":[{"headers":[]}],`, true, "rule any method"},
		"no matches of gRPC":  {target.GRPCRoute(), ``, `"matches":[],`, true, "rule"},
		"another service":     {target.GRPCRoute(), `"matches":[{"method":{"service":"s"}}],`, `"matches":[{"method":{"service":"t"}}],`, false, "rule s"},
		"filters are no part": {target.HTTPRoute(), `"filters":[{"type":"URLRewrite"}],`, ``, true, "rule PathPrefix /"},
	} {
		t.Run(name, func(t *testing.T) {
			a := slotsOf(t, tc.kind, httpRoute(t, `[{`+tc.a+app+`}]`))[0].ID
			b := slotsOf(t, tc.kind, httpRoute(t, `[{`+tc.b+app+`}]`))[0].ID
			assert.Equal(t, tc.same, a == b, "%v, %v", a, b)
			assert.Equal(t, tc.says, a.String())
			assert.Regexp(t, "^[0-9a-f]{16}$", a.Digest)
		})
	}
}

// TestOriginalOfARule: rules are moved, renamed and changed during maintenance, on a route
// whose rules lead to different apps.
func TestOriginalOfARule(t *testing.T) {
	rule := func(name, path, to string) string {
		if name != "" {
			name = `"name":"` + name + `",`
		}
		return `{` + name + `"matches":[{"path":{"value":"` + path + `"}}],"backendRefs":[{"name":"` + to + `","port":80}]}`
	}
	list := func(rules ...string) string {
		text := "["
		for i, r := range rules {
			if i > 0 {
				text += ","
			}
			text += r
		}
		return text + "]"
	}
	for name, tc := range map[string]struct {
		before, during string
		want           []string // apps in the order of the rules; empty for a lost one
	}{
		"reordered": {list(rule("a", "/a", "app-a"), rule("b", "/b", "app-b")), list(rule("b", "/b", setA), rule("a", "/a", setA)), []string{"app-b", "app-a"}},
		"a rule before": {list(rule("", "/a", "app-a"), rule("", "/b", "app-b")), list(rule("", "/new", "app-new"), rule("", "/a", setA), rule("", "/b", setA)),
			[]string{"app-new", "app-a", "app-b"}},
		"matches of a name":    {list(rule("a", "/a", "app-a"), rule("b", "/b", "app-b")), list(rule("a", "/a2", setA), rule("b", "/b2", setA)), []string{"app-a", "app-b"}},
		"names of matches":     {list(rule("a", "/a", "app-a"), rule("b", "/b", "app-b")), list(rule("x", "/a", setA), rule("y", "/b", setA)), []string{"app-a", "app-b"}},
		"names swapped":        {list(rule("a", "/a", "app-a"), rule("b", "/b", "app-b")), list(rule("b", "/a", setA), rule("a", "/b", setA)), []string{"app-b", "app-a"}},
		"a name twice":         {list(rule("a", "/a", "app-a"), rule("a", "/b", "app-b")), list(rule("a", "/a2", setA), rule("a", "/b", setA)), []string{"", "app-b"}},
		"a name twice now":     {list(rule("a", "/a", "app-a"), rule("b", "/b", "app-b")), list(rule("a", "/x", setA), rule("a", "/y", setA)), []string{"", ""}},
		"matches twice":        {list(rule("a", "/a", "app-a"), rule("b", "/a", "app-b")), list(rule("x", "/a", setA), rule("b", "/a", setA)), []string{"", "app-b"}},
		"without names":        {list(rule("", "/a", "app-a"), rule("", "/b", "app-b")), list(rule("", "/x", setA), rule("", "/b", setA)), []string{"", "app-b"}},
		"all lead to one app":  {list(rule("", "/a", "app"), rule("", "/b", "app")), list(rule("", "/x", setA), rule("", "/b", setA)), []string{"app", "app"}},
		"one is taken away":    {list(rule("", "/a", "app-a"), rule("", "/b", "app-b")), list(rule("", "/b", setA)), []string{"app-b"}},
		"written back by hand": {list(rule("a", "/a", "app-a"), rule("b", "/b", "app-b")), list(rule("a", "/a", "mine"), rule("b", "/b", setA)), []string{"mine", "app-b"}},
	} {
		t.Run(name, func(t *testing.T) {
			k := target.HTTPRoute()
			_, record := swapTo(t, k, httpRoute(t, tc.before), swap.Record{}, setA)
			during := httpRoute(t, tc.during)
			out, err := swap.Apply(during, swap.Back(slotsOf(t, k, during), record).Writes)
			require.NoError(t, err)
			var apps []string
			for _, s := range slotsOf(t, k, out) {
				app, _ := follow(s.Value, []any{0, "name"}).(string)
				if s.PageSet != "" {
					app = ""
				}
				apps = append(apps, app)
			}
			assert.Equal(t, tc.want, apps)
		})
	}
}

// TestRulesOfARouteThatAreSkipped and why, what stays in force on the others, and which
// routes are refused.
func TestRulesOfARouteThatAreSkipped(t *testing.T) {
	app := `"backendRefs":[{"name":"app","port":80}]`
	for name, tc := range map[string]struct {
		route   string
		slots   int
		left    []string
		inFront []string
		refused string
	}{
		"an ordinary one":      {route: `{"spec":{"rules":[{` + app + `}]}}`, slots: 1},
		"a redirect":           {route: `{"spec":{"rules":[{"name":"r","filters":[{"type":"RequestRedirect"}]},{` + app + `}]}}`, slots: 1, left: []string{`"rule r PathPrefix /" is left as it is because it redirects`}},
		"no backend":           {route: `{"spec":{"rules":[{},{` + app + `}]}}`, slots: 1, left: []string{"it has no backend"}},
		"nothing but that":     {route: `{"spec":{"rules":[{}]}}`, left: []string{"it has no backend"}, refused: `"rule PathPrefix /" is left as it is because it has no backend`},
		"ACME alone":           {route: `{"spec":{"rules":[{"matches":[{"path":{"value":"/.well-known/acme-challenge/x"}},{"path":{"value":"/.well-known/acme-challenge"}}],` + app + `},{` + app + `}]}}`, slots: 1, left: []string{"certificates would expire"}},
		"ACME and more":        {route: `{"spec":{"rules":[{"matches":[{"path":{"value":"/.well-known/acme-challenge/x"}},{"path":{"value":"/"}}],` + app + `}]}}`, slots: 1},
		"like ACME":            {route: `{"spec":{"rules":[{"matches":[{"path":{"value":"/.well-known/acme-challenges"}}],` + app + `}]}}`, slots: 1},
		"an odd shape":         {route: `{"spec":{"rules":[{"backendRefs":{"of":"the future"}},{` + app + `}]}}`, slots: 1, left: []string{"shape that this version does not know"}},
		"a mirror":             {route: `{"spec":{"rules":[{"filters":[{"type":"RequestMirror","requestMirror":{"backendRef":{"name":"shadow","port":80}}},{"type":"RequestMirror","requestMirror":{"backendRef":{"name":"dark","port":80}}}],` + app + `}]}}`, slots: 3},
		"an extension":         {route: `{"spec":{"rules":[{"filters":[{"type":"ExtensionRef","extensionRef":{"group":"traefik.io","kind":"Middleware","name":"auth"}}],` + app + `}]}}`, slots: 1, inFront: []string{`"rule PathPrefix /": filters[0] is Middleware "auth"`}},
		"an external auth":     {route: `{"spec":{"rules":[{"filters":[{"type":"ExternalAuth","externalAuth":{"backendRef":{"name":"sso"}}}],` + app + `}]}}`, slots: 1, inFront: []string{`filters[0] (externalAuth) asks "sso"`}},
		"a retry":              {route: `{"spec":{"rules":[{"retry":{"codes":[502,503]},` + app + `}]}}`, slots: 1, inFront: []string{"retry repeats requests"}},
		"a retry of others":    {route: `{"spec":{"rules":[{"retry":{"codes":[502]},` + app + `}]}}`, slots: 1},
		"a session":            {route: `{"spec":{"rules":[{"sessionPersistence":{"type":"Cookie"},` + app + `}]}}`, slots: 1, inFront: []string{"sessionPersistence"}},
		"of a mesh":            {route: `{"spec":{"parentRefs":[{"group":"","kind":"Service","name":"a"}],"rules":[{` + app + `}]}}`, refused: "only parents are Services"},
		"of a mesh and beside": {route: `{"spec":{"parentRefs":[{"group":"","kind":"Service","name":"a"},{"name":"web"}],"rules":[{` + app + `}]}}`, slots: 1},
		"in a rollout":         {route: `{"metadata":{"labels":{"rollouts.argoproj.io/gatewayapi-canary":"in-progress"}},"spec":{"rules":[{` + app + `}]}}`, refused: "Argo Rollouts"},
		"on the page":          {route: `{"metadata":{"labels":{"rollouts.argoproj.io/gatewayapi-canary":"in-progress"}},"spec":{"rules":[{"backendRefs":[{"name":"` + setA + `","port":80}]}]}}`, slots: 1},
		"on the page, for ACME": {route: `{"spec":{"rules":[{"matches":[{"path":{"value":"/.well-known/acme-challenge/x"}}],"backendRefs":[{"name":"` + setA + `","port":80}]}]}}`,
			slots: 1},
	} {
		t.Run(name, func(t *testing.T) {
			k, object := target.HTTPRoute(), decoded(t, tc.route)
			assert.Len(t, slotsOf(t, k, object), tc.slots)
			n := k.Note(object)
			require.Len(t, n.LeftAlone, len(tc.left))
			for i, says := range tc.left {
				assert.Contains(t, n.LeftAlone[i], says)
			}
			require.Len(t, n.InFront, len(tc.inFront))
			for i, says := range tc.inFront {
				assert.Contains(t, n.InFront[i], says)
			}
			assert.Contains(t, n.Refused, tc.refused)
			assert.Equal(t, tc.refused == "", n.Refused == "")
		})
	}
}

// TestFitOfABackendRef: the API server's defaults are no difference, and what leads
// elsewhere is somebody's edit.
func TestFitOfABackendRef(t *testing.T) {
	for fields, want := range map[string]swap.Fit{
		``:                                     swap.Exact,
		`"group":"","kind":"Service"`:          swap.Exact,
		`"weight":1,"namespace":"shop"`:        swap.Exact,
		`"weight":7`:                           swap.Near,
		`"weight":0`:                           swap.Mismatch,
		`"namespace":"other"`:                  swap.Mismatch,
		`"kind":"ServiceImport"`:               swap.Mismatch,
		`"group":"x"`:                          swap.Mismatch,
		`"filters":[{"type":"URLRewrite"}]`:    swap.Near,
		`"filters":[{"type":"RequestMirror"}]`: swap.Mismatch,
		`"ofTheFuture":true`:                   swap.Near,
	} {
		if fields != "" {
			fields = "," + fields
		}
		object := httpRoute(t, `[{"backendRefs":[{"name":"`+setA+`","port":80`+fields+`}]}]`)
		s := slotsOf(t, target.HTTPRoute(), object)[0]
		assert.Equal(t, want, s.Fit(s.Page(setA, nil)), fields)
	}
	beside := httpRoute(t, `[{"backendRefs":[{"name":"`+setA+`","port":81}]}]`)
	assert.Equal(t, swap.Mismatch, slotsOf(t, target.HTTPRoute(), beside)[0].Fit(nil))
}

// TestNothingIsSwitchedByWeights: a session persists even at weight 0, so nothing of the
// app stays in a rule on the page.
func TestNothingIsSwitchedByWeights(t *testing.T) {
	for _, k := range []target.Kind{target.HTTPRoute(), target.GRPCRoute()} {
		object := httpRoute(t, `[{"backendRefs":[{"name":"app","port":80,"weight":3},{"name":"canary","port":80,"weight":0}]}]`)
		for _, set := range []string{setA, setB} {
			object, _ = swapTo(t, k, object, swap.Record{Version: 1, Slots: []swap.Original{{ID: slotsOf(t, k, object)[0].ID, Value: []byte(`[{"name":"app","port":80}]`)}}}, set)
			assert.Equal(t, []any{map[string]any{"group": "", "kind": "Service", "name": set, "port": int64(80), "weight": int64(1)}}, slotsOf(t, k, object)[0].Value)
		}
	}
}

// TestClassesOfARoute are those of all its Gateways; if one of them is not known, the route
// may be served.
func TestClassesOfARoute(t *testing.T) {
	gateway := func(namespace, name string) (string, bool) {
		class, known := map[string]string{"shop/web": "traefik", "infra/edge": "alb", "infra/same": "traefik"}[namespace+"/"+name]
		return class, known
	}
	for parents, want := range map[string][]string{
		`[{"name":"web"}]`: {"traefik"},
		`[{"name":"web"},{"name":"edge","namespace":"infra"},{"name":"same","namespace":"infra"}]`: {"traefik", "alb"},
		`[{"name":"web"},{"name":"gone"}]`:                                            nil,
		`[{"group":"gateway.networking.x-k8s.io","kind":"ListenerSet","name":"web"}]`: nil,
		`[]`: nil,
	} {
		classes, known := target.HTTPRoute().Classes(decoded(t, `{"metadata":{"namespace":"shop"},"spec":{"parentRefs":`+parents+`}}`), gateway)
		if assert.Equal(t, want != nil, known, parents); known {
			assert.Equal(t, want, classes, parents)
		}
	}
}

// TestFollowersOfARoute are the controllers of its current parents.
func TestFollowersOfARoute(t *testing.T) {
	object := decoded(t, `{"metadata":{"namespace":"shop"},"spec":{"parentRefs":[{"name":"web","sectionName":"http"}]},"status":{"parents":[
		{"parentRef":{"group":"gateway.networking.k8s.io","kind":"Gateway","name":"web","namespace":"shop","sectionName":"http"},"controllerName":"traefik.io/gateway-controller","conditions":[
			{"type":"Accepted","status":"True","observedGeneration":4},
			{"type":"ResolvedRefs","status":"False","observedGeneration":3,"reason":"BackendNotFound","message":"no such Service","lastTransitionTime":"2026-01-01T00:00:00Z"},
			{"type":"Other","status":"False","observedGeneration":1}]},
		{"parentRef":{"name":"left"},"controllerName":"traefik.io/gateway-controller","conditions":[{"type":"Accepted","status":"True","observedGeneration":4}]},
		{"parentRef":{"name":"web","sectionName":"http"},"controllerName":"silent.example"}]}}`)
	all := target.HTTPRoute().Followers(object)
	require.Len(t, all, 2)
	assert.Equal(t, "Gateway shop/web listener http of traefik.io/gateway-controller", all[0].Name)
	assert.Equal(t, int64(3), all[0].Seen)
	assert.Equal(t, "ResolvedRefs is False: no such Service (BackendNotFound)", all[0].Refused)
	assert.Equal(t, 2026, all[0].Since.Year())
	assert.Zero(t, all[1].Seen)
	assert.Empty(t, all[1].Refused)
}
