package manual

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEverySectionExists: each document has the heading that messages name, under the
// anchor that GitHub gives it.
func TestEverySectionExists(t *testing.T) {
	for _, s := range Sections() {
		file, anchor, _ := strings.Cut(s.Path, "#")
		text, err := os.ReadFile("../../" + file)
		require.NoError(t, err)
		heading := regexp.MustCompile(`(?m)^(#+) ` + regexp.QuoteMeta(s.Title) + `$`).FindSubmatch(text)
		if !assert.NotNil(t, heading, "%s has no heading %q", file, s.Title) {
			continue
		}
		if anchor == "" {
			assert.Equal(t, "#", string(heading[1]), "%s is not the title of %s", s.Title, file)
			continue
		}
		assert.Equal(t, strings.ReplaceAll(strings.ToLower(s.Title), " ", "-"), anchor)
	}
}

func TestString(t *testing.T) {
	assert.Equal(t, `"Restore by hand" (`+Address+`docs/restore.md#restore-by-hand)`, RestoreByHand().String())
}
