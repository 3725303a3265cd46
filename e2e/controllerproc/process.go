// Package controllerproc builds and runs maintenance-controller as a separate process, for tests.
package controllerproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"maintenance-controller.io/e2e/binaries"
)

// Build says which maintenance-controller to run. The zero value is the one of this tree.
type Build struct {
	// Version is the version that the program reports, and the tag in the default of
	// --page-image. If it is empty, that is the version of any development build.
	Version string
	// Commit is a commit of this repository to build instead of the tree: see HasCommit. Empty means
	// the tree.
	Commit string
	// Overlay is the path of a file for -overlay of go build, which replaces sources. Empty
	// means no overlay.
	Overlay string
}

// Process is a running maintenance-controller.
type Process struct {
	command *exec.Cmd
	done    chan struct{}
}

// builds are the programs built so far, each once for all tests of the process.
//
//nolint:gochecknoglobals // the tests of a package share the programs
var builds struct {
	sync.Mutex
	folder string
	paths  map[Build]string
}

// path returns the path of the program. The first call builds it.
func (b Build) path() (string, error) {
	builds.Lock()
	defer builds.Unlock()
	if path, ok := builds.paths[b]; ok {
		return path, nil
	}
	if builds.folder == "" {
		dir, err := os.MkdirTemp("", "maintenance-e2e-")
		if err != nil {
			return "", fmt.Errorf("folder for maintenance-controller: %w", err)
		}
		builds.folder, builds.paths = dir, map[Build]string{}
	}
	path := filepath.Join(builds.folder, fmt.Sprintf("maintenance-controller-%d", len(builds.paths)))
	if err := b.build(path); err != nil {
		return "", err
	}
	builds.paths[b] = path
	return path, nil
}

func (b Build) build(path string) error {
	root, err := binaries.Root()
	if err != nil {
		return err
	}
	var flags []string
	if b.Version != "" {
		flags = append(flags, "-ldflags", "-s -w -X maintenance-controller.io/pkg/version.Version="+b.Version)
	}
	if b.Overlay != "" {
		flags = append(flags, "-overlay="+b.Overlay)
	}
	if b.Commit != "" {
		if root, err = checkout(root, b.Commit); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(root) }() // at worst it stays in the temporary folder
	}
	return binaries.Own{Root: root, Package: "./cmd/maintenance-controller", Flags: flags}.Build(context.Background(), path)
}

// HasCommit reports whether the repository has a commit. A shallow clone and an archive of the sources
// do not have earlier ones.
func HasCommit(commit string) (bool, error) {
	root, err := binaries.Root()
	if err != nil {
		return false, err
	}
	look := exec.CommandContext(context.Background(), "git", "cat-file", "-e", commit+"^{commit}")
	look.Dir = root
	return look.Run() == nil, nil
}

// checkout writes the files of a commit to a new folder and returns its path.
func checkout(root, commit string) (string, error) {
	dir, err := os.MkdirTemp("", "maintenance-commit-")
	if err != nil {
		return "", fmt.Errorf("folder for commit %s: %w", commit, err)
	}
	tree := exec.CommandContext(context.Background(), "bash", "-o", "pipefail", "-c", `git archive "$0" | tar -x -C "$1"`, commit, dir)
	tree.Dir = root
	if out, err := tree.CombinedOutput(); err != nil {
		_ = os.RemoveAll(dir)
		return "", fmt.Errorf("commit %s: %w: %s", commit, err, out)
	}
	return dir, nil
}

// Path returns the path of this tree's program. The first call builds it.
func Path() (string, error) { return Build{}.path() }

// Start starts this tree's program: see Build.Start.
func Start(log io.Writer, args ...string) (*Process, error) { return Build{}.Start(log, args...) }

// Start starts the program with args and writes its stderr to log. The first call builds it. Stop
// or Kill ends it.
func (b Build) Start(log io.Writer, args ...string) (*Process, error) {
	path, err := b.path()
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(context.Background(), path, args...)
	command.Stderr = log
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start maintenance-controller: %w", err)
	}
	p := &Process{command: command, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = command.Wait() // callers use the exit code
	}()
	return p, nil
}

// Pid returns the program's process id.
func (p *Process) Pid() int { return p.command.Process.Pid }

// Done returns a channel that is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stop sends SIGTERM, as the kubelet does, waits for the end and returns the exit code.
func (p *Process) Stop() int {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return p.Kill()
	}
	<-p.done
	return p.command.ProcessState.ExitCode()
}

// Kill sends SIGKILL, waits for the end and returns the exit code: -1, unless the program had ended before.
func (p *Process) Kill() int {
	_ = p.command.Process.Kill() // it fails only if the program has ended
	<-p.done
	return p.command.ProcessState.ExitCode()
}

// Clean removes the programs that Start and Path built.
func Clean() {
	builds.Lock()
	defer builds.Unlock()
	_ = os.RemoveAll(builds.folder) // at worst it stays in the temporary folder
	builds.folder, builds.paths = "", nil
}
