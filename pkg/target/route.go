package target

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
)

// gatewayAPI is the group of the Gateway API, in v1 of its standard channel.
const gatewayAPI = "gateway.networking.k8s.io"

// Gateways is the resource of a route's usual parents.
func Gateways() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: gatewayAPI, Version: "v1", Resource: "gateways"}
}

// route is a kind of route of the Gateway API. This is what HTTPRoute and GRPCRoute have in
// common:
//
//	backendRefs of a rule                        a slot: the whole list, kept raw
//	requestMirror.backendRef among its filters   a slot of its own: the shadow app is an app
//	a rule that redirects, or has no refs        stays
//	a rule whose matches are all for ACME        stays
//
// A rule is never added, removed or moved: implementations know it by its position, and a
// shift costs visitors seconds of 503. Weights are not used to swap, because a session
// persists even at weight 0.
type route struct {
	kind     string
	resource string // plural
	// defaults adds to a match what the API server would.
	defaults func(match map[string]any)
	// unmatched are the matches of a rule that has none.
	unmatched []any
	// text describes a match with its defaults, for people.
	text func(match any) string
	// noDoors says why no door may lead to the apps of any rule; empty if one may.
	noDoors string
}

func (r route) asKind() Kind {
	return Kind{
		Name:      r.kind,
		Resource:  schema.GroupVersionResource{Group: gatewayAPI, Version: "v1", Resource: r.resource},
		Custom:    true,
		Catches:   "visitors of its rules, through the Gateways that it names: see [Gateway API](gateway-api.md)",
		Misses:    "callers inside the cluster, other routes to the same app",
		Slots:     r.slots,
		Hosts:     routeHosts,
		Notes:     r.notes,
		Classes:   routeClasses,
		Followers: routeFollowers,
	}
}

func (r route) rules(object map[string]any) ([]any, error) {
	list := valueAt(object, []any{"spec", "rules"})
	rules, ok := list.([]any)
	if !ok && list != nil {
		return nil, fmt.Errorf("read as %s/v1 %s: spec.rules is not a list", gatewayAPI, r.kind)
	}
	return rules, nil
}

// slots reads only those parts of each rule that say where it leads and what it matches:
// what a newer Gateway API adds must not stop a restore.
func (r route) slots(object map[string]any) ([]swap.Slot, error) {
	rules, err := r.rules(object)
	if err != nil {
		return nil, err
	}
	at := refsIn(namespaceOf(object))
	if r.noDoors != "" {
		at.upstream = func(_ map[string]any, up swap.Upstream) swap.Upstream { up.Refused = r.noDoors; return up }
	}
	var slots []swap.Slot
	ids := duplicates{}
	for i, rule := range rules {
		id := ids.number(r.identity(rule))
		refs, _ := at.entriesIn(rule)
		if r.skipReason(rule) != "" {
			continue
		}
		slots = append(slots, at.slot(object, id, refs, "spec", "rules", i, "backendRefs"))
		slots = append(slots, mirrorSlots(object, id, rule, i)...)
	}
	// What is on a page can always be restored, even if it would be refused now.
	if !swap.OnPage(slots) && routeRefusal(object) != "" {
		return nil, nil
	}
	return slots, nil
}

// identity of a rule: its name, a digest of its matches, and the first match for people.
// The matches themselves would not fit into the annotation.
func (r route) identity(rule any) swap.ID {
	name, _ := valueAt(rule, []any{"name"}).(string)
	matches := r.matches(rule)
	raw, err := json.Marshal(matches)
	if err != nil { // it was JSON
		raw = []byte(fmt.Sprint(matches))
	}
	sum := sha256.Sum256(raw)
	const digits = 16
	id := swap.ID{Type: "rule", Name: name, Digest: hex.EncodeToString(sum[:])[:digits]}
	if len(matches) > 0 {
		id.Path = annotations.Clip(r.text(matches[0]))
	}
	return id
}

// matches of a rule as the API server stores them: it fills in what a manifest leaves out.
func (r route) matches(rule any) []any {
	list, ok := valueAt(rule, []any{"matches"}).([]any)
	if !ok || len(list) == 0 {
		list = r.unmatched
	}
	matches := make([]any, len(list))
	for i, entry := range list {
		match, ok := entry.(map[string]any)
		if !ok {
			matches[i] = entry
			continue
		}
		match = maps.Clone(match)
		for _, field := range []string{"headers", "queryParams"} {
			withDefaultTypes(match, field)
		}
		r.defaults(match)
		matches[i] = match
	}
	return matches
}

// withDefaultTypes fills in the type of each condition of a list, and removes an empty
// list.
func withDefaultTypes(match map[string]any, field string) {
	list, ok := match[field].([]any)
	if !ok {
		return
	}
	if len(list) == 0 {
		delete(match, field)
		return
	}
	all := slices.Clone(list)
	for i, entry := range all {
		if condition, ok := entry.(map[string]any); ok {
			all[i] = withDefault(condition, "type", "Exact")
		}
	}
	match[field] = all
}

