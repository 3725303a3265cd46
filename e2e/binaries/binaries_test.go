package binaries_test

import (
	"path/filepath"
	"strings"
	"testing"

	"maintenance-controller.io/e2e/binaries"
)

// Every program has a place of its own in the cache, and its version is in the
// path: another version is another file, never a stale one.
func TestPathsAreKeyedByVersion(t *testing.T) {
	t.Setenv(binaries.CacheEnv, t.TempDir())
	cache, err := binaries.NewCache(nil)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, p := range binaries.Everything() {
		path, err := cache.Path(p)
		if err != nil {
			t.Fatal(err)
		}
		if seen[path] {
			t.Errorf("%s is at %s, where another program is", p.Name, path)
		}
		seen[path] = true
		if folder := filepath.Base(filepath.Dir(path)); !strings.Contains(folder, "-v") {
			t.Errorf("%s is in %s, which names no version", p.Name, folder)
		}
		if !strings.HasPrefix(path, cache.Dir()) {
			t.Errorf("%s is at %s, outside the cache %s", p.Name, path, cache.Dir())
		}
	}
}
