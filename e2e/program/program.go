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
	"sync/atomic"
	"syscall"

	"maintenance-controller.io/e2e/binaries"
)

// Program is a running maintenance-controller.
type Program struct {
	command *exec.Cmd
	wait    func() int
}

// folder is where the program is built, once for all tests of a process.
//
//nolint:gochecknoglobals // tests of one package share nothing else
var folder atomic.Value

//nolint:gochecknoglobals // as above
var build = sync.OnceValues(func() (path string, err error) {
	root, err := binaries.Root()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "maintenance-e2e-")
	if err != nil {
		return "", fmt.Errorf("folder for maintenance-controller: %w", err)
	}
	folder.Store(dir)
	path = filepath.Join(dir, "maintenance-controller")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", path, "./cmd/maintenance-controller")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build maintenance-controller: %w: %s", err, out)
	}
	return path, nil
})

// Start runs the program, which the first call builds. It ends with Stop or
// Kill, or with the test.
func Start(log io.Writer, args ...string) (*Program, error) {
	path, err := build()
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(context.Background(), path, args...)
	command.Stderr = log
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start maintenance-controller: %w", err)
	}
	return &Program{command: command, wait: sync.OnceValue(func() int {
		_ = command.Wait() // the exit code tells
		return command.ProcessState.ExitCode()
	})}, nil
}

// Stop asks the program to end, as the kubelet does, and gives its exit code.
func (p *Program) Stop() int {
	if err := p.command.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		_ = p.command.Process.Kill()
	}
	return p.wait()
}

// Clean removes what Start has built.
func Clean() {
	if dir, ok := folder.Load().(string); ok {
		_ = os.RemoveAll(dir) // in the temporary folder, at worst
	}
}
