package target

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
)

// entries is a slot that is a whole list of named objects: the services of a route of an
// IngressRoute, or the backendRefs of a rule. Fields next to a name (weights, filters,
// health checks) belong to the original and are of no use to the page.
type entries struct {
	field string // that holds the list
	// identityFields say whether two entries lead to the same backend.
	identityFields []string
	// page makes the one entry that leads to a page set.
	page func(set string) map[string]any
	// fit says how far an entry that names a page set leads to it as another entry does.
	fit func(entry, as map[string]any) swap.Fit
	// door makes the entry that leads to a door of a page set, in place of an original's.
	// Door 0 is the page's own port.
	door func(set string, original map[string]any, n int) map[string]any
	// upstream completes how the app of an entry is reached, from its name and port.
	upstream func(entry map[string]any, up swap.Upstream) swap.Upstream
	// namespace of the object, which is that of an entry without one.
	namespace string
}

// entriesIn gives the entries of a route or a rule; false if they do not have the shape
// that this program knows.
func (e entries) entriesIn(route any) (list []map[string]any, known bool) {
	return objectsAt(route, e.field)
}

// objectsAt gives the objects of a list; false if the field exists and is not a list of
// objects.
func objectsAt(node any, field string) (list []map[string]any, known bool) {
	there := valueAt(node, []any{field})
	raw, ok := there.([]any)
	for _, entry := range raw {
		object, isObject := entry.(map[string]any)
		ok = ok && isObject
		list = append(list, object)
	}
	return list, ok || there == nil
}

func (e entries) slot(object map[string]any, id swap.ID, list []map[string]any, path ...any) swap.Slot {
	s := swap.Slot{ID: id, Path: path, Value: valueAt(object, path), Page: e.pageValue, Check: e.check, Backends: e.backends, Upstreams: e.upstreams}
	var others []any
	for _, entry := range list {
		if name, _ := entry["name"].(string); page.IsSetName(name) {
			s.PageSet = name
		} else {
			others = append(others, entry)
		}
	}
	if s.PageSet != "" && len(others) > 0 {
		s.Merge = func(original, _ any) any { return e.merged(original, others) }
	}
	s.Fit = func(want any) swap.Fit { return e.fits(list, s.PageSet, want) }
	s.WithDoors = func(d swap.Doors) swap.Slot { return e.withDoors(s, list, d) }
	return s
}

// fits says how far a list leads to a page set as another list does. The page alone is near
// to doors: nobody gets anything that is not for them.
func (e entries) fits(list []map[string]any, set string, want any) swap.Fit {
	wanted, _ := want.([]any)
	if len(list) == 1 && len(wanted) != 1 {
		return min(swap.Near, e.fit(list[0], e.page(set)))
	}
	if len(list) != len(wanted) {
		return swap.Mismatch
	}
	fit := swap.Exact
	for i, entry := range list {
		as, _ := wanted[i].(map[string]any)
		if entry["name"] != as["name"] {
			return swap.Mismatch
		}
		fit = min(fit, e.fit(entry, as))
	}
	return fit
}

func (e entries) pageValue(set string, _ any) any { return []any{e.page(set)} }

// merged puts the original in place of the page, next to what somebody added. If both have
// an entry, the added one is newer. It is nil if the original is not known.
func (e entries) merged(original any, others []any) any {
	was, ok := original.([]any)
	if !ok {
		return nil
	}
	all := slices.DeleteFunc(slices.Clone(was), func(entry any) bool {
		return slices.ContainsFunc(others, func(other any) bool { return e.sameBackend(entry, other) })
	})
	return append(all, others...)
}

func (e entries) sameBackend(a, b any) bool {
	for _, field := range e.identityFields {
		if !reflect.DeepEqual(valueAt(a, []any{field}), valueAt(b, []any{field})) {
			return false
		}
	}
	return true
}

// check lets unknown fields pass: refusing the fields of a newer API would lose them.
func (e entries) check(value any) error {
	list, ok := value.([]any)
	if !ok || len(list) == 0 {
		return errors.New(e.field + " is empty or not a list")
	}
	for _, entry := range list {
		if name, _ := valueAt(entry, []any{"name"}).(string); !validName(name) {
			return fmt.Errorf("an entry of %s has no valid name", e.field)
		}
	}
	return checkRaw(value)
}
