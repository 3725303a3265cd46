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

// tailLines is the number of log lines in an error: enough for a Go program's last messages, and
// few enough to read.
const tailLines = 12

// Process is a running or ended program.
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

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done returns a channel that is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Kill sends SIGKILL and waits for the end of the process.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it fails only if the process has ended
	<-p.done
}

// Terminate sends SIGTERM, and kills the process if it has not ended after grace.
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

// ended returns nil while the process runs, and afterwards an error that says how it ended, with
// the end of its log.
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

// Tail returns the last lines of the process's log, ready to be printed.
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

// readTail returns the last bytes of a file, at most limit.
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

// Wait is a wait, with a timeout, for something that processes do.
type Wait struct {
	For     string                      // what for; it completes "waiting for …" in errors
	Timeout time.Duration               // the longest wait; zero fails after one probe
	Probe   func(context.Context) error // returns nil once the condition holds
	Of      []*Process                  // the wait fails as soon as one of these processes ends
}

// pollInterval is short, since each step of a start waits half of it on average.
const pollInterval = 50 * time.Millisecond

// Until calls Probe until it succeeds. It returns an error, with the last one of Probe, when the
// timeout is over or ctx is done, and when one of the processes has ended.
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
