package target_test

import (
	"fmt"
	"math/rand/v2"

	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pkg/target"
)

// example is what the conformance suite needs for a kind: random objects, and the list in
// the spec whose entries people add and remove.
type example struct {
	kind     target.Kind
	generate func(*rand.Rand) map[string]any
	list     string
	// fresh is an entry of the list that no generated object has.
	fresh func(rnd *rand.Rand, name string) any
	// serve adds a host to those that an object serves; nil if the kind has none.
	serve func(object map[string]any, host string)
	// speaksHTTP2 says that no app of the kind can have a door.
	speaksHTTP2 bool
}

func examples() []example {
	return []example{
		{kind: target.Ingress(), generate: randomIngress, list: "rules", fresh: func(rnd *rand.Rand, name string) any {
			return map[string]any{"host": name + ".example", "http": map[string]any{"paths": []any{map[string]any{"path": "/", "pathType": "Prefix", "backend": randomBackend(rnd)}}}}
		}, serve: func(object map[string]any, host string) { addTo(object, "rules", map[string]any{"host": host}) }},
		{kind: target.IngressRoute(), generate: randomIngressRoute, list: "routes", fresh: func(_ *rand.Rand, name string) any {
			return map[string]any{"kind": "Rule", "match": "Host(`" + name + ".example`)", "services": []any{map[string]any{"name": "new", "port": int64(1)}}}
		}, serve: func(object map[string]any, host string) {
			addTo(object, "routes", map[string]any{"match": "PathPrefix(`/`) && Host(`" + host + "`)"})
		}},
		{kind: target.HTTPRoute(), generate: func(rnd *rand.Rand) map[string]any { return randomGatewayRoute(rnd, "HTTPRoute", randomHTTPMatch) }, list: "rules", fresh: func(_ *rand.Rand, name string) any {
			return map[string]any{"matches": []any{map[string]any{"path": map[string]any{"type": "Exact", "value": "/" + name}}}, "backendRefs": []any{map[string]any{"name": "new", "port": int64(1)}}}
		}, serve: func(object map[string]any, host string) { addTo(object, "hostnames", host) }},
		{kind: target.GRPCRoute(), speaksHTTP2: true, generate: func(rnd *rand.Rand) map[string]any { return randomGatewayRoute(rnd, "GRPCRoute", randomGRPCMatch) }, list: "rules", fresh: func(_ *rand.Rand, name string) any {
			return map[string]any{"matches": []any{map[string]any{"method": map[string]any{"service": name}}}, "backendRefs": []any{map[string]any{"name": "new", "port": int64(1)}}}
		}, serve: func(object map[string]any, host string) { addTo(object, "hostnames", host) }},
		{kind: target.Service(), generate: randomService, list: "ports", fresh: func(rnd *rand.Rand, name string) any {
			return map[string]any{"name": name, "port": int64(20000 + rnd.IntN(10000)), "protocol": "TCP", "targetPort": int64(8080)}
		}},
	}
}

// addTo adds an entry to a list of the spec.
func addTo(object map[string]any, list string, entry any) {
	spec, _ := object["spec"].(map[string]any)
	there, _ := spec[list].([]any)
	spec[list] = append(there, entry)
}

