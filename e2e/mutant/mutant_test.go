package mutant

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEveryPatchApplies: the sources change, and a patch that no longer applies is no
// fault. Whether it compiles is checked where its test runs: by the command mutants, which
// requires a failing test, and by e2e/node.
func TestEveryPatchApplies(t *testing.T) {
	t.Parallel()
	all, err := All()
	require.NoError(t, err)
	require.NotEmpty(t, all)
	for _, m := range all {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			named, err := Named(m.Name)
			require.NoError(t, err)
			assert.Equal(t, m, named)
			_, err = m.Overlay(t.Context(), t.TempDir())
			require.NoError(t, err)
		})
	}
}

// TestOverlay: the build has the fault, and the tree does not.
func TestOverlay(t *testing.T) {
	t.Parallel()
	root, dir := t.TempDir(), filepath.Join(t.TempDir(), "overlay")
	write(t, root, map[string]string{
		"go.mod":         "module example.org/m\n",
		"cmd/m/main.go":  "package main\n\nimport \"example.org/m/say\"\n\nfunc main() { print(say.Word) }\n",
		"say/say.go":     "package say\n\nconst Word = \"right\"\n",
		"say/another.go": "package say\n\nconst Other = 1\n",
	})
	m, err := parse("wrong", []byte("It says the\nwrong word.\n\n--- a/say/say.go\n+++ b/say/say.go\n@@ -2,2 +2,2 @@\n \n-const Word = \"right\"\n+const Word = \"wrong\"\n"))
	require.NoError(t, err)
	assert.Equal(t, "It says the wrong word.", m.Why)
	overlay, err := m.overlay(t.Context(), root, dir)
	require.NoError(t, err)
	for flag, want := range map[string]string{"-overlay=" + overlay: "wrong", "-overlay=": "right"} {
		run := exec.CommandContext(t.Context(), "go", "run", flag, "./cmd/m")
		run.Dir = root
		out, err := run.CombinedOutput()
		require.NoError(t, err, string(out))
		assert.Equal(t, want, string(out), flag)
	}

	write(t, root, map[string]string{"say/say.go": "package say\n\nconst Word = \"other\"\n"})
	_, err = m.overlay(t.Context(), root, filepath.Join(t.TempDir(), "again"))
	assert.ErrorContains(t, err, "mutant wrong: it does not apply to the sources any more, update wrong.patch")
	assert.ErrorContains(t, err, "say/say.go:2", "it names the place")
	require.NoError(t, os.Remove(filepath.Join(root, "say", "say.go")))
	_, err = m.overlay(t.Context(), root, filepath.Join(t.TempDir(), "gone"))
	assert.ErrorContains(t, err, "say.go: no such file")
}

// TestBadPatchFiles: the error says what is wrong with the file.
func TestBadPatchFiles(t *testing.T) {
	t.Parallel()
	diff := "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n"
	for name, text := range map[string]string{"no reason": diff, "an empty reason": "\n\n" + diff, "no diff": "It does nothing.\n\n"} {
		_, err := parse("odd", []byte(text))
		assert.ErrorContains(t, err, "mutant odd: want sentences that describe the fault", name)
	}
	m, err := parse("odd", []byte("It is torn.\n\n"+strings.TrimSuffix(diff, "+b\n")))
	require.NoError(t, err)
	_, err = m.overlay(t.Context(), t.TempDir(), t.TempDir())
	assert.ErrorContains(t, err, "mutant odd: its diff cannot be read")
	_, err = parse("odd", []byte("It is noticed.\nNoticed by somebody\n\n"+diff))
	assert.ErrorContains(t, err, "want a package and a test")
	m, err = parse("odd", []byte("It is\nnoticed.\nNoticed by ./pkg/a TestB/c\n\n"+diff))
	require.NoError(t, err)
	assert.Equal(t, []string{"It is noticed.", "./pkg/a", "TestB/c"}, []string{m.Why, m.Package, m.Test})
	_, err = Named("no-such")
	assert.ErrorContains(t, err, "no-such")
}

func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		file := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o750))
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	}
}
