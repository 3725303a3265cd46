package swap

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	utiljson "k8s.io/apimachinery/pkg/util/json"

	"maintenance-controller.io/pkg/ownership"
)

// ID identifies a slot within its target regardless of its position, because people insert
// and reorder rules.
type ID struct {
	Host string `json:"host,omitempty"` // empty for any host
	Path string `json:"path,omitempty"` // an Ingress path, an IngressRoute match, or the first match of a route's rule
	Type string `json:"type,omitempty"` // pathType, or what else tells slots apart
	// Name is the name of the rule that the slot is in, and Digest a digest of all matches
	// of that rule. A kind whose slots have a digest is matched by these two.
	Name   string `json:"name,omitempty"`
	Digest string `json:"digest,omitempty"`
	N      int    `json:"n,omitempty"` // 0 for the first of several that are otherwise equal, 1 for the second
}

// String names the slot for people.
func (id ID) String() string {
	s := id.Type
	if id.Name != "" {
		s += " " + id.Name
	}
	if id.Host != "" {
		s += " host " + id.Host
	}
	if id.Path != "" {
		s += " " + id.Path
	}
	if id.N > 0 {
		s += fmt.Sprintf(" (duplicate %d)", id.N)
	}
	return s
}

// Slot is a place in a target that says where traffic goes.
type Slot struct {
	ID ID // unique within the target
	// Path leads to the value: field names (string) and list indexes (int).
	Path ownership.Path
	// ManagedPath is the same place as managedFields name it, which know entries of some
	// lists by their keys; nil where that is Path.
	ManagedPath ownership.Path
	// Value is what the slot holds.
	Value any
	// PageSet is the page set that the value names, possibly next to something else; empty
	// if it names none. A value that names a page set is never an original, and the set
	// must exist for it. Whether it is the page's value is another question: see Fit.
	PageSet string
	// AnyPage says that the value points at a page but is the same for every page set, such
	// as a port.
	AnyPage bool
	// Page gives the value that points at a page set in place of an original, which is nil
	// if it is not known.
	Page func(set string, original any) any
	// Fit compares the value with one that Page gave, as the API reads both: defaults that
	// it fills in, and equivalent spellings, are no difference. Nil where only equal values
	// are the same.
	Fit func(page any) Fit
	// KeptByWebhook says that the value is what a webhook made of the page's value in an
	// earlier write. If it leads to the page, it counts as the page's.
	KeptByWebhook bool
	// Merge is not nil if somebody wrote something of the app's next to the page's value,
	// as a merge patch does. It gives what was meant, from the original and the
	// MergeContext recorded with it, both nil if not known. It returns nil if nobody can
	// tell.
	Merge func(original, asked any) any
	// MergeContext gives what must be recorded with the value to tell later what a merge
	// means. Nil where nothing must.
	MergeContext func() any
	// Check says why a value must not be written into this slot; nil if it may.
	Check func(value any) error
	// Backends gives where visitors go by a value of the app's in this slot. Nil where a
	// slot sends nobody anywhere on its own: a port of a Service, a mirror.
	Backends func(value any) []Backend
	// Upstreams says how apps are reached by a value of the app's in this slot. Nil where
	// no door can lead to them.
	Upstreams func(value any) []Upstream
	// WithDoors gives the slot as it is with doors; nil where it has none.
	WithDoors func(d Doors) Slot
}

// Fit says how far a value that names a page set is the page's value.
type Fit int

// The fits, from worst to best.
const (
	// Mismatch leads elsewhere, or not to the page alone.
	Mismatch Fit = iota
	// Near leads to the page, but has something that the page's value does not have.
	Near
	// Exact is the page's value.
	Exact
)

// OnPage says whether the slot names a page in any way.
func (s Slot) OnPage() bool { return s.PageSet != "" || s.AnyPage }

// OnPage says whether any slot names a page in any way.
func OnPage(slots []Slot) bool { return slices.ContainsFunc(slots, Slot.OnPage) }

// OwnershipPath is the slot's place as managedFields name it.
func (s Slot) OwnershipPath() ownership.Path {
	if s.ManagedPath != nil {
		return s.ManagedPath
	}
	return s.Path
}

// fit says how far the slot holds the value that points at the page set.
func (s Slot) fit(set string, original any) Fit {
	switch {
	case s.Merge != nil:
		return Mismatch
	case s.AnyPage:
		return Exact
	case s.PageSet != set:
		return Mismatch
	case s.Fit != nil:
		return s.Fit(s.Page(set, original))
	case reflect.DeepEqual(s.Value, s.Page(set, original)):
		return Exact
	}
	return Mismatch
}

// ComparedTo says how far a stored slot still is what was sent, which was on a page.
func (s Slot) ComparedTo(sent Slot) Fit {
	switch {
	case reflect.DeepEqual(s.Value, sent.Value):
		return Exact
	case s.PageSet != sent.PageSet || s.AnyPage != sent.AnyPage || s.Merge != nil || s.Fit == nil:
		return Mismatch
	}
	return s.Fit(sent.Value)
}

// isOnSet says whether the slot is as it should be on the page set.
func (s Slot) isOnSet(set string, original any) bool {
	fit := s.fit(set, original)
	return fit == Exact || fit == Near && s.KeptByWebhook
}

// remember makes an original of a value, with what else must be recorded.
func (s Slot) remember(at int, value any, before *Original) (Original, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return Original{}, err
	}
	o := Original{ID: s.ID, At: at, Value: raw}
	if before != nil && s.OnPage() {
		o.unknown = before.unknown
	}
	if s.MergeContext == nil {
		return o, nil
	}
	if asked := s.MergeContext(); asked != nil {
		o.MergeContext, err = json.Marshal(asked)
	}
	return o, err
}

// appValue is the app's value of a slot that names a page; false if it is not known.
func (s Slot) appValue(before *Original) (any, bool) {
	var original any
	if before != nil {
		var err error
		if original, err = s.decode(before.Value); err != nil {
			return nil, false
		}
	}
	if s.Merge != nil {
		value := s.Merge(original, before.mergeContext())
		return value, value != nil && s.Check(value) == nil
	}
	return original, before != nil
}

// restorable says whether what the slot holds could be restored later.
func (s Slot) restorable() bool { return s.Check(s.Value) == nil }

// decode decodes a recorded value and checks that it is valid for the slot.
func (s Slot) decode(raw json.RawMessage) (any, error) {
	var value any
	if err := utiljson.Unmarshal(raw, &value); err != nil {
		return nil, err
	}
	return value, s.Check(value)
}

func (s Slot) accepts(o Original) bool {
	_, err := s.decode(o.Value)
	return err == nil
}