// withDefault gives a copy of an object with a field, which keeps the value it has.
func withDefault(object map[string]any, field string, value any) map[string]any {
	object = maps.Clone(object)
	if object == nil {
		object = map[string]any{}
	}
	if object[field] == nil {
		object[field] = value
	}
	return object
}

// skipReason says why a rule has no slot; empty if it has one.
func (r route) skipReason(rule any) string {
	refs, known := refsIn("").entriesIn(rule)
	onPage := slices.ContainsFunc(refs, func(ref map[string]any) bool {
		name, _ := ref["name"].(string)
		return page.IsSetName(name)
	})
	switch {
	case !known:
		return "its backendRefs have a shape that this version does not know"
	case len(refs) == 0 && slices.Contains(filterTypes(rule), "RequestRedirect"):
		return "it redirects and has no backend"
	case len(refs) == 0:
		return "it has no backend"
	case !onPage && r.forACME(rule):
		return "it serves ACME challenges, and certificates would expire"
	}
	return ""
}

// forACME says whether a rule only matches what a certificate authority requests.
func (r route) forACME(rule any) bool {
	matches := r.matches(rule)
	for _, match := range matches {
		path, _ := valueAt(match, []any{"path", "value"}).(string)
		if path != acmePath && !strings.HasPrefix(path, acmePath+"/") {
			return false
		}
	}
	return len(matches) > 0
}

// filterTypes of a rule or of a backend ref.
func filterTypes(of any) (types []string) {
	filters, _ := objectsAt(of, "filters")
	for _, filter := range filters {
		kind, _ := filter["type"].(string)
		types = append(types, kind)
	}
	return types
}

// refsIn is the slot of a rule of a route in this namespace. The page is in the same
// namespace, so no ReferenceGrant is needed.
func refsIn(namespace string) entries {
	return entries{
		namespace: namespace, field: "backendRefs", identityFields: []string{"group", "kind", "namespace", "name", "port"},
		page: func(set string) map[string]any { return withDefault(refTo(set), "weight", int64(1)) }, door: refDoor, upstream: refUpstream,
		fit: func(ref, as map[string]any) swap.Fit { return refFit(ref, as, namespace) },
	}
}

// refTo includes the API server's defaults, so that what is stored equals what was sent.
func refTo(set string) map[string]any {
	return map[string]any{"group": "", "kind": "Service", "name": set, "port": int64(page.ServicePort)}
}

// refFit: the API server's defaults are no difference.
func refFit(ref, want map[string]any, namespace string) swap.Fit {
	fit := min(portFit(ref["port"], want["port"]), missingFieldsFit(ref, want, map[string][]any{"weight": {int64(1)}, "filters": nil}))
	for field, value := range ref {
		var as any
		other := swap.Near
		switch field {
		case "name", "port":
			continue
		case "group":
			as, other = "", swap.Mismatch
		case "kind":
			as, other = "Service", swap.Mismatch
		case "namespace":
			as, other = namespace, swap.Mismatch
		case "weight":
			if as = int64(1); value == int64(0) {
				other = swap.Mismatch // nobody is sent there
			}
		case "filters":
			if as = "no filters"; !harmless(filterTypes(ref)) {
				other = swap.Mismatch
			}
		}
		if there, ok := want[field]; ok {
			as = there
		}
		if !reflect.DeepEqual(value, as) {
			fit = min(fit, other)
		}
	}
	return fit
}

// harmless says whether filters let visitors through to the page, and to nothing else.
func harmless(types []string) bool {
	return !slices.ContainsFunc(types, func(kind string) bool {
		return !slices.Contains([]string{"RequestHeaderModifier", "ResponseHeaderModifier", "URLRewrite", "CORS"}, kind)
	})
}

// mirrorSlots are those of a rule's filters.
func mirrorSlots(object map[string]any, rule swap.ID, of any, at int) []swap.Slot {
	var slots []swap.Slot
	filters, _ := valueAt(of, []any{"filters"}).([]any)
	namespace := namespaceOf(object)
	for i, filter := range filters {
		path := []any{"requestMirror", "backendRef"}
		ref, ok := valueAt(filter, path).(map[string]any)
		if !ok {
			continue
		}
		id := rule
		id.Type = "mirror"
		if n := len(slots); n > 0 {
			id.Type += " " + strconv.Itoa(n+1)
		}
		s := swap.Slot{
			ID: id, Path: append([]any{"spec", "rules", at, "filters", i}, path...), Value: ref,
			Page: func(set string, _ any) any { return refTo(set) }, Check: checkMirror,
			Fit: func(any) swap.Fit { return refFit(ref, refTo(""), namespace) },
		}
		if name, _ := ref["name"].(string); page.IsSetName(name) {
			s.PageSet = name
		}
		slots = append(slots, s)
	}
	return slots
}

func checkMirror(value any) error {
	ref, ok := value.(map[string]any)
	if name, _ := ref["name"].(string); !ok || !validName(name) {
		return errors.New("a backendRef must be an object with a name")
	}
	return checkRaw(value)
}
