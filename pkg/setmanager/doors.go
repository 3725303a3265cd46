package setmanager

import (
	"maps"
	"slices"

	"maintenance-controller.io/pkg/pageset"
)

// WithDoors lists the page sets of a namespace, or of all if it is empty, that somebody
// claims and that have doors, as far as their content is known.
func (c *Claims) WithDoors(namespace string) []pageset.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Collect(maps.Keys(c.pages)), func(id pageset.ID) bool {
		return namespace != "" && id.Namespace != namespace || c.pages[id].Access == ""
	})
}
