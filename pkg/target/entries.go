package target

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
)

// entries is a slot that is a whole list of named objects: the services of a route of
// an IngressRoute, the backendRefs of a rule. What stands beside a name (weights,
// filters, health checks) is the original's, and of no use to the page.
type entries struct {
	field string // that holds the list
	// same are the fields that say whether two entries lead to the same.
	same []string
	// page is the one entry that leads to a page set.
	page func(set string) map[string]any
	// fit says how far an entry that names a page set leads to it as another one does.
	fit func(entry, as map[string]any) swap.Fit
	// door is the entry that leads to a door of a page set, in the place of an original's.
	// The 0th is the page's own port.
	door func(set string, original map[string]any, n int) map[string]any
	// way says how the app of an entry is reached, from its name and its port.
	way func(entry map[string]any, way swap.Way) swap.Way
	// namespace of the object, which an entry without one is in.
	namespace string
}

// in gives the entries of a route or a rule; false if they are not of the shape that
// this program knows.
func (e entries) in(route any) (list []map[string]any, known bool) {
	return objectsAt(route, e.field)
}

// objectsAt gives the objects of a list; false if a field is there and no such list.
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
	s := swap.Slot{ID: id, Path: path, Value: valueAt(object, path), Page: e.pageValue, Check: e.check, Backends: e.backends, Ways: e.ways}
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
	s.Through = func(d swap.Doors) swap.Slot { return e.through(s, list, d) }
	return s
}

// fits says how far a list leads to a page set as another one does. The page alone is
// near to doors: nobody gets what is not for them.
func (e entries) fits(list []map[string]any, set string, want any) swap.Fit {
	wanted, _ := want.([]any)
	if len(list) == 1 && len(wanted) != 1 {
		return min(swap.Near, e.fit(list[0], e.page(set)))
	}
	if len(list) != len(wanted) {
		return swap.Beside
	}
	fit := swap.Exact
	for i, entry := range list {
		as, _ := wanted[i].(map[string]any)
		if entry["name"] != as["name"] {
			return swap.Beside
		}
		fit = min(fit, e.fit(entry, as))
	}
	return fit
}

func (e entries) pageValue(set string, _ any) any { return []any{e.page(set)} }

// merged puts the original in the place of the page, with what somebody has written
// beside it. Of an entry that both have, theirs is the newer. Where the original is
// not known, nobody can tell.
func (e entries) merged(original any, others []any) any {
	was, ok := original.([]any)
	if !ok {
		return nil
	}
	all := slices.DeleteFunc(slices.Clone(was), func(entry any) bool {
		return slices.ContainsFunc(others, func(other any) bool { return e.alike(entry, other) })
	})
	return append(all, others...)
}

func (e entries) alike(a, b any) bool {
	for _, field := range e.same {
		if !reflect.DeepEqual(valueAt(a, []any{field}), valueAt(b, []any{field})) {
			return false
		}
	}
	return true
}

// check lets fields pass that only a newer API knows: to refuse them would be to lose them.
func (e entries) check(value any) error {
	list, ok := value.([]any)
	if !ok || len(list) == 0 {
		return errors.New(e.field + " is not a list with entries")
	}
	for _, entry := range list {
		if name, _ := valueAt(entry, []any{"name"}).(string); !validName(name) {
			return fmt.Errorf("an entry of %s has no name", e.field)
		}
	}
	return checkRaw(value)
}
