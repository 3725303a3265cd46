// Package swap points slots at a page set and back. It knows no kind of target:
// a kind lists its slots, and swap plans what to write into them and what to
// remember. Nothing here is done; a plan is data.
package swap

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	utiljson "k8s.io/apimachinery/pkg/util/json"

	"maintenance-controller.io/pkg/ownership"
)

// ID identifies a slot within its target whatever its position, since people
// insert and reorder.
type ID struct {
	Host string `json:"host,omitempty"`
	Path string `json:"path,omitempty"` // an Ingress path, or an IngressRoute match
	Type string `json:"type,omitempty"` // pathType, or what else tells slots apart
	N    int    `json:"n,omitempty"`    // 0 for the first of several that are otherwise the same
}

// String names the slot for a person.
func (id ID) String() string {
	s := id.Type
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

// Slot is a place inside a target that names where traffic goes.
type Slot struct {
	ID ID
	// Path leads to the value: field names (string) and list indexes (int).
	Path ownership.Path
	// Field is the same place as managedFields name it, where that is not Path:
	// they know entries of some lists by their keys.
	Field ownership.Path
	// Value is what the slot holds.
	Value any
	// PageSet is the name of the page set it points at; empty if it is the app's.
	PageSet string
	// AnyPage says that it points at a page by a value that is the same for every
	// page set, such as a port.
	AnyPage bool
	// Merge is not nil if somebody wrote the app's value into the slot and left
	// the page's beside it, as a merge patch does: it leads nowhere then. Merge
	// gives what was meant, from the original (nil if none is known).
	Merge func(original any) any
	// Page gives the value that points at a page set.
	Page func(set string) any
	// Check says why a remembered value may not be put into this slot; nil if it may.
	Check func(value any) error
}

// OnPage says whether the slot points at a page set.
func (s Slot) OnPage() bool { return s.PageSet != "" || s.AnyPage }

// Owned is the slot's place as managedFields name it.
func (s Slot) Owned() ownership.Path {
	if s.Field != nil {
		return s.Field
	}
	return s.Path
}

// Write is one value to be written.
type Write struct {
	Path  ownership.Path
	Value any
}

// Plan is what to write, and what to remember with it.
type Plan struct {
	Writes []Write
	Record Record
	// Reverted slots have an original and are on the app all the same: they had
	// been swapped, and somebody wrote a backend of the app into them.
	Reverted []Slot
	// Lost slots point at a page set and no original is known for them. They are left alone.
	Lost []Slot
	// Unfit slots stay on the app: their originals do not fit into the annotation.
	Unfit []Slot
	// Dropped are known originals that are not in the Record: their slots have gone,
	// and it has no room for them.
	Dropped []Original
}

// OnPage says whether any slot holds anything of a page set.
func OnPage(slots []Slot) bool {
	return slices.ContainsFunc(slots, func(s Slot) bool { return s.OnPage() || s.Merge != nil })
}

// To plans the swap of all slots to the page set. known are the originals
// remembered so far; budget is how many bytes the new Record may have.
//
// A slot of the app is remembered as it is now, a slot on a page set keeps what
// is known of it: what points at a page set is never taken for an original.
func To(set string, slots []Slot, known Record, budget int) (Plan, error) {
	p := Plan{Record: Record{Version: Version, Page: known.Page, Owners: known.Owners, rest: known.rest}}
	found := match(slots, known.Slots)
	seen := map[ID]bool{}
	for _, o := range known.Slots {
		seen[o.ID] = true
	}
	used := len(p.Record.String())
	for at, s := range slots {
		o := Original{ID: s.ID, At: at}
		if !s.OnPage() {
			value, err := json.Marshal(s.meant(known.Slots))
			if err != nil {
				return Plan{}, fmt.Errorf("%s: %w", s.ID, err)
			}
			o.Value = value
		} else if found[at] >= 0 {
			o.Value, o.rest = known.Slots[found[at]].Value, known.Slots[found[at]].rest
		} else {
			p.Lost = append(p.Lost, s)
			continue
		}
		cost := o.size()
		if !s.OnPage() && used+cost > budget {
			p.Unfit = append(p.Unfit, s)
			continue
		}
		used += cost
		p.Record.Slots = append(p.Record.Slots, o)
		if !s.OnPage() && seen[s.ID] {
			p.Reverted = append(p.Reverted, s)
		}
		if s.PageSet != set && !s.AnyPage {
			p.Writes = append(p.Writes, Write{Path: s.Path, Value: s.Page(set)})
		}
	}
	p.keepRest(known, found, slots, budget)
	return p, nil
}

func (o Original) size() int {
	text, err := json.Marshal(o)
	if err != nil {
		return maxRecord
	}
	return len(text) + len(",")
}

// Back plans the restore: each slot that points at a page set gets its original
// back; every other slot is somebody's will and stays, or is made what was meant.
func Back(slots []Slot, known Record) Plan {
	var p Plan
	found := match(slots, known.Slots)
	for at, s := range slots {
		if s.Merge != nil {
			p.Writes = append(p.Writes, Write{Path: s.Path, Value: s.meant(known.Slots)})
		}
		if !s.OnPage() {
			continue
		}
		if found[at] < 0 {
			p.Lost = append(p.Lost, s)
			continue
		}
		value, err := s.admit(known.Slots[found[at]].Value)
		if err != nil {
			p.Lost = append(p.Lost, s)
			continue
		}
		p.Writes = append(p.Writes, Write{Path: s.Path, Value: value})
	}
	return p
}

// meant is the app's value of a slot that is not on a page.
func (s Slot) meant(known []Original) any {
	if s.Merge == nil {
		return s.Value
	}
	for _, o := range known {
		if o.ID == s.ID {
			if value, err := s.admit(o.Value); err == nil {
				return s.Merge(value)
			}
		}
	}
	return s.Merge(nil)
}

// admit decodes a remembered value and checks that it may go into the slot.
func (s Slot) admit(raw json.RawMessage) (any, error) {
	var value any
	if err := utiljson.Unmarshal(raw, &value); err != nil {
		return nil, err
	}
	return value, s.Check(value)
}

// match finds the original of each slot that is on a page set: the index in
// known, or -1. Slots of the app have none.
//
//	an original has the slot's identity            → that one
//	else, of the originals whose own slot has just gone and that nobody else took:
//	  the only one with the slot's path and type   → that one (the host was renamed)
//	  the one at the slot's position, if as many
//	  slots came as went                           → that one (the slot was renamed)
//	else all originals of the slot's host agree    → their value
//	else all originals of the target agree         → their value
//	else                                           → none: the backend is lost
//
// An original that may not go into the slot counts as unknown. To take another
// slot's would send visitors to another app, which is worse than to be asked.
func match(slots []Slot, known []Original) []int {
	m := matching{known: known, claimed: map[int]bool{}}
	found := make([]int, len(slots))
	byID := map[ID]int{}
	for i, o := range known {
		byID[o.ID] = i
	}
	came, went := 0, 0
	for at, s := range slots {
		found[at] = -1
		i, ok := byID[s.ID]
		if !ok {
			if s.OnPage() {
				came++
			}
			continue
		}
		m.claimed[i] = true
		if s.OnPage() && s.takes(known[i]) {
			found[at] = i
		}
	}
	for i, o := range known {
		if !m.claimed[i] && o.At != gone {
			went++
		}
	}
	m.inPlace = came == went
	for at, s := range slots {
		if _, ok := byID[s.ID]; s.OnPage() && !ok {
			found[at] = m.guess(s, at)
		}
	}
	return found
}

// matching is what is known of the originals while slots are matched.
type matching struct {
	known   []Original
	claimed map[int]bool
	inPlace bool // whether positions say anything
}

func (s Slot) takes(o Original) bool {
	_, err := s.admit(o.Value)
	return err == nil
}

func (m matching) guess(s Slot, at int) int {
	alike, inPlace := []int{}, -1
	for i, o := range m.known {
		if m.claimed[i] || o.At == gone || !s.takes(o) {
			continue
		}
		if o.Path == s.ID.Path && o.Type == s.ID.Type {
			alike = append(alike, i)
		}
		if m.inPlace && o.At == at && inPlace < 0 {
			inPlace = i
		}
	}
	if len(alike) == 1 {
		inPlace = alike[0]
	}
	if inPlace >= 0 {
		m.claimed[inPlace] = true
		return inPlace
	}
	if i := s.only(m.known, func(o Original) bool { return o.Host == s.ID.Host }); i >= 0 {
		return i
	}
	return s.only(m.known, func(Original) bool { return true })
}

// only gives an original whose value is the only one among those that match.
func (s Slot) only(known []Original, matches func(Original) bool) int {
	only := -1
	for i, o := range known {
		if !matches(o) || !s.takes(o) {
			continue
		}
		if only >= 0 && string(known[only].Value) != string(o.Value) {
			return -1
		}
		only = i
	}
	return only
}

// Apply gives a copy of the object with the values written.
func Apply(object map[string]any, writes []Write) (map[string]any, error) {
	out := runtime.DeepCopyJSON(object)
	for _, w := range writes {
		if err := set(out, w.Path, w.Value); err != nil {
			return nil, fmt.Errorf("write %v: %w", w.Path, err)
		}
	}
	return out, nil
}

func set(at any, path ownership.Path, value any) error {
	for i, step := range path {
		last := i == len(path)-1
		switch node := at.(type) {
		case map[string]any:
			key, ok := step.(string)
			if !ok {
				return fmt.Errorf("step %d wants a list", i)
			}
			if last {
				node[key] = runtime.DeepCopyJSONValue(value)
				return nil
			}
			at = node[key]
		case []any:
			index, ok := step.(int)
			if !ok || index < 0 || index >= len(node) {
				return fmt.Errorf("step %d is not in the list", i)
			}
			if last {
				node[index] = runtime.DeepCopyJSONValue(value)
				return nil
			}
			at = node[index]
		default:
			return fmt.Errorf("step %d leads nowhere", i)
		}
	}
	return errors.New("empty path")
}
