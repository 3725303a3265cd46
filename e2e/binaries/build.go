package binaries

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// compile is one `go build` and the `go list` that fetches what it needs.
type compile struct {
	dir      string // of the module
	tags     string
	flags    []string // of go build, with its output
	packages []string
	// env comes after this process's own. GOFLAGS and go.work of the user are for
	// other modules than those of e2e/build.
	env []string
}

// run runs `go build -v`, which names each package that it compiles, and calls
// seen with each line that names one or a module that it downloads.
func (b compile) run(ctx context.Context, seen func(line string)) error {
	args := append([]string{"build", "-v", "-trimpath", "-buildvcs=false", "-tags", b.tags}, b.flags...)
	_, err := b.command(ctx, seen, append(args, b.packages...))
	return err
}

// fetch downloads the modules that the build needs, and lists the packages that it
// compiles, each with its module's version: the same line is the same package.
func (b compile) fetch(ctx context.Context, seen func(line string)) ([]string, error) {
	args := []string{"list", "-deps", "-tags", b.tags, "-f", "{{.ImportPath}} {{.Module}}"}
	out, err := b.command(ctx, seen, append(args, b.packages...))
	return strings.Split(strings.TrimSpace(out), "\n"), err
}

func (b compile) command(ctx context.Context, seen func(line string), args []string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = b.dir
	// The programs run on whatever system is there: without cgo they are static.
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), b.env...)
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	words := lastWords(stderr, seen)
	if err := cmd.Wait(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, words)
	}
	return stdout.String(), nil
}

// lastWords reads r to its end, reports its progress lines, and returns the others.
func lastWords(r io.Reader, seen func(line string)) string {
	var other bytes.Buffer
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case isFetched(line) || isCompiled(line):
			seen(line)
		case other.Len() < 32<<10:
			other.WriteString(line + "\n")
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line too long must not block the build
	return strings.TrimSpace(other.String())
}

func isFetched(line string) bool { return strings.HasPrefix(line, "go: downloading ") }

func isCompiled(line string) bool {
	return line != "" && !strings.HasPrefix(line, "#") && !strings.ContainsAny(line, " \t:")
}

// compile is the build of programs of one module into a folder. One build compiles
// the packages that they share once, and links one program while it compiles another.
func (m *module) compile(programs []Program, into string) (compile, error) {
	source, err := m.source()
	if err != nil {
		return compile{}, err
	}
	version, err := m.version()
	if err != nil {
		return compile{}, err
	}
	ldflags := []string{"-s", "-w"}
	if m.versionFlags != nil {
		ldflags = append(ldflags, m.versionFlags(version)...)
	}
	// `go build` names several programs after their folders; a single one can be
	// named otherwise.
	output := into + string(filepath.Separator)
	if len(programs) == 1 {
		output = filepath.Join(into, programs[0].Name)
	}
	b := compile{
		dir: source, tags: m.tags, flags: []string{"-ldflags", strings.Join(ldflags, " "), "-o", output},
		env: []string{"GOFLAGS=-mod=readonly", "GOWORK=off"},
	}
	for _, p := range programs {
		b.packages = append(b.packages, p.pkg)
	}
	return b, nil
}

// buildModule makes those of programs of one module that are missing, under a lock,
// and moves each into the cache whole.
func (c *Cache) buildModule(ctx context.Context, programs []Program, seen func(line string)) error {
	m := programs[0].from
	unlock, err := c.lock(ctx, m.folder)
	if err != nil {
		return err
	}
	defer unlock()
	// Another process may have built them while this one waited for the lock.
	missing, err := c.missing(programs)
	if err != nil || len(missing) == 0 {
		return err
	}
	path, err := c.Path(missing[0])
	if err != nil {
		return err
	}
	target := filepath.Dir(path)
	if err := os.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("make the cache folder: %w", err)
	}
	temp, err := os.MkdirTemp(target, ".build-")
	if err != nil {
		return fmt.Errorf("make a build folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }()
	b, err := m.compile(missing, temp)
	if err != nil {
		return err
	}
	if err := b.run(ctx, seen); err != nil {
		return err
	}
	for _, p := range missing {
		if err := os.Rename(filepath.Join(temp, p.Name), filepath.Join(target, p.Name)); err != nil {
			return fmt.Errorf("move %s into the cache: %w", p.Name, err)
		}
	}
	return nil
}

// BuildOwn builds a program of this source tree into a file, with more flags of
// `go build` if need be.
func (c *Cache) BuildOwn(ctx context.Context, pkg, target string, flags ...string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	return Own{Root: root, Package: pkg, Flags: flags}.Build(ctx, target)
}

// Own is a program of this source tree, or of another commit of it.
type Own struct {
	Root    string   // top of the tree
	Package string   // of one of its modules
	Flags   []string // more of `go build`; they win
	Target  string   // file, or folder with a final slash; in an Order only
}

// Build builds the program into a file, static as all of them, and in the way in
// which everything is built here: see the Makefile. It is built each time: Go's own
// cache makes that quick, and right.
func (o Own) Build(ctx context.Context, target string) error {
	if err := o.compile(target).run(ctx, func(string) {}); err != nil {
		return fmt.Errorf("build %s: %w", o.Package, err)
	}
	return nil
}

func (o Own) compile(target string) compile {
	b := compile{
		dir: o.Root, packages: []string{o.Package},
		flags: append([]string{"-ldflags", "-s -w", "-o", target}, o.Flags...),
	}
	if strings.HasPrefix(o.Package, ownModule) {
		b.dir = filepath.Join(o.Root, "e2e")
	}
	return b
}

// ownModule is the module of this package; other programs are the product's.
const ownModule = "maintenance-controller.io/e2e/"
