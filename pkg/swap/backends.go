package swap

import "slices"

// Backend is where a slot sends visitors.
type Backend struct {
	// Namespace of the Service: the target's own if the slot names none.
	Namespace string
	// Name of the Service, or of something else: then Unjudged says so.
	Name string
	// Port of the Service, by name or number as in the slot; empty if the slot leads to all
	// ports.
	Port string
	// Weight among the slot's backends; 0 sends nobody there. It is 1 where the kind has no
	// weights.
	Weight int64
	// Unjudged says, for people, why the backend's readiness cannot be told from a Service:
	// "it is of kind Bucket, not a Service". Empty if it can.
	Unjudged string
}

// Backends lists where the slots send visitors outside maintenance, each backend once and
// in the order of the slots. For a slot on a page these are its original's. A slot without
// a known original, and one that sends nobody anywhere, has none.
func Backends(slots []Slot, known Record) []Backend {
	return backends(slots, known, func(Slot) bool { return true })
}

// BehindPage lists the Backends that visitors would return to: those of slots on a page.
func BehindPage(slots []Slot, known Record) []Backend { return backends(slots, known, Slot.OnPage) }

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
			if value, ok = s.appValue(before); !ok {
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
