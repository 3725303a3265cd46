package version

import (
	"strings"
	"testing"
)

func TestStringNamesTheBuild(t *testing.T) {
	for _, part := range []string{Version, Commit, Date} {
		if !strings.Contains(String(), part) {
			t.Errorf("%q lacks %q", String(), part)
		}
	}
}
