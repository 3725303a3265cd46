package annotations

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestReferenceIsComplete: it has each annotation that is not taken for a typo, once.
func TestReferenceIsComplete(t *testing.T) {
	var listed []string
	for _, a := range Reference() {
		listed = append(listed, a.Keys...)
		assert.NotEmpty(t, a.Meaning)
		for _, key := range a.Keys {
			assert.Equal(t, !slices.Contains(statusKeys, key), a.Person, key)
		}
	}
	assert.ElementsMatch(t, slices.Concat([]string{DefaultEnabled, DefaultCustomPage}, accessKeys, limitKeys, automationKeys, statusKeys), listed)
}
