package target_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// doored gives each app of the slots that may have a door one of the set's, in random
// order.
func doored(rnd *rand.Rand, set string, slots []swap.Slot) swap.Doors {
	doors := swap.Doors{Exact: set, Of: map[string]map[swap.Upstream]int{set: {}}, Last: map[string]int{}}
	var all []swap.Upstream
	for _, s := range swap.Upstreams(slots, swap.Record{}) {
		for _, up := range s.Upstreams {
			if up.Refused == "" && !slices.Contains(all, up) {
				all = append(all, up)
			}
		}
	}
	for i, at := range rnd.Perm(len(all)) {
		doors.Of[set][all[i]] = at + 1
	}
	doors.Last[set] = len(all)
	return doors
}

// through plans a swap with doors.
func through(t require.TestingT, k target.Kind, object map[string]any, known swap.Record, d swap.Doors) (map[string]any, swap.Plan) {
	slots, err := k.Slots(object)
	require.NoError(t, err)
	plan, err := swap.To(d.Exact, swap.WithDoors(slots, d), known, roomy)
	require.NoError(t, err)
	out, err := swap.Apply(object, plan.Writes)
	require.NoError(t, err)
	return out, plan
}

// doorsOf lists the doors that a value of a slot leads to, in the order of its entries.
func doorsOf(value any) (all []int) {
	switch value := value.(type) {
	case []any:
		for _, entry := range value {
			all = append(all, doorsOf(entry)...)
		}
	case map[string]any:
		if service, ok := value["service"]; ok {
			return doorsOf(service)
		}
		port := value["port"]
		if of, ok := port.(map[string]any); ok {
			port = of["number"]
			if of["name"] != nil {
				port = of["name"]
			}
		}
		text := fmt.Sprint(port)
		for n := range access.MaxDoors + 1 {
			if text == fmt.Sprint(8100+n) || text == fmt.Sprintf("http-d%d", n) {
				return []int{n}
			}
		}
		return []int{0}
	}
	return all
}

// doorsLeadToTheirApps: a slot leads to the doors of its own original and to no others, and
// everything that works with the page alone works with doors.
func doorsLeadToTheirApps(t require.TestingT, e example) {
	if e.kind.NoDoors != "" {
		e.objects(t, func(_ *rand.Rand, _ map[string]any, slots []swap.Slot) {
			require.Empty(t, swap.Upstreams(slots, swap.Record{}))
		})
		return
	}
	with := 0
	e.objects(t, func(rnd *rand.Rand, object map[string]any, slots []swap.Slot) {
		upstreams := map[swap.ID][]swap.Upstream{}
		for _, w := range swap.Upstreams(slots, swap.Record{}) {
			upstreams[w.Slot] = w.Upstreams
			require.NotEmpty(t, w.Upstreams)
		}
		for _, s := range slots {
			require.Equal(t, s.Backends != nil, len(upstreams[s.ID]) > 0, "%s: where visitors go there may be a door, or why not", s.ID)
		}
		a, b := doored(rnd, setA, slots), doored(rnd, setB, slots)
		swapped, first := through(t, e.kind, object, swap.Record{}, a)
		with += requireOwnDoors(t, e.kind, swapped, upstreams, a)
		again, second := through(t, e.kind, swapped, first.Record, a)
		require.Empty(t, second.Writes, "it is as it should be")
		require.Empty(t, second.Reverted)
		require.Equal(t, text(t, object), text(t, undo(t, e.kind, again, second.Record)))

		// Another set, which may or may not know the doors of the first.
		b.Last[setA] = a.Last[setA]
		if rnd.IntN(2) == 0 {
			b.Of[setA] = a.Of[setA]
		}
		moved, third := through(t, e.kind, swapped, first.Record, b)
		require.Empty(t, third.Reverted, "a door of the set that is left is nobody's edit")
		require.Len(t, third.Writes, len(slots))
		requireOwnDoors(t, e.kind, moved, upstreams, b)
		require.Equal(t, text(t, object), text(t, undo(t, e.kind, moved, third.Record)))
	})
	if e.speaksHTTP2 {
		require.Zero(t, with)
		return
	}
	require.Greater(t, with, 20, "most apps have a door")
}

