package swap

// Upstream says how an app is reached by one entry of an original.
type Upstream struct {
	// Service in the target's namespace, and its port by number or name; an empty Port is
	// the Service's only one.
	Service, Port string
	// Scheme that the original names; empty if it names none.
	Scheme string
	// TLSPorts says that port 443, and a port whose name begins with https, mean TLS.
	TLSPorts bool
	// Refused says, for people, why no door may lead there; empty if one may.
	Refused string
}

// Doors say which doors of page sets lead to the apps behind slots. The zero value has
// none: every slot leads to the page alone.
type Doors struct {
	// Exact is the page set on which a slot must be at the doors of its own original. On
	// another set, which is about to be left, any of its doors counts as the page's: the
	// originals' doors there may no longer be known.
	Exact string
	// Of maps the name of a set to the numbers of its doors, from 1, by the app that each
	// leads to.
	Of map[string]map[Upstream]int
	// Last is the number of the last door of each set.
	Last map[string]int
}

// To gives the number of the door of a set that leads to an app; 0 if none does.
func (d Doors) To(set string, up Upstream) int { return d.Of[set][up] }

// Has says whether a set has a door with this number.
func (d Doors) Has(set string, n int) bool { return n > 0 && n <= d.Last[set] }

// WithDoors gives the slots as they are where page sets have doors.
func WithDoors(slots []Slot, d Doors) []Slot {
	out := make([]Slot, 0, len(slots))
	for _, s := range slots {
		if s.WithDoors != nil {
			s = s.WithDoors(d)
		}
		out = append(out, s)
	}
	return out
}

// SlotUpstreams says how the apps of one slot are reached.
type SlotUpstreams struct {
	Slot      ID         // the slot's identity
	Upstreams []Upstream // one for each entry of its original
}

// Upstreams says how the apps of slots are reached: for a slot on a page, those of its
// original. A slot without a known original is left out, and so is one of a kind without
// doors.
func Upstreams(slots []Slot, known Record) []SlotUpstreams {
	var all []SlotUpstreams
	found := match(slots, known.Slots)
	for at, s := range slots {
		if s.Upstreams == nil {
			continue
		}
		value, ok := s.Value, true
		if s.OnPage() {
			var before *Original
			if found[at] >= 0 {
				before = &known.Slots[found[at]]
			}
			value, ok = s.appValue(before)
		}
		if ok {
			all = append(all, SlotUpstreams{Slot: s.ID, Upstreams: s.Upstreams(value)})
		}
	}
	return all
}
