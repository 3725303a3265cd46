package bypass

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/access"
)

// TestFollow uses a Secret as the kubelet mounts it: a link to a folder that is exchanged as
// a whole, and that is empty while the Secret does not exist.
func TestFollow(t *testing.T) {
	dir := t.TempDir()
	n := 0
	mount := func(files map[string]string) {
		n++
		version := filepath.Join(dir, ".."+strings.Repeat("v", n))
		require.NoError(t, os.Mkdir(version, 0o755))
		for name, text := range files {
			require.NoError(t, os.WriteFile(filepath.Join(version, name), []byte(text), 0o444))
		}
		next := filepath.Join(dir, "..data_tmp")
		require.NoError(t, os.Symlink(filepath.Base(version), next))
		require.NoError(t, os.Rename(next, filepath.Join(dir, "..data")))
		_ = os.Symlink(filepath.Join("..data", access.SecretKey), filepath.Join(dir, access.SecretKey))
	}
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Settings: onlyTokens(), PageSet: set, Page: http.NotFoundHandler()})
		mount(nil)
		follow := s.Follow(dir)
		require.True(t, s.Summary().Secret.Missing)
		go func() { assert.NoError(t, follow(t.Context())) }()
		now := func() access.Secret {
			time.Sleep(2 * secretInterval)
			synctest.Wait()
			return s.Summary().Secret
		}
		mount(map[string]string{access.SecretKey: tokens})
		assert.Equal(t, access.Secret{Name: secret, Tokens: 2}, now())
		mount(map[string]string{access.SecretKey: "anna " + anna + "\nx"})
		got := now()
		assert.Equal(t, 1, got.Tokens)
		assert.Len(t, got.Problems, 1)
		require.NoError(t, os.Remove(filepath.Join(dir, access.SecretKey)))
		require.NoError(t, os.Mkdir(filepath.Join(dir, access.SecretKey), 0o755))
		assert.Equal(t, 1, now().Tokens, "a file that cannot be read is not a missing one")
		require.NoError(t, os.Remove(filepath.Join(dir, access.SecretKey)))
		mount(map[string]string{access.SecretKey: strings.Repeat("x", access.MaxSecret+1)})
		assert.Zero(t, now().Tokens)
		mount(nil)
		assert.Equal(t, access.Secret{Name: secret, Missing: true}, now())
		require.NoError(t, os.RemoveAll(dir))
		assert.True(t, now().Missing)
	})
}
