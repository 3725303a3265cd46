// Package process runs the programs of a local cluster as child processes that never outlive
// their parent, however it ends.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// Group starts processes that the kernel kills when the group's thread ends.
//
// The kernel binds PR_SET_PDEATHSIG (see prctl(2)) to the thread that forked, not to the
// process, and Go may end a thread at any time. So a group keeps one locked thread for its
// whole life and forks from there.
type Group struct {
	calls   chan func()
	closed  chan struct{}
	once    sync.Once
	adopted bool

	mu        sync.Mutex
	processes []*Process
}

// Options of a group. The zero value is usable.
type Options struct {
	// Prepare runs first on the group's thread; nil does nothing. All processes start in
	// the namespaces that it enters. If it fails, NewGroup returns its error.
	Prepare func() error
	// Adopted says that Prepare enters a PID namespace, so that processes end with its
	// process 1. PR_SET_PDEATHSIG cannot be used there: a process does not see its parent
	// outside of the namespace, which os/exec takes for a dead parent.
	Adopted bool
}

// NewGroup starts a group. Close it in the end.
func NewGroup(o Options) (*Group, error) {
	g := &Group{calls: make(chan func()), closed: make(chan struct{}), adopted: o.Adopted}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, so that the thread ends with this goroutine
		if o.Prepare != nil {
			if err := o.Prepare(); err != nil {
				ready <- err
				return
			}
		}
		ready <- nil
		for {
			select {
			case call := <-g.calls:
				call()
			case <-g.closed:
				return
			}
		}
	}()
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("prepare the thread of a process group: %w", err)
	}
	return g, nil
}

// Command says what to run.
type Command struct {
	Name    string   // the name in messages
	Path    string   // the program's path
	Args    []string // the arguments after the program's name
	Env     []string // the environment, KEY=VALUE; nil means the parent's
	Dir     string   // the working directory; empty means the parent's
	LogFile string   // stdout and stderr are appended to this file
	// Cloneflags requests new namespaces for the process: see clone(2). Zero requests none.
	Cloneflags uintptr
}

// Start starts a process. It returns once the program runs, which may not be ready by then.
func (g *Group) Start(c Command) (*Process, error) {
	log, err := os.OpenFile(c.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", c.Name, err)
	}
	defer func() { _ = log.Close() }()     // the child has its own descriptor
	cmd := exec.Command(c.Path, c.Args...) //nolint:noctx // the process lives as long as the group
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = c.Env, c.Dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: c.Cloneflags,
		Setpgid:    true, // so that ^C only reaches the parent, which stops its children in order
	}
	if !g.adopted {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	}
	if err := g.onThread(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p := &Process{name: c.Name, logFile: c.LogFile, cmd: cmd, done: make(chan struct{})}
	go p.reap()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.processes = append(g.processes, p)
	return p, nil
}

// Run starts a process and waits for its end. It returns an error with the end of the log if the
// exit status is not 0 or ctx is done, in which case it kills the process.
func (g *Group) Run(ctx context.Context, c Command) error {
	p, err := g.Start(c)
	if err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("run %s: %w\n%s", c.Name, ctx.Err(), p.Tail())
	}
	if p.err != nil {
		return fmt.Errorf("run %s: %w\n%s", c.Name, p.err, p.Tail())
	}
	return nil
}

// onThread calls f on the group's thread.
func (g *Group) onThread(f func() error) error {
	result := make(chan error, 1)
	select {
	case g.calls <- func() { result <- f() }:
		return <-result
	case <-g.closed:
		return errors.New("the process group is closed")
	}
}

// Close kills all processes that still run, the youngest first, waits for their end and
// releases the thread. It may be called twice.
func (g *Group) Close() {
	g.mu.Lock()
	processes := g.processes
	g.processes = nil
	g.mu.Unlock()
	for i := len(processes) - 1; i >= 0; i-- {
		processes[i].Kill()
	}
	g.once.Do(func() { close(g.closed) })
}
