package tally

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCountsAreWrittenDown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "counts")
	t.Setenv(FileVariable, path)
	Report(t, "page changes", 20)
	Report(t, "page changes", 3)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "page-changes=20\npage-changes=3\n", string(text))
}
