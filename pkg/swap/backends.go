package swap

import "slices"

// Backend is where a slot sends visitors.
type Backend struct {
	// Namespace of the Service, the target's own if it names none.
	Namespace string
	// Name of the Service, or of whatever else it is: Unjudged says so.
	Name string
	// Port of the Service, its name or its number as the slot has it; empty if the slot
	// leads to all of them.
	Port string
	// Weight among the backends of its slot: 0 sends nobody there. 1 where the kind has none.
	Weight int64
	// Unjudged says why nobody can tell from a Service whether it serves, for people:
	// "it is a Bucket"; empty if it can be told.
	Unjudged string
}

// Backends lists where the slots send visitors without a page, each once and in the
// order of the slots: of a slot on a page, its original's. A slot of which nothing is
// known, and one that sends nobody anywhere, has none.
func Backends(slots []Slot, known Record) []Backend {
	return backends(slots, known, func(Slot) bool { return true })
}

// Behind lists those of Backends that visitors would be sent back to: of slots on a page.
func Behind(slots []Slot, known Record) []Backend { return backends(slots, known, Slot.OnPage) }

func backends(slots []Slot, known Record, of func(Slot) bool) []Backend {
	var all []Backend
	found := match(slots, known.Slots)
	for at, s := range slots {
		if s.Backends == nil || !of(s) {
			continue
		}
		value := s.Value
		if s.OnPage() {
			var before *Original
			if found[at] >= 0 {
				before = &known.Slots[found[at]]
			}
			var ok bool
			if value, ok = s.meant(before); !ok {
				continue
			}
		}
		for _, b := range s.Backends(value) {
			if !slices.Contains(all, b) {
				all = append(all, b)
			}
		}
	}
	return all
}
