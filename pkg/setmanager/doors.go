package setmanager

import (
	"maps"
	"slices"

	"maintenance-controller.io/pkg/pageset"
)

// WithDoors lists the claimed page sets with doors of a namespace, or of all namespaces if it is
// empty. Sets whose content is not known yet are left out.
func (c *Claims) WithDoors(namespace string) []pageset.ID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Collect(maps.Keys(c.pages)), func(id pageset.ID) bool {
		return namespace != "" && id.Namespace != namespace || c.pages[id].Access == ""
	})
}
