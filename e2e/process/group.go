// Package process runs the programs of a local cluster as children that cannot
// outlive their parent, whichever way it ends.
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
// The kernel ties "die with the parent" (PR_SET_PDEATHSIG, see prctl(2)) to the
// thread that forked, not to the process, and Go ends threads when it likes. So a
// group owns one locked thread for as long as it lives and forks from there.
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
	// Prepare runs on the group's thread first: the namespaces that it enters are
	// those that all processes start in.
	Prepare func() error
	// Adopted says that Prepare enters a PID namespace, whose process 1 then
	// decides over life and death: a process there cannot see its parent, which
	// os/exec takes for a dead one.
	Adopted bool
}

// NewGroup starts a group.
func NewGroup(o Options) (*Group, error) {
	g := &Group{calls: make(chan func()), closed: make(chan struct{}), adopted: o.Adopted}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread must end with this goroutine
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
	Name    string // for messages
	Path    string
	Args    []string
	Env     []string // nil is the parent's
	Dir     string   // where it works; the parent's if empty
	LogFile string   // takes stdout and stderr; appended to
	// Cloneflags asks for namespaces of the process's own, see clone(2).
	Cloneflags uintptr
}

// Start starts a process. It returns once the program runs, not once it works.
func (g *Group) Start(c Command) (*Process, error) {
	log, err := os.OpenFile(c.LogFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", c.Name, err)
	}
	defer func() { _ = log.Close() }()     // the child has its own descriptor
	cmd := exec.Command(c.Path, c.Args...) //nolint:noctx // it lives as long as the group
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = c.Env, c.Dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: c.Cloneflags,
		Setpgid:    true, // a ^C at the terminal is for the parent, which stops us in order
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

// Run starts a process and waits for its end, which is an error unless its
// status is 0.
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

func (g *Group) onThread(f func() error) error {
	result := make(chan error, 1)
	select {
	case g.calls <- func() { result <- f() }:
		return <-result
	case <-g.closed:
		return errors.New("the process group is closed")
	}
}

// Close kills what still runs, youngest first, waits for its end and releases
// the thread. Closing twice is no error.
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
