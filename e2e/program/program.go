// Package program runs maintenance-controller as a process of its own, for tests.
package program

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

// Build says which maintenance-controller to run. The zero value is the tree's own.
type Build struct {
	// Version is what the program calls itself: the default of --page-image has it.
	Version string
	// Commit of this repository to build from, in place of the tree; see Has.
	Commit string
	// Overlay is a file that replaces sources of the tree, as go build takes it.
	Overlay string
}

// Program is a running maintenance-controller.
type Program struct {
	command *exec.Cmd
	done    chan struct{}
}

// builds are what has been built, each once for all tests of a process.
//
//nolint:gochecknoglobals // tests of one package share nothing else
var builds struct {
	sync.Mutex
	folder string
	paths  map[Build]string
}

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
		defer func() { _ = os.RemoveAll(root) }() // in the temporary folder, at worst
	}
	return binaries.Own{Root: root, Package: "./cmd/maintenance-controller", Flags: flags}.Build(context.Background(), path)
}

// Has says whether the tree comes with a commit: a clone without history and an
// archive of the sources do not.
func Has(commit string) (bool, error) {
	root, err := binaries.Root()
	if err != nil {
		return false, err
	}
	look := exec.CommandContext(context.Background(), "git", "cat-file", "-e", commit+"^{commit}")
	look.Dir = root
	return look.Run() == nil, nil
}

// checkout gives a new folder with the files of a commit.
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

// Path of the program as the tree has it, which the first call builds.
func Path() (string, error) { return Build{}.path() }

// Start runs the tree's own program.
func Start(log io.Writer, args ...string) (*Program, error) { return Build{}.Start(log, args...) }

// Start runs the program, which the first call builds, until it ends by itself or
// by Stop or Kill.
func (b Build) Start(log io.Writer, args ...string) (*Program, error) {
	path, err := b.path()
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(context.Background(), path, args...)
	command.Stderr = log
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start maintenance-controller: %w", err)
	}
	p := &Program{command: command, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = command.Wait() // the exit code tells
	}()
	return p, nil
}

// Pid is the program's process id.
func (p *Program) Pid() int { return p.command.Process.Pid }

// Done is closed when the program has ended.
func (p *Program) Done() <-chan struct{} { return p.done }

// Stop asks the program to end, as the kubelet does, and gives its exit code.
func (p *Program) Stop() int {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return p.Kill()
	}
	<-p.done
	return p.command.ProcessState.ExitCode()
}

// Kill ends the program this moment, by SIGKILL, and returns when it is gone.
func (p *Program) Kill() int {
	_ = p.command.Process.Kill() // its only error is that it has ended, which is the aim
	<-p.done
	return p.command.ProcessState.ExitCode()
}

// Clean removes what Start has built.
func Clean() {
	builds.Lock()
	defer builds.Unlock()
	_ = os.RemoveAll(builds.folder) // in the temporary folder, at worst; nothing if it is ""
	builds.folder, builds.paths = "", nil
}
