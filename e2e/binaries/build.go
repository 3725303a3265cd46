package binaries

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"
)

// progressInterval is how often a running build says that it lives.
const progressInterval = 5 * time.Second

// goBuild builds programs of one module in one go, which shares their many
// common packages, and moves each into the cache whole.
func (c *Cache) goBuild(ctx context.Context, programs []Program) (err error) {
	m := programs[0].from
	source, err := m.source()
	if err != nil {
		return err
	}
	version, err := m.version()
	if err != nil {
		return err
	}
	target := filepath.Join(c.dir, "bin", m.folder+"-"+version)
	if err := os.MkdirAll(target, 0o755); err != nil {
		return fmt.Errorf("make the cache folder: %w", err)
	}
	temp, err := os.MkdirTemp(target, ".build-")
	if err != nil {
		return fmt.Errorf("make a build folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }()

	ldflags := []string{"-s", "-w"}
	if m.versionFlags != nil {
		ldflags = append(ldflags, m.versionFlags(version)...)
	}
	// One build compiles what the programs share once, and links one while it
	// compiles for another. It names each after its folder, which only a module
	// with one program may do otherwise.
	output, names, packages := temp+string(filepath.Separator), []string{}, []string{}
	for _, p := range programs {
		names, packages = append(names, p.Name), append(packages, p.pkg)
	}
	if len(programs) == 1 {
		output = filepath.Join(temp, programs[0].Name)
	}
	what := strings.Join(names, ", ") + " " + version
	args := append([]string{
		"build", "-v", "-trimpath", "-buildvcs=false", "-tags", m.tags, "-ldflags", strings.Join(ldflags, " "), "-o", output,
	}, packages...)
	if err := c.runBuild(ctx, source, what, args); err != nil {
		return fmt.Errorf("build %s: %w", what, err)
	}
	for _, name := range names {
		if err := os.Rename(filepath.Join(temp, name), filepath.Join(target, name)); err != nil {
			return fmt.Errorf("move %s into the cache: %w", name, err)
		}
	}
	return nil
}

// runBuild runs one `go build -v`, which names each package that it compiles,
// and reports from that. What is not a package name is kept for the error.
func (c *Cache) runBuild(ctx context.Context, dir, what string, args []string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	// The programs run on whatever system is there: without cgo they are static.
	// GOFLAGS and go.work of the person's own are for other modules than these.
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	start := time.Now()
	c.logf("build %s", what)
	if err := cmd.Start(); err != nil {
		return err
	}
	var compiled, fetched atomic.Int64
	reported := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(reported)
		tick := time.NewTicker(progressInterval)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				c.logf("build %s: %4s, %s", what, time.Since(start).Round(time.Second), progress(fetched.Load(), compiled.Load()))
			}
		}
	}()
	words := lastWords(stderr, &fetched, &compiled)
	err = cmd.Wait()
	close(stop)
	<-reported
	if err != nil {
		return fmt.Errorf("%w\n%s", err, words)
	}
	c.logf("build %s: done in %s", what, time.Since(start).Round(time.Second))
	return nil
}

func progress(fetched, compiled int64) string {
	switch {
	case compiled > 0:
		return fmt.Sprintf("%d packages compiled", compiled)
	case fetched > 0:
		return fmt.Sprintf("%d modules fetched", fetched)
	default:
		return "at work"
	}
}

// lastWords counts the progress lines of r to its end and returns the others.
func lastWords(r io.Reader, fetched, compiled *atomic.Int64) string {
	var other bytes.Buffer
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "go: downloading "):
			fetched.Add(1)
		case !strings.HasPrefix(line, "#") && !strings.ContainsAny(line, " \t:"):
			compiled.Add(1)
		case other.Len() < 32<<10:
			other.WriteString(line + "\n")
		}
	}
	_, _ = io.Copy(io.Discard, r) // a line too long must not block the build
	return strings.TrimSpace(other.String())
}

func filter(programs []Program, keep func(Program) bool) iter.Seq[Program] {
	return func(yield func(Program) bool) {
		for _, p := range programs {
			if keep(p) && !yield(p) {
				return
			}
		}
	}
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
}

// Build builds the program into a file, static as all of them, and in the way in
// which everything is built here: see the Makefile. It is built each time: Go's own
// cache makes that quick, and right.
func (o Own) Build(ctx context.Context, target string) error {
	args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", target}, o.Flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, o.Package)...)
	cmd.Dir = o.Root
	if strings.HasPrefix(o.Package, ownModule) {
		cmd.Dir = filepath.Join(o.Root, "e2e")
	}
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", o.Package, err, bytes.TrimSpace(out))
	}
	return nil
}

// ownModule is the module of this package; other programs are the product's.
const ownModule = "maintenance-controller.io/e2e/"