func randomService(rnd *rand.Rand) map[string]any {
	selector := map[string]any{"app": fmt.Sprintf("app-%d", rnd.IntN(3))}
	if rnd.IntN(3) == 0 {
		selector["version"] = "v1"
	}
	var ports []any
	for i := range 1 + rnd.IntN(4) {
		p := map[string]any{"name": fmt.Sprintf("p%d", i), "port": int64(80 + i), "protocol": []string{"TCP", "TCP", "UDP"}[rnd.IntN(3)],
			"targetPort": []any{int64(8080), "http", int64(80)}[rnd.IntN(3)], "aFieldOfTheFuture": true}
		if rnd.IntN(3) == 0 {
			p["appProtocol"] = []string{"https", "kubernetes.io/h2c", "mysql"}[rnd.IntN(3)]
		}
		if rnd.IntN(3) == 0 {
			p["nodePort"] = int64(30000 + i)
		}
		ports = append(ports, p)
	}
	spec := map[string]any{"selector": selector, "ports": ports, "type": "LoadBalancer", "sessionAffinity": "ClientIP", "ipFamilies": []any{"IPv4", "IPv6"}}
	if rnd.IntN(8) == 0 {
		spec["clusterIP"] = "None"
	}
	return map[string]any{"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "a"}, "spec": spec}
}

func randomBackend(rnd *rand.Rand) map[string]any {
	switch rnd.IntN(4) {
	case 0:
		return map[string]any{"resource": map[string]any{"apiGroup": "k8s.example.com", "kind": "Bucket", "name": "static"}}
	case 1:
		return map[string]any{"service": map[string]any{"name": fmt.Sprintf("svc-%d", rnd.IntN(4)), "port": map[string]any{"name": "web"}}}
	default:
		return map[string]any{"service": map[string]any{"name": fmt.Sprintf("svc-%d", rnd.IntN(4)), "port": map[string]any{"number": int64(80 + rnd.IntN(3))}}}
	}
}

func randomRule(rnd *rand.Rand) map[string]any {
	rule := map[string]any{}
	if h := rnd.IntN(4); h > 0 {
		rule["host"] = fmt.Sprintf("h%d.example", h)
	}
	if rnd.IntN(6) == 0 {
		return rule // a host alone
	}
	var paths []any
	for range 1 + rnd.IntN(3) {
		p := map[string]any{"pathType": []string{"Prefix", "Exact", "ImplementationSpecific"}[rnd.IntN(3)], "backend": randomBackend(rnd)}
		if rnd.IntN(5) > 0 {
			p["path"] = []string{"/", "/a", "/.well-known/acme-challenge/x"}[rnd.IntN(3)]
		}
		if rnd.IntN(8) == 0 {
			p["backend"] = map[string]any{"service": map[string]any{"name": "cm-acme-http-solver-x", "port": map[string]any{"name": "use-annotation"}}}
		}
		paths = append(paths, p)
	}
	rule["http"] = map[string]any{"paths": paths}
	return rule
}

func randomIngress(rnd *rand.Rand) map[string]any {
	spec := map[string]any{"ingressClassName": "traefik", "aFieldOfTheFuture": map[string]any{"x": int64(1)}}
	if rnd.IntN(2) == 0 {
		spec["defaultBackend"] = randomBackend(rnd)
	}
	if n := rnd.IntN(5); n > 0 {
		var rules []any
		for range n {
			rules = append(rules, randomRule(rnd))
		}
		spec["rules"] = rules
	} else if rnd.IntN(2) == 0 {
		spec["rules"] = []any{}
	}
	return map[string]any{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": map[string]any{"name": "a"}, "spec": spec}
}

func randomRoute(rnd *rand.Rand) map[string]any {
	route := map[string]any{"kind": "Rule", "match": fmt.Sprintf("Host(`h%d.example`)", rnd.IntN(3)), "priority": int64(rnd.IntN(9))}
	if rnd.IntN(5) == 0 {
		return route // a parent
	}
	var services []any
	for range 1 + rnd.IntN(3) {
		services = append(services, map[string]any{"name": fmt.Sprintf("svc-%d", rnd.IntN(4)), "port": int64(80), "scheme": "https",
			"weight": int64(rnd.IntN(3)), "healthCheck": map[string]any{"path": "/"}, "aFieldOfTheFuture": true})
	}
	route["services"] = services
	return route
}

func randomIngressRoute(rnd *rand.Rand) map[string]any {
	var routes []any
	for range rnd.IntN(5) {
		routes = append(routes, randomRoute(rnd))
	}
	return map[string]any{"apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": map[string]any{"name": "a"}, "spec": map[string]any{"routes": routes}}
}

// lastIsDouble says whether slots of the last entry share the identity of others.
func (e example) lastIsDouble(object map[string]any) bool {
	slots, _ := e.kind.Slots(object)
	entries, _ := object["spec"].(map[string]any)[e.list].([]any)
	for _, s := range slots {
		if len(s.Path) > 2 && s.Path[1] == e.list && s.Path[2] == len(entries)-1 && s.ID.N > 0 {
			return true
		}
	}
	return false
}

// randomEdit gives an edit with the same meaning on the app's object and on the swapped
// one: each copies before it changes.
func (e example) randomEdit(rnd *rand.Rand, like map[string]any) func(map[string]any) map[string]any {
	n := 0
	if l, ok := like["spec"].(map[string]any)[e.list].([]any); ok {
		n = len(l)
	}
	// It gets a name of its own: entries with one identity are told apart by their order
	// alone.
	fresh := e.fresh(rnd, fmt.Sprintf("new%d", rnd.IntN(1<<30)))
	at, what, double := rnd.IntN(n+1), rnd.IntN(3), e.lastIsDouble(like)
	label := fmt.Sprint(rnd.IntN(100))
	return func(object map[string]any) map[string]any {
		out := runtime.DeepCopyJSON(object)
		spec := out["spec"].(map[string]any)
		entries, _ := spec[e.list].([]any)
		switch {
		case what == 0: // insert
			spec[e.list] = append(append(append([]any{}, entries[:at]...), fresh), entries[at:]...)
		case what == 1 && len(entries) > 1 && at < len(entries) && !double: // of two equal ones, nobody could tell which is left
			spec[e.list] = append([]any{}, entries[:len(entries)-1]...)
		default: // something other than the slots
			out["metadata"].(map[string]any)["labels"] = map[string]any{"x": label}
		}
		return out
	}
}
