package swap

// Way is how an app is reached by an entry of an original.
type Way struct {
	// Service in the target's namespace, and its port: a number, or a name.
	Service, Port string
	// Scheme that the original names; empty if it names none.
	Scheme string
	// TLSPorts says that port 443, and one whose name begins with https, mean TLS.
	TLSPorts bool
	// Refused says why no door may lead there, for people; empty if one may.
	Refused string
}

// Doors say by which doors of page sets the apps behind slots are reached. The zero
// value has none: every slot leads to the page alone.
type Doors struct {
	// Exact is the page set of which a slot has to be at just the doors of its original.
	// At another set, which is about to be left, any of its doors counts as the page's:
	// what an original's door was there may not be known any more.
	Exact string
	// Of gives the number of the door to each app, by the name of the set.
	Of map[string]map[Way]int
	// Last is the number of the last door of a set.
	Last map[string]int
}

// To gives the number of the door of a set that leads to an app; 0 if none does.
func (d Doors) To(set string, way Way) int { return d.Of[set][way] }

// Has says whether a set has a door of this number.
func (d Doors) Has(set string, n int) bool { return n > 0 && n <= d.Last[set] }

// Through gives the slots as they are where page sets have doors.
func Through(slots []Slot, d Doors) []Slot {
	out := make([]Slot, 0, len(slots))
	for _, s := range slots {
		if s.Through != nil {
			s = s.Through(d)
		}
		out = append(out, s)
	}
	return out
}

// SlotWays are the ways to the apps of one slot.
type SlotWays struct {
	Slot ID
	Ways []Way
}

// Ways gives how the apps of slots are reached: of a slot on a page, its original's. A
// slot of which nothing is known has none, nor has one of a kind without doors.
func Ways(slots []Slot, known Record) []SlotWays {
	var all []SlotWays
	found := match(slots, known.Slots)
	for at, s := range slots {
		if s.Ways == nil {
			continue
		}
		value, ok := s.Value, true
		if s.OnPage() {
			var before *Original
			if found[at] >= 0 {
				before = &known.Slots[found[at]]
			}
			value, ok = s.meant(before)
		}
		if ok {
			all = append(all, SlotWays{Slot: s.ID, Ways: s.Ways(value)})
		}
	}
	return all
}
