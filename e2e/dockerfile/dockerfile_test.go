// Package dockerfile builds the Dockerfile with buildah, which stands in for Docker, and compares
// the image with the one that is made without a container engine. Both share Go's cache: the tests
// compare compiler settings and file layout, not whether the compiler is deterministic.
package dockerfile

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/e2e/binaries"
)

const (
	version = "v0.0.0-test"
	commit  = "0123456789abcdef0123456789abcdef01234567"
	date    = "2026-01-02T03:04:05Z"
)

// file is a regular file of an image.
type file struct {
	mode int64
	uid  int
	sum  string
}

// built is an image that `make image` wrote.
type built struct {
	reference string
	config    *v1.ConfigFile
	files     map[string]file
	archive   string
}

// makeImage does what `make image` does, with environment variables.
func makeImage(t *testing.T, root string, variables ...string) built {
	t.Helper()
	out := t.TempDir()
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "e2e/image/make.sh"), out, version, commit, date)
	cmd.Env = append(os.Environ(), variables...)
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", text)
	b := built{archive: filepath.Join(out, "maintenance-controller.tar"), files: map[string]file{}}
	reference, err := os.ReadFile(filepath.Join(out, "maintenance-controller.ref"))
	require.NoError(t, err)
	b.reference = strings.TrimSpace(string(reference))
	img, err := tarball.ImageFromPath(b.archive, nil)
	require.NoError(t, err)
	b.config, err = img.ConfigFile()
	require.NoError(t, err)
	files := tar.NewReader(mutate.Extract(img))
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return b
		}
		require.NoError(t, err)
		if h.Typeflag != tar.TypeReg {
			continue
		}
		sum := sha256.New()
		_, err = io.Copy(sum, files)
		require.NoError(t, err)
		b.files[strings.TrimPrefix(h.Name, "/")] = file{h.Mode & 0o777, h.Uid, hex.EncodeToString(sum.Sum(nil))}
	}
}

func TestDockerfileBuildsTheSameImage(t *testing.T) {
	root, err := binaries.Root()
	require.NoError(t, err)
	cache, err := binaries.NewCache(nil)
	require.NoError(t, err)
	engine, dir := filepath.Join(root, "e2e/dockerfile/engine.sh"), "ENGINE_DIR="+filepath.Join(cache.Dir(), "buildah")
	run := func(args ...string) {
		cmd := exec.Command(engine, args...) // without the test's context, which ends before the cleanup
		cmd.Dir, cmd.Env = root, append(os.Environ(), dir)
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	run("clean") // remove what an aborted run left
	t.Cleanup(func() { run("clean") })
	// Under the name docker, on the PATH, where make.sh looks for it.
	path := t.TempDir()
	require.NoError(t, os.Symlink(engine, filepath.Join(path, "docker")))
	for _, arch := range []string{"amd64", "arm64"} {
		base := "localhost/go-" + arch
		run("base", base, arch)
		docker := makeImage(t, root, dir, "ARCH="+arch, "BUILD_IMAGE="+base, "PATH="+path+":"+os.Getenv("PATH"))
		plain := makeImage(t, root, "ARCH="+arch, "ENGINE=none")
		requireTheSame(t, arch, docker, plain)
		if arch != runtime.GOARCH {
			continue // its programs do not run on this machine
		}
		for _, program := range []string{"maintenance-controller", "maintenance-page"} {
			out, err := exec.CommandContext(t.Context(), extract(t, docker.archive, program), "--version").CombinedOutput()
			require.NoError(t, err, "%s", out)
			for _, want := range []string{version, commit, date} {
				assert.Contains(t, string(out), want, program)
			}
		}
	}
}

// requireTheSame compares the image of the Dockerfile with the one made without an engine.
func requireTheSame(t *testing.T, arch string, docker, plain built) {
	t.Helper()
	assert.Regexp(t, `^maintenance-controller:dev-[0-9a-f]{12}$`, docker.reference)
	assert.Equal(t, plain.files, docker.files, "the files differ: the programs must be reproducible")
	assert.Len(t, docker.files, 3, "the image must only have the two programs and /etc/passwd")
	for _, c := range []*v1.ConfigFile{docker.config, plain.config} {
		assert.Equal(t, "65532:65532", c.Config.User, "the user must be a number, or the kubelet cannot check runAsNonRoot")
		assert.Equal(t, []string{"/maintenance-controller"}, c.Config.Entrypoint)
		assert.Equal(t, "linux/"+arch, c.OS+"/"+c.Architecture)
		assert.Equal(t, []string{"PATH=/"}, c.Config.Env)
		for label, want := range map[string]string{"version": version, "revision": commit, "created": date, "title": "maintenance-controller", "licenses": "Apache-2.0"} {
			assert.Equal(t, want, c.Config.Labels["org.opencontainers.image."+label], label)
		}
		assert.Contains(t, c.Config.Labels["org.opencontainers.image.description"], "maintenance page")
	}
}

// extract copies a program out of an image archive and returns its path.
func extract(t *testing.T, archive, program string) string {
	t.Helper()
	img, err := tarball.ImageFromPath(archive, nil)
	require.NoError(t, err)
	files := tar.NewReader(mutate.Extract(img))
	for {
		h, err := files.Next()
		require.NoError(t, err, "%s is not in the image", program)
		if strings.TrimPrefix(h.Name, "/") != program {
			continue
		}
		path := filepath.Join(t.TempDir(), program)
		out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
		require.NoError(t, err)
		_, err = io.Copy(out, files)
		require.NoError(t, err)
		require.NoError(t, out.Close())
		return path
	}
}
