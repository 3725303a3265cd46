package target

import (
	"reflect"
	"slices"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
)

// doorPort is the port of a page set's door as a slot names it: by name if its original
// does so. Door 0 is the page's own port.
func doorPort(n int, named bool) any {
	door := access.Door{Name: access.DoorName(n)}
	switch {
	case n == 0 && named:
		return page.ServicePortName
	case n == 0:
		return int64(page.ServicePort)
	case named:
		return door.ServicePortName()
	}
	return int64(door.ContainerPort())
}

// doorAt gives the number of the door that a port names, by number or name.
func doorAt(port any) (n int, known bool) {
	for n := range access.MaxDoors + 1 {
		if port == doorPort(n, false) || port == doorPort(n, true) {
			return n, true
		}
	}
	return 0, false
}

// portFit says how far a port of a page set is the wanted one. The page's own port is near
// to any door: nobody gets anything that is not for them.
func portFit(port, want any) swap.Fit {
	n, known := doorAt(port)
	wanted, _ := doorAt(want)
	switch {
	case !known:
		return swap.Mismatch
	case n == wanted:
		return swap.Exact
	case n == 0:
		return swap.Near
	}
	return swap.Mismatch
}

// missingFieldsFit says how far an object matches another one although it may lack fields.
// meant has the values that an absent field stands for.
func missingFieldsFit(object, as map[string]any, meant map[string][]any) swap.Fit {
	for field, values := range meant {
		value, wanted := as[field]
		if _, there := object[field]; wanted && !there && !slices.ContainsFunc(values, func(v any) bool { return reflect.DeepEqual(v, value) }) {
			return swap.Near
		}
	}
	return swap.Exact
}

// doorOf gives the door that a port leads to; false if the port is not one of the set's.
func doorOf(d swap.Doors, set string, port any) (n int, ok bool) {
	n, known := doorAt(port)
	return n, known && (n == 0 || d.Has(set, n))
}

// Reasons for people why an app has no door.
const (
	otherNamespace = "its Service is in another namespace"
	speaksHTTP2    = "it speaks gRPC or plain-text HTTP/2, which the bypass does not support yet"
	verifiesTLS    = "TLS to it is verified or uses a client certificate, which the bypass does not support"
)

func isHTTP2(protocol string) bool {
	switch protocol {
	case "h2", "h2c", "grpc", "grpcs", "kubernetes.io/h2c", "GRPC", "GRPCS", "H2", "H2C", "H2-SSL", "h2-ssl":
		return true
	}
	return false
}

// upstreams gives those of a list of entries. Anything but a Service of the target's
// namespace is refused.
func (e entries) upstreams(value any) []swap.Upstream {
	list, _ := value.([]any)
	var all []swap.Upstream
	for i, b := range e.backends(value) {
		entry, _ := list[i].(map[string]any)
		all = append(all, e.upstreamOf(entry, b))
	}
	return all
}

func (e entries) upstreamOf(entry map[string]any, b swap.Backend) swap.Upstream {
	up := swap.Upstream{Service: b.Name, Port: b.Port}
	switch {
	case b.Unjudged != "":
		up.Refused = b.Unjudged
	case b.Namespace != e.namespace:
		up.Refused = otherNamespace
	default:
		up = e.upstream(entry, up)
	}
	return up
}

// withDoors gives a slot with doors: one entry for each of the original's, so that the data
// plane splits visitors among them as before. A list without a door leads to the page
// alone, and so does one without any weight, which would send nobody anywhere.
func (e entries) withDoors(s swap.Slot, list []map[string]any, d swap.Doors) swap.Slot {
	s.Page = func(set string, original any) any {
		entries, _ := original.([]any)
		backends, upstreams := e.backends(original), e.upstreams(original)
		var all []any
		var doors int
		var weight int64
		for i, up := range upstreams {
			entry, _ := entries[i].(map[string]any)
			n := d.To(set, up)
			all = append(all, e.door(set, entry, n))
			doors, weight = doors+n, weight+backends[i].Weight
		}
		if doors == 0 || weight == 0 {
			return e.pageValue(set, original)
		}
		return all
	}
	s.Fit = func(want any) swap.Fit {
		if s.PageSet != d.Exact {
			if there, ok := e.atAnyDoor(s.PageSet, list, d); ok {
				want = there
			}
		}
		return e.fits(list, s.PageSet, want)
	}
	return s
}

// atAnyDoor gives the list that leads to the doors that this list leads to; false if it
// leads to anything else.
func (e entries) atAnyDoor(set string, list []map[string]any, d swap.Doors) (all []any, ok bool) {
	for _, entry := range list {
		n, known := doorOf(d, set, entry["port"])
		if !known || entry["name"] != set {
			return nil, false
		}
		all = append(all, e.door(set, entry, n))
	}
	return all, true
}

// serviceDoor keeps the fields that say how visitors are split.
func serviceDoor(set string, original map[string]any, n int) map[string]any {
	_, named := original["port"].(string)
	entry := map[string]any{"name": set, "port": doorPort(n, named)}
	for _, field := range []string{"weight", "strategy"} {
		if value, ok := original[field]; ok {
			entry[field] = value
		}
	}
	return entry
}

func serviceUpstream(entry map[string]any, up swap.Upstream) swap.Upstream {
	up.Scheme, _ = entry["scheme"].(string)
	up.TLSPorts = true // to Traefik
	transport, _ := entry["serversTransport"].(string)
	switch {
	case transport != "":
		up.Refused = "it has a serversTransport, which the bypass does not support"
	case isHTTP2(up.Scheme):
		up.Refused = speaksHTTP2
	}
	return up
}

// refDoor keeps the fields that say how visitors are split, and the filters that change
// what the app and visitors get. A mirror would send the page's visitors to another app.
func refDoor(set string, original map[string]any, n int) map[string]any {
	ref := withDefault(refTo(set), "weight", int64(1))
	ref["port"] = doorPort(n, false)
	if weight, ok := original["weight"]; ok {
		ref["weight"] = weight
	}
	filters, _ := original["filters"].([]any)
	filters = slices.DeleteFunc(slices.Clone(filters), func(filter any) bool {
		kind, _ := valueAt(filter, []any{"type"}).(string)
		return !harmless([]string{kind})
	})
	if len(filters) > 0 {
		ref["filters"] = filters
	}
	return ref
}

func refUpstream(entry map[string]any, up swap.Upstream) swap.Upstream {
	for _, kind := range filterTypes(entry) {
		if kind != "RequestMirror" && !harmless([]string{kind}) {
			up.Refused = "it has a filter of type " + annotations.Clip(kind) + ", which the bypass cannot keep"
		}
	}
	return up
}