// requireOwnDoors counts the slots that have a door.
func requireOwnDoors(t require.TestingT, k target.Kind, object map[string]any, upstreams map[swap.ID][]swap.Upstream, d swap.Doors) (with int) {
	slots, err := k.Slots(object)
	require.NoError(t, err)
	for _, s := range slots {
		var want []int
		for _, up := range upstreams[s.ID] {
			want = append(want, d.Of[d.Exact][up]) // not computed by the code under test
		}
		got := doorsOf(s.Value)
		if slices.Max(append(got, 0)) == 0 {
			require.Equal(t, []int{0}, got, "%s: the page once, without a door", s.ID)
			continue
		}
		with++
		require.Equal(t, want, got, "%s", s.ID)
	}
	return with
}

// otherDoorsAreEdits: on the wanted set, a slot that leads to another app's door, to one
// where nothing listens, or to the page is repaired.
func otherDoorsAreEdits(t require.TestingT, e example) {
	if e.kind.NoDoors != "" || e.speaksHTTP2 {
		return
	}
	tried := 0
	e.objects(t, func(rnd *rand.Rand, object map[string]any, slots []swap.Slot) {
		d := doored(rnd, setA, slots)
		swapped, first := through(t, e.kind, object, swap.Record{}, d)
		there, err := e.kind.Slots(swapped)
		require.NoError(t, err)
		at := rnd.IntN(len(there))
		if doorsOf(there[at].Value)[0] == 0 {
			return
		}
		tried++
		for _, other := range []int{0, 99, 1 + doorsOf(there[at].Value)[0]} {
			value := atDoor(there[at].Value, other)
			spoilt, err := swap.Apply(swapped, []swap.Write{{Path: there[at].Path, Value: value}})
			require.NoError(t, err)
			mended, plan := through(t, e.kind, spoilt, first.Record, d)
			require.Len(t, plan.Reverted, 1, "%v", value)
			require.Equal(t, other == 0, len(plan.Near) == 1, "only the page is near: %v", value)
			require.Equal(t, text(t, swapped), text(t, mended))
		}
	})
	require.Positive(t, tried)
}

// atDoor gives a copy of a value with another first port.
func atDoor(value any, n int) any {
	switch value := value.(type) {
	case []any:
		return append([]any{atDoor(value[0], n)}, value[1:]...)
	case map[string]any:
		out := map[string]any{}
		for key, of := range value {
			out[key] = of
		}
		if service, ok := out["service"]; ok {
			out["service"] = atDoor(service, n)
			return out
		}
		switch port := out["port"].(type) {
		case map[string]any:
			if port["name"] != nil {
				out["port"] = map[string]any{"name": named(n)}
			} else {
				out["port"] = map[string]any{"number": numbered(n)}
			}
		case string:
			out["port"] = named(n)
		default:
			out["port"] = numbered(n)
		}
		return out
	}
	return value
}

func named(n int) string {
	if n == 0 {
		return "http"
	}
	return fmt.Sprintf("http-d%d", n)
}

func numbered(n int) int64 {
	if n == 0 {
		return 80
	}
	return int64(8100 + n)
}

