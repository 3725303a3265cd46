package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// tailLines is how much of a log an error quotes: enough for a Go program's last
// words, few enough to read.
const tailLines = 12

// Process is a running (or ended) program.
type Process struct {
	name    string
	logFile string
	cmd     *exec.Cmd
	done    chan struct{}
	err     error // valid once done is closed
}

func (p *Process) reap() {
	p.err = p.cmd.Wait()
	close(p.done)
}

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Kill ends the process at once and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // its only error is that it has ended, which is the aim
	<-p.done
}

// Terminate asks the process to end and kills it when it has not after grace.
func (p *Process) Terminate(grace time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // as in Kill
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.Kill()
	}
}

// ended is nil while the process runs, and afterwards says how it ended, with
// the tail of its log.
func (p *Process) ended() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	how := "ended with status 0"
	if p.err != nil {
		how = p.err.Error()
	}
	return fmt.Errorf("%s stopped (%s)\n%s", p.name, how, p.Tail())
}

// Tail is the end of the process's log, ready to be printed.
func (p *Process) Tail() string {
	text, err := readTail(p.logFile, 16<<10)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	return "  … end of " + p.logFile + ":\n    " + strings.Join(lines, "\n    ")
}

func readTail(path string, limit int64) (text string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return "", err
	}
	if _, err := f.Seek(max(0, size-limit), io.SeekStart); err != nil {
		return "", err
	}
	b, err := io.ReadAll(f)
	return string(b), err
}

// Wait is a bounded wait for something that processes bring about.
type Wait struct {
	For     string // completes "waiting for …"
	Timeout time.Duration
	Probe   func(context.Context) error // nil = it is so
	// Of are the processes without which it will never be so.
	Of []*Process
}

// pollInterval keeps a start of a few seconds from growing by half an interval a step.
const pollInterval = 50 * time.Millisecond

// Until probes until the probe succeeds. It gives up when the time is over,
// when ctx is, or when one of the processes has ended.
func (w Wait) Until(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.Timeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		last := w.Probe(ctx)
		if last == nil {
			return nil
		}
		for _, p := range w.Of {
			if err := p.ended(); err != nil {
				return fmt.Errorf("waiting for %s: %w", w.For, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w after %s: %w%s", w.For, ctx.Err(), w.Timeout, last, w.tails())
		case <-tick.C:
		}
	}
}

func (w Wait) tails() string {
	var b strings.Builder
	for _, p := range w.Of {
		b.WriteString("\n" + p.Tail())
	}
	return b.String()
}
