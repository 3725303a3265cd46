// Package scripts tests the shell scripts of this tree, and the commands and
// manifests that the README gives, on a real API server. A code block of the
// README is tested here if the line above it is <!-- tested: NAME -->.
package scripts

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/onplane"
)

// plane is shared by the tests that need nothing of a cluster but a namespace.
var plane *cluster.ControlPlane

// patience bounds every wait.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	os.Exit(onplane.Run(cluster.Options{}, func(p *cluster.ControlPlane) int { plane = p; return m.Run() }))
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := binaries.Root()
	require.NoError(t, err)
	return dir
}

// person is somebody at a terminal: a kubeconfig, and kubectl on the PATH.
type person struct {
	*testing.T
	environment []string
	dir         string
}

func newPerson(t *testing.T) *person {
	t.Helper()
	return newPersonOn(t, plane)
}

func newPersonOn(t *testing.T, plane *cluster.ControlPlane) *person {
	t.Helper()
	cache, err := binaries.NewCache(os.Stderr)
	require.NoError(t, err)
	var path string
	for _, tool := range []binaries.Program{binaries.Kubectl(), binaries.Helm()} {
		require.NoError(t, cache.Build(t.Context(), tool))
		program, err := cache.Path(tool)
		require.NoError(t, err)
		path += filepath.Dir(program) + ":"
	}
	p := &person{T: t, dir: root(t)}
	p.environment = append(os.Environ(),
		"KUBECONFIG="+plane.Kubeconfig(), "KUBECACHEDIR="+t.TempDir(), "PATH="+path+os.Getenv("PATH"))
	return p
}

// try runs a command line in bash, at the top of the source tree.
func (p *person) try(line string) (out string, err error) {
	p.Helper()
	// The test's own has ended when it cleans up.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.Context()), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", line)
	cmd.Dir, cmd.Env = p.dir, p.environment
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// run is try, and must succeed.
func (p *person) run(line string) string {
	p.Helper()
	out, err := p.try(line)
	require.NoError(p, err, "%s\n%s", line, out)
	return out
}

// give pipes a manifest into a command line.
func (p *person) give(manifest, line string) string {
	p.Helper()
	return p.run(line + " <<'MANIFEST'\n" + manifest + "\nMANIFEST\n")
}

// until runs a command line until what it prints is as it should be.
func (p *person) until(line string, ok func(out string) bool) string {
	p.Helper()
	deadline := time.Now().Add(patience)
	for {
		out, err := p.try(line)
		if err == nil && ok(out) {
			return out
		}
		if time.Now().After(deadline) {
			p.Fatalf("%s did not come true: %v\n%s", line, err, out)
		}
		time.Sleep(100 * time.Millisecond) // between two looks at what another program does
	}
}

// block is the README's code block of that name.
func block(t *testing.T, name string) string {
	t.Helper()
	return blockOf(t, "README.md", name)
}

// blockOf does so with another document.
func blockOf(t *testing.T, document, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root(t), document))
	require.NoError(t, err)
	found := regexp.MustCompile("(?s)<!-- tested: "+regexp.QuoteMeta(name)+" -->\n *```[a-z]*\n(.*?)\n *```").FindAllStringSubmatch(string(text), -1)
	require.Len(t, found, 1, "%s has one code block marked tested: %s", document, name)
	return strings.TrimSpace(found[0][1])
}
