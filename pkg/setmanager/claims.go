package setmanager

import (
	"maps"
	"slices"
	"sync"

	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
)

// Claims say in memory which target needs which page set. A target states its
// claim before it is swapped; while a set is being collected none is accepted,
// so that no target can be pointed at a set that is about to go.
type Claims struct {
	mu         sync.Mutex
	users      map[pageset.ID]map[target.Ref][]string // with its ingress classes
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
	Sets    []pageset.ID
	Classes []string // ingress classes of the target, none if it has none
}

// Set replaces the claims of a target. It returns the sets that have a new user,
// one less, or one of other classes, and false, without any change, if one of
// them is being collected.
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

// provide remembers the page of a set that is claimed, to build the set from.
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

// Users lists who claims the set.
func (c *Claims) Users(id pageset.ID) []target.Ref {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.users[id]))
}

// Has says whether the target claims any set.
func (c *Claims) Has(ref target.Ref) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sets[ref]) > 0
}

// classes lists the ingress classes of those who claim the set.
func (c *Claims) classes(id pageset.ID) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Concat(slices.Collect(maps.Values(c.users[id]))...)
}

// collect closes the set to new claims; false if it is claimed already.
func (c *Claims) collect(id pageset.ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.users[id]) > 0 {
		return false
	}
	c.collecting[id] = true
	return true
}

func (c *Claims) reopen(id pageset.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.collecting, id)
}
