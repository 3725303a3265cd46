// Package mutant puts known faults into the product, for tests that must notice them: a
// test that does not fail with any fault proves nothing.
//
// A mutant is a file NAME.patch in this folder. It has sentences that describe the fault,
// a line that names the test that notices it, an empty line, and a unified diff against
// the root of the tree, as `git diff` writes it. The sources are not changed: Go builds
// the mutant with -overlay.
//
//	Noticed by ./pkg/swap TestBack/only_what_is_on_a_page_set
//
// The package is a folder relative to the root of the tree. A mutant that only the node
// tier notices has no such line: there the test names the mutant.
package mutant

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"maintenance-controller.io/e2e/binaries"
)

//go:embed *.patch
var patches embed.FS

const extension = ".patch"

// Mutant is a fault that can be put into a build.
type Mutant struct {
	Name string // of its file, without the extension
	Why  string // what the fault is, on one line
	// Package and Test name the test that notices it; both are empty without that line.
	Package, Test string
	diff          []byte
}

const noticedBy = "Noticed by "

// All returns the mutants of this folder, sorted by name.
func All() ([]Mutant, error) {
	files, err := fs.Glob(patches, "*"+extension)
	if err != nil {
		return nil, err
	}
	var all []Mutant
	for _, file := range files {
		text, err := patches.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read mutant: %w", err)
		}
		m, err := parse(strings.TrimSuffix(file, extension), text)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// Named returns the mutant with a name.
func Named(name string) (Mutant, error) {
	text, err := patches.ReadFile(name + extension)
	if err != nil {
		return Mutant{}, fmt.Errorf("no such mutant: %w", err)
	}
	return parse(name, text)
}

func parse(name string, text []byte) (Mutant, error) {
	why, diff, found := bytes.Cut(text, []byte("\n\n"))
	sentences, by, named := strings.Cut(string(why), "\n"+noticedBy)
	m := Mutant{Name: name, Why: strings.Join(strings.Fields(sentences), " "), diff: diff}
	if by := strings.Fields(by); named && len(by) == 2 {
		m.Package, m.Test = by[0], by[1]
	} else if named {
		return Mutant{}, fmt.Errorf("mutant %s: want a package and a test after %q", name, noticedBy)
	}
	if !found || m.Why == "" || !bytes.HasPrefix(diff, []byte("--- a/")) && !bytes.HasPrefix(diff, []byte("diff --git ")) {
		return Mutant{}, fmt.Errorf("mutant %s: want sentences that describe the fault, an empty line, and a diff", name)
	}
	return m, nil
}

// Overlay applies the fault to copies of the sources in dir, which must have no other
// use, and returns the file for the flag -overlay of `go build` and `go test`. It works
// in all modules of the tree, for as long as dir exists.
func (m Mutant) Overlay(ctx context.Context, dir string) (file string, err error) {
	root, err := binaries.Root()
	if err != nil {
		return "", err
	}
	return m.overlay(ctx, root, dir)
}

func (m Mutant) overlay(ctx context.Context, root, dir string) (file string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("mutant %s: %w", m.Name, err)
		}
	}()
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	changed, err := m.files(ctx, dir)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for _, name := range changed {
		source, mutated := filepath.Join(root, name), filepath.Join(dir, name)
		if err := copyFile(source, mutated); err != nil {
			return "", err
		}
		replace[source] = mutated
	}
	if out, err := m.git(ctx, dir); err != nil {
		return "", fmt.Errorf("it does not apply to the sources any more, update %s%s: %w\n%s", m.Name, extension, err, out)
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file = filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, text, 0o600)
}

// files lists the files that the diff changes, relative to the root.
func (m Mutant) files(ctx context.Context, dir string) ([]string, error) {
	out, err := m.git(ctx, dir, "--numstat")
	if err != nil {
		return nil, fmt.Errorf("its diff cannot be read: %w\n%s", err, out)
	}
	var names []string
	for line := range strings.Lines(string(out)) {
		// Lines added, lines removed, name.
		fields := strings.Fields(line)
		if len(fields) != 3 {
			return nil, fmt.Errorf("its diff cannot be read: git says %q", line)
		}
		names = append(names, fields[2])
	}
	if len(names) == 0 {
		return nil, errors.New("its diff changes nothing")
	}
	return names, nil
}

// git runs `git apply` on the diff in dir, as if dir were outside of any repository.
func (m Mutant) git(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"apply"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir))
	cmd.Stdin = bytes.NewReader(m.diff)
	return cmd.CombinedOutput()
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o600)
}
