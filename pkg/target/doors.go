package target

import (
	"reflect"
	"slices"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
)

// doorPort is the port of a page set's door as a slot names it: by a name if its
// original does. The 0th is the page's own.
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

// doorAt gives the number of the door that a port names, by its number or its name.
func doorAt(port any) (n int, known bool) {
	for n := range access.MaxDoors + 1 {
		if port == doorPort(n, false) || port == doorPort(n, true) {
			return n, true
		}
	}
	return 0, false
}

// portFit says how far a port of a page set is another one of it. The page's own is near
// to any door: nobody gets what is not for them.
func portFit(port, want any) swap.Fit {
	n, known := doorAt(port)
	wanted, _ := doorAt(want)
	switch {
	case !known:
		return swap.Beside
	case n == wanted:
		return swap.Exact
	case n == 0:
		return swap.Near
	}
	return swap.Beside
}

// missing says how far an object is another one of which it may lack fields: those that
// have what is meant where there are none.
func missing(object, as map[string]any, meant map[string][]any) swap.Fit {
	for field, values := range meant {
		value, wanted := as[field]
		if _, there := object[field]; wanted && !there && !slices.ContainsFunc(values, func(v any) bool { return reflect.DeepEqual(v, value) }) {
			return swap.Near
		}
	}
	return swap.Exact
}

// leads says whether a port is one of a page set's.
func leads(d swap.Doors, set string, port any) (n int, ok bool) {
	n, known := doorAt(port)
	return n, known && (n == 0 || d.Has(set, n))
}

// Why an app has no door, as people are told it.
const (
	otherNamespace = "its Service is in another namespace"
	speaksHTTP2    = "it is spoken to by gRPC or HTTP/2 in plain text, for which there are no doors yet"
	verifiesTLS    = "TLS to it is verified or has a client certificate, which a door does not have"
)

func isHTTP2(protocol string) bool {
	switch protocol {
	case "h2", "h2c", "grpc", "grpcs", "kubernetes.io/h2c", "GRPC", "GRPCS", "H2", "H2C", "H2-SSL", "h2-ssl":
		return true
	}
	return false
}

// ways of a list of entries. What is no Service of the target's namespace has none.
func (e entries) ways(value any) []swap.Way {
	list, _ := value.([]any)
	var all []swap.Way
	for i, b := range e.backends(value) {
		entry, _ := list[i].(map[string]any)
		all = append(all, e.wayOf(entry, b))
	}
	return all
}

func (e entries) wayOf(entry map[string]any, b swap.Backend) swap.Way {
	way := swap.Way{Service: b.Name, Port: b.Port}
	switch {
	case b.Unjudged != "":
		way.Refused = b.Unjudged
	case b.Namespace != e.namespace:
		way.Refused = otherNamespace
	default:
		way = e.way(entry, way)
	}
	return way
}

// through gives a slot with doors: one entry for each of the original's, so that the
// data plane splits visitors among them as before. A list without a door is the page's
// alone, and so is one of which no entry has a weight: nobody would be sent anywhere.
func (e entries) through(s swap.Slot, list []map[string]any, d swap.Doors) swap.Slot {
	s.Page = func(set string, original any) any {
		entries, _ := original.([]any)
		backends, ways := e.backends(original), e.ways(original)
		var all []any
		var doors int
		var weight int64
		for i, way := range ways {
			entry, _ := entries[i].(map[string]any)
			n := d.To(set, way)
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

// atAnyDoor gives what a list would be that leads to the doors that it leads to, if it
// leads to nothing else.
func (e entries) atAnyDoor(set string, list []map[string]any, d swap.Doors) (all []any, ok bool) {
	for _, entry := range list {
		n, known := leads(d, set, entry["port"])
		if !known || entry["name"] != set {
			return nil, false
		}
		all = append(all, e.door(set, entry, n))
	}
	return all, true
}

// serviceDoor keeps what says how visitors are split.
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

func serviceWay(entry map[string]any, way swap.Way) swap.Way {
	way.Scheme, _ = entry["scheme"].(string)
	way.TLSPorts = true // to Traefik
	transport, _ := entry["serversTransport"].(string)
	switch {
	case transport != "":
		way.Refused = "it has a serversTransport, which a door does not have"
	case isHTTP2(way.Scheme):
		way.Refused = speaksHTTP2
	}
	return way
}

// refDoor keeps what says how visitors are split, and the filters that change what the
// app and visitors get. A mirror would send the page's visitors to another app.
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

func refWay(entry map[string]any, way swap.Way) swap.Way {
	for _, kind := range filterTypes(entry) {
		if kind != "RequestMirror" && !harmless([]string{kind}) {
			way.Refused = "it has a filter of type " + annotations.Clip(kind) + ", which a door cannot keep"
		}
	}
	return way
}
