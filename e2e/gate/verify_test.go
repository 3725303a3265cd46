// Package gate tests the scripts that accept or reject a change.
package gate

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/e2e/binaries"
)

// TestVerifyIgnoresDownloadMessages: with an empty module cache, go reports downloads on
// standard error. The script ignores them, and still reports faults of the tree along with
// the standard error of the program that failed.
func TestVerifyIgnoresDownloadMessages(t *testing.T) {
	t.Parallel()
	const downloads = `echo "go: downloading example.org/module v1.0.0" >&2` + "\n"
	out, err := verify(t, downloads)
	require.NoError(t, err, out)
	assert.NotContains(t, out, "downloading")

	out, err = verify(t, downloads+`case "$*" in
"mod tidy"*) echo "-module v1.0.0"; echo "go: updates to go.mod needed" >&2; exit 1 ;;
"list -m"*) exit 1 ;;
esac
`)
	require.Error(t, err)
	assert.Contains(t, out, "STALE go.mod of e2e is tidy (cd e2e && go mod tidy)\n-module v1.0.0\n")
	assert.Contains(t, out, "go: updates to go.mod needed")
	assert.Contains(t, out, "STALE Traefik's types and program have the same version", "versions that cannot be read do not count as equal")
}

// verify checks the modules with a go command that runs other shell code first. What the script
// checks besides has to compile, and is checked by `make verify`.
func verify(t *testing.T, first string) (out string, err error) {
	t.Helper()
	root, err := binaries.Root()
	require.NoError(t, err)
	goes, err := exec.LookPath("go")
	require.NoError(t, err)
	path := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(path, "go"), []byte("#!/bin/bash\n"+first+`exec `+goes+` "$@"`+"\n"), 0o700))
	cmd := exec.CommandContext(t.Context(), filepath.Join(root, "e2e/verify.sh"), "modules")
	cmd.Env = append(os.Environ(), "PATH="+path+":"+os.Getenv("PATH"))
	text, err := cmd.CombinedOutput()
	return string(text), err
}
