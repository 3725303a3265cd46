package setmanager

import (
	"maps"
	"slices"
	"sync"

	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
)

// Claims record in memory which target needs which page set. A target claims its sets before it is
// swapped. While a set is being deleted it accepts no claim, so that no target can be pointed at a
// set that is about to disappear.
type Claims struct {
	mu         sync.Mutex
	users      map[pageset.ID]map[target.Ref][]string // with the target's ingress classes
	sets       map[target.Ref][]pageset.ID
	pages      map[pageset.ID]page.Page
	collecting map[pageset.ID]bool
}

func newClaims() *Claims {
	return &Claims{
		users: map[pageset.ID]map[target.Ref][]string{}, sets: map[target.Ref][]pageset.ID{},
		pages: map[pageset.ID]page.Page{}, collecting: map[pageset.ID]bool{},
	}
}

// Claim is what a target needs.
type Claim struct {
	Sets    []pageset.ID // page sets that the target needs; empty ends its claims
	Classes []string     // ingress classes of the target; empty if it has none
}

// Set replaces the claims of a target. It returns the sets that gained a user, lost one, or have one
// of other classes. If one of the claimed sets is being deleted, it changes nothing and returns
// false.
func (c *Claims) Set(ref target.Ref, claim Claim) (changed []pageset.ID, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, sets := c.sets[ref], claim.Sets
	for _, id := range sets {
		if c.collecting[id] {
			return nil, false
		}
		if !slices.Contains(before, id) || !slices.Equal(c.users[id][ref], claim.Classes) {
			changed = append(changed, id)
		}
	}
	for _, id := range before {
		if !slices.Contains(sets, id) {
			changed = append(changed, id)
			delete(c.users[id], ref)
			if len(c.users[id]) == 0 {
				delete(c.users, id)
				delete(c.pages, id)
			}
		}
	}
	for _, id := range sets {
		if c.users[id] == nil {
			c.users[id] = map[target.Ref][]string{}
		}
		c.users[id][ref] = claim.Classes
	}
	if len(sets) == 0 {
		delete(c.sets, ref)
	} else {
		c.sets[ref] = slices.Clone(sets)
	}
	return changed, true
}

// provide remembers the page of a claimed set, to build the set from.
func (c *Claims) provide(id pageset.ID, p page.Page) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, have := c.pages[id]; !have && len(c.users[id]) > 0 {
		c.pages[id] = p
	}
}

func (c *Claims) page(id pageset.ID) (page.Page, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.pages[id]
	return p, ok
}

// Users lists the targets that claim the page set.
func (c *Claims) Users(id pageset.ID) []target.Ref {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.users[id]))
}

// Has reports whether the target claims any page set.
func (c *Claims) Has(ref target.Ref) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sets[ref]) > 0
}

// classes lists the ingress classes of the targets that claim the set.
func (c *Claims) classes(id pageset.ID) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Concat(slices.Collect(maps.Values(c.users[id]))...)
}

// startCollecting closes the page set to new claims; false if it is claimed already.
func (c *Claims) startCollecting(id pageset.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.users[id]) > 0 {
		return false
	}
	c.collecting[id] = true
	return true
}

func (c *Claims) stopCollecting(id pageset.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.collecting, id)
}