// TestBackendsWithoutADoor, and the reasons.
func TestBackendsWithoutADoor(t *testing.T) {
	t.Parallel()
	ingress := func(annotation, value, class string) map[string]any {
		return map[string]any{"metadata": map[string]any{"namespace": "shop", "annotations": map[string]any{annotation: value}},
			"spec": map[string]any{"ingressClassName": class, "defaultBackend": map[string]any{"service": map[string]any{"name": "app", "port": map[string]any{"number": int64(80)}}}}}
	}
	route := func(list, field string, value any) map[string]any {
		entry := map[string]any{"name": "app", "port": int64(80), field: value}
		return map[string]any{"metadata": map[string]any{"namespace": "shop"},
			"spec": map[string]any{"parentRefs": []any{map[string]any{"name": "gw"}}, list: []any{map[string]any{"match": "Host(`a`)", "services": []any{entry}, "backendRefs": []any{entry}}}}}
	}
	for name, tc := range map[string]struct {
		kind   target.Kind
		object map[string]any
		scheme string
		why    string // part of why there is no door; empty if there is one
	}{
		"an app":                   {target.Ingress(), ingress("a", "b", "nginx"), "", ""},
		"TLS as it was spoken":     {target.Ingress(), ingress("nginx.ingress.kubernetes.io/backend-protocol", "HTTPS", "nginx"), "", ""},
		"TLS by the Service":       {target.Ingress(), ingress("nginx.org/ssl-services", "other,app", "nginx"), "https", ""},
		"TLS of another Service":   {target.Ingress(), ingress("nginx.org/ssl-services", "other", "nginx"), "", ""},
		"rewrites of the Service":  {target.Ingress(), ingress("nginx.org/rewrites", "serviceName=other rewrite=/;serviceName=app rewrite=/v2/", "nginx"), "", "nginx.org/rewrites"},
		"rewrites of another":      {target.Ingress(), ingress("nginx.org/rewrites", "serviceName=app2 rewrite=/v2/", "nginx"), "", ""},
		"gRPC":                     {target.Ingress(), ingress("nginx.ingress.kubernetes.io/backend-protocol", "GRPC", "nginx"), "", "gRPC"},
		"gRPC by the Service":      {target.Ingress(), ingress("nginx.org/grpc-services", "app", "nginx"), "", "gRPC"},
		"FastCGI":                  {target.Ingress(), ingress("nginx.ingress.kubernetes.io/backend-protocol", "FCGI", "nginx"), "", "FastCGI"},
		"HTTP/2 of HAProxy":        {target.Ingress(), ingress("haproxy-ingress.github.io/backend-protocol", "h2", "haproxy"), "", "HTTP/2"},
		"verified TLS":             {target.Ingress(), ingress("nginx.ingress.kubernetes.io/proxy-ssl-verify", "on", "nginx"), "", "verified"},
		"mutual TLS":               {target.Ingress(), ingress("nginx.ingress.kubernetes.io/proxy-ssl-secret", "shop/cert", "nginx"), "", "client certificate"},
		"ALB":                      {target.Ingress(), ingress("a", "b", "alb"), "", "AWS"},
		"ALB of another name":      {target.Ingress(), ingress("alb.ingress.kubernetes.io/scheme", "internal", "mine"), "", "AWS"},
		"GCE":                      {target.Ingress(), ingress("a", "b", "gce-internal"), "", "GCE"},
		"GCE without a class":      {target.Ingress(), ingress("ingress.kubernetes.io/url-map", "x", ""), "", "GCE"},
		"an app of a route":        {target.IngressRoute(), route("routes", "weight", int64(2)), "", ""},
		"the scheme of a route":    {target.IngressRoute(), route("routes", "scheme", "https"), "https", ""},
		"h2c of a route":           {target.IngressRoute(), route("routes", "scheme", "h2c"), "h2c", "HTTP/2"},
		"a serversTransport":       {target.IngressRoute(), route("routes", "serversTransport", "mine"), "", "serversTransport"},
		"another namespace":        {target.IngressRoute(), route("routes", "namespace", "other"), "", "another namespace"},
		"a TraefikService":         {target.IngressRoute(), route("routes", "kind", "TraefikService"), "", "TraefikService"},
		"an app of a rule":         {target.HTTPRoute(), route("rules", "weight", int64(2)), "", ""},
		"a rule's other namespace": {target.HTTPRoute(), route("rules", "namespace", "other"), "", "another namespace"},
		"a ServiceImport":          {target.HTTPRoute(), route("rules", "kind", "ServiceImport"), "", "ServiceImport"},
		"a filter that stays":      {target.HTTPRoute(), route("rules", "filters", []any{map[string]any{"type": "URLRewrite"}}), "", ""},
		"a filter that cannot":     {target.HTTPRoute(), route("rules", "filters", []any{map[string]any{"type": "ExtensionRef"}}), "", "ExtensionRef"},
		"gRPC of a route":          {target.GRPCRoute(), route("rules", "weight", int64(2)), "", "gRPC"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			slots, err := tc.kind.Slots(tc.object)
			require.NoError(t, err)
			all := swap.Upstreams(slots, swap.Record{})
			require.Len(t, all, 1)
			up := all[0].Upstreams[0]
			assert.Equal(t, "app 80", up.Service+" "+up.Port)
			assert.Equal(t, tc.scheme, up.Scheme)
			assert.Equal(t, tc.why == "", up.Refused == "", up.Refused)
			assert.Contains(t, up.Refused, tc.why)
		})
	}
}

