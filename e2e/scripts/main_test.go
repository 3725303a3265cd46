// Package scripts tests the shell scripts of this tree, and the commands and manifests in its
// documents, on a real API server. It tests a document's code block if the line above it is
// <!-- tested: NAME -->.
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
	"maintenance-controller.io/e2e/testmain"
)

// plane is the API server of all tests that only need a namespace of their own.
var plane *cluster.ControlPlane

// waitTimeout bounds every wait for a state, and commandTimeout every command line: a script may run
// dozens of programs, and wait for states itself.
const (
	waitTimeout    = 60 * time.Second
	commandTimeout = 10 * time.Minute
)

func TestMain(m *testing.M) {
	os.Exit(testmain.Run(cluster.Options{}, func(p *cluster.ControlPlane) int { plane = p; return m.Run() }))
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := binaries.Root()
	require.NoError(t, err)
	return dir
}

// person is a person at a terminal, with a kubeconfig, and with kubectl and helm on the PATH.
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

// try runs a command line in bash, at the top of the source tree, and returns its output.
func (p *person) try(line string) (out string, err error) {
	p.Helper()
	// Without the test's context, which ends before the cleanup.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.Context()), commandTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", line)
	cmd.Dir, cmd.Env = p.dir, p.environment
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// run is try for command lines that must succeed.
func (p *person) run(line string) string {
	p.Helper()
	out, err := p.try(line)
	require.NoError(p, err, "%s\n%s", line, out)
	return out
}

// runWith runs a command line with a manifest on stdin.
func (p *person) runWith(manifest, line string) string {
	p.Helper()
	return p.run(line + " <<'MANIFEST'\n" + manifest + "\nMANIFEST\n")
}

// until runs a command line until its output is ok, and returns it.
func (p *person) until(line string, ok func(out string) bool) string {
	p.Helper()
	deadline := time.Now().Add(waitTimeout)
	for {
		out, err := p.try(line)
		if err == nil && ok(out) {
			return out
		}
		if time.Now().After(deadline) {
			p.Fatalf("%s did not print what was expected: %v\n%s", line, err, out)
		}
		time.Sleep(100 * time.Millisecond) // poll interval
	}
}

// block returns the code block with this name. Exactly one document must have it.
func block(t *testing.T, name string) string {
	t.Helper()
	var found []string
	for _, document := range documents(t) {
		if strings.Contains(read(t, document), "<!-- tested: "+name+" -->") {
			found = append(found, document)
		}
	}
	require.Len(t, found, 1, "exactly one document must have a code block marked tested: %s", name)
	return blockOf(t, found[0], name)
}

// blockOf returns the code block with this name in a document.
func blockOf(t *testing.T, document, name string) string {
	t.Helper()
	found := regexp.MustCompile("(?s)<!-- tested: "+regexp.QuoteMeta(name)+" -->\n *```[a-z]*\n(.*?)\n *```").FindAllStringSubmatch(read(t, document), -1)
	require.Len(t, found, 1, "%s must have exactly one code block marked tested: %s", document, name)
	return strings.TrimSpace(found[0][1])
}