// TestDoorsKeepWeights: one entry for each of the original's, with its weight and whatever
// else decides who is sent there, and nothing that would repeat requests.
func TestDoorsKeepWeights(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		kind             target.Kind
		original, during string
	}{
		"weights and a strategy": {target.IngressRoute(),
			`[{"name":"a","port":80,"weight":3,"strategy":"p2c","healthCheck":{"path":"/"},"sticky":{"cookie":{}}},{"name":"b","port":"web","weight":1}]`,
			`[{"name":"SET","port":8101,"weight":3,"strategy":"p2c"},{"name":"SET","port":"http-d2","weight":1}]`},
		"one without a door": {target.IngressRoute(),
			`[{"name":"a","port":80,"weight":3},{"name":"c","port":80,"namespace":"other"}]`,
			`[{"name":"SET","port":8101,"weight":3},{"name":"SET","port":80}]`},
		"none with a door": {target.IngressRoute(), `[{"name":"c","port":80,"namespace":"other"},{"name":"d","port":80,"namespace":"other"}]`, `[{"name":"SET","port":80}]`},
		"filters of a ref": {target.HTTPRoute(),
			`[{"name":"a","port":80,"weight":0,"filters":[{"type":"URLRewrite","urlRewrite":{"hostname":"x"}},{"type":"RequestMirror"}]},{"name":"b","port":80}]`,
			`[{"group":"","kind":"Service","name":"SET","port":8101,"weight":0,"filters":[{"type":"URLRewrite","urlRewrite":{"hostname":"x"}}]},{"group":"","kind":"Service","name":"SET","port":8102,"weight":1}]`},
		"nobody is sent anywhere": {target.HTTPRoute(), `[{"name":"a","port":80,"weight":0}]`, `[{"group":"","kind":"Service","name":"SET","port":80,"weight":1}]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			list, field := "routes", "services"
			if tc.kind.Name == "HTTPRoute" {
				list, field = "rules", "backendRefs"
			}
			object := decoded(t, `{"metadata":{"namespace":"shop"},"spec":{"parentRefs":[{"name":"gw"}],"`+list+`":[{"match":"Host(`+"`a`"+`)","`+field+`":`+tc.original+`}]}}`)
			traefik := tc.kind.Name == "IngressRoute"
			d := swap.Doors{Exact: setA, Last: map[string]int{setA: 2}, Of: map[string]map[swap.Upstream]int{setA: {
				{Service: "a", Port: "80", TLSPorts: traefik}: 1, {Service: "b", Port: "80", TLSPorts: traefik}: 2, {Service: "b", Port: "web", TLSPorts: traefik}: 2}}}
			swapped, _ := through(t, tc.kind, object, swap.Record{}, d)
			assertJSON(t, strings.ReplaceAll(tc.during, "SET", setA), follow(swapped, []any{"spec", list, 0, field}))
		})
	}
}

// TestTLSByThePort if Traefik may serve the Ingress: its class can have any name with
// traefik in it, and it also serves Ingresses without a class.
func TestTLSByThePort(t *testing.T) {
	t.Parallel()
	for class, want := range map[string]bool{"traefik": true, "traefik-internal": true, "": true, "nginx": false} {
		object := map[string]any{"metadata": map[string]any{"namespace": "shop"}, "spec": map[string]any{
			"defaultBackend": map[string]any{"service": map[string]any{"name": "app", "port": map[string]any{"number": int64(443)}}}}}
		if class != "" {
			object["spec"].(map[string]any)["ingressClassName"] = class
		}
		slots, err := target.Ingress().Slots(object)
		require.NoError(t, err)
		assert.Equal(t, want, slots[0].Upstreams(slots[0].Value)[0].TLSPorts, class)
	}
}
