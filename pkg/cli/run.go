package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const runName = "run"

type runOptions struct {
	choice
	detailOptions
	timeout, settle time.Duration
	lease           time.Duration
	kill            bool
}

func (s *session) runCommand() *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   runName + " TYPE/NAME… -- COMMAND…",
		Short: "Keep targets in maintenance for as long as a command runs",
		Long: `Starts maintenance, waits until visitors get the page, runs a command, and ends maintenance when the command has ended,
even if it failed. If this machine dies or loses the cluster, the Lease that it renews expires, and that ends maintenance.

If several commands keep a target in maintenance, the last one ends it. A command never ends maintenance that a person
started. If somebody runs 'on' or 'off' in the meantime, that counts: the command keeps running, and a warning says so.

It exits with the code of its command, with 128 plus the number of the signal that killed it, or with 125 if anything
else failed.`,
		Example: `  kubectl maintenance run ingress/my-app -- ./migrate.sh --all
  kubectl maintenance run ingress/my-app ingressroute/shop --reason 'upgrade' -- helm upgrade shop ./shop --wait`,
		ValidArgsFunction: s.completeRun,
	}
	f := c.Flags()
	f.SortFlags = false
	o.detailOptions.flags(f)
	timeoutFlag(f, &o.timeout)
	settleFlag(f, &o.settle)
	f.DurationVar(&o.lease, "lease-duration", time.Minute, "how long maintenance continues when nobody renews the Lease, 10s to 1h; it is renewed three times in this time")
	f.BoolVar(&o.kill, "kill-on-lapse", false, "end the command when maintenance no longer holds: the Lease could not be renewed in time, or somebody ended maintenance")
	s.completeFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		dash := c.ArgsLenAtDash()
		if dash < 0 || dash == len(args) {
			return usagef("put the command after --, such as: kubectl maintenance run ingress/my-app -- ./migrate.sh")
		}
		code, err := s.run(c.Context(), &o, f, args[:dash], args[dash:])
		switch {
		case err != nil && code == ExitOK:
			return failure{ExitRunFailed, err}
		case err != nil:
			s.tellError("%s", explain(err))
			return failure{code, errReported}
		case code != ExitOK:
			return failure{code, errReported}
		}
		return nil
	}
	return c
}

func (o *runOptions) check(args []string) error {
	switch {
	case o.lease < 10*time.Second || o.lease > time.Hour:
		return usagef("--lease-duration %s is not between 10s and 1h", o.lease)
	case o.timeout < 0 || o.settle < 0:
		return usagef("--timeout and --settle-time must not be negative")
	}
	return o.chosen(args)
}

// run keeps the targets in maintenance while the command runs. It returns the command's exit
// code, and an error if anything else fails.
func (s *session) run(ctx context.Context, o *runOptions, f *pflag.FlagSet, args, command []string) (code int, err error) {
	if err := o.check(args); err != nil {
		return ExitOK, err
	}
	if _, err := exec.LookPath(command[0]); err != nil && !errors.Is(err, exec.ErrDot) {
		return ExitOK, fmt.Errorf("%w: nothing was changed", err)
	}
	if err := s.connect(); err != nil {
		return ExitOK, err
	}
	before, stop := s.untilSignal(ctx)
	defer stop()
	all, err := s.find(before, o.choice)
	if err == nil {
		all, err = s.withBackends(all, o.choice)
	}
	if err != nil {
		return ExitOK, err
	}
	k := newKeeper(s, o, all)
	keep, end := context.WithCancel(ctx)
	defer end()
	err = k.start(before, keep, o.details(f))
	stop() // from now on, signals are for the command
	if err == nil {
		code, err = s.runCommandLine(ctx, command, k.lapsed)
	}
	end()
	return code, errors.Join(err, k.end(ctx))
}

// holder is the holder identity of a Lease: who renews it.
func holder(by string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s@%s/%d", strings.TrimSpace(by), host, os.Getpid())
}

// terminationTime is how long a command has to end before it is killed.
const terminationTime = 10 * time.Second

// runCommandLine runs the command with this process's input and output, and passes signals
// on to it. A lapse ends it.
func (s *session) runCommandLine(ctx context.Context, command []string, lapsed <-chan error) (code int, err error) {
	c := exec.CommandContext(context.WithoutCancel(ctx), command[0], command[1:]...)
	c.Stdin, c.Stdout, c.Stderr = s.Stdin, s.Stdout, s.Stderr
	if err := c.Start(); err != nil {
		return ExitOK, fmt.Errorf("run %s: %w", command[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	var killing <-chan time.Time
	var lapse error
	for {
		select {
		case err := <-ended:
			code := exitCode(c.ProcessState, err)
			if lapse != nil {
				return ExitOK, lapse
			}
			return code, nil
		case sig := <-s.Signals:
			if !s.StdinIsTerminal || !fromKeyboard(sig) { // the terminal has sent it to the command itself
				_ = c.Process.Signal(sig) // it may have ended
			}
		case lapse = <-lapsed:
			s.tellError("ending the command: %v", lapse)
			_ = c.Process.Signal(terminationSignal())
			killing = after(terminationTime)
		case <-killing:
			_ = c.Process.Kill()
		}
	}
}

// exitCode is the exit code as a shell would report it.
func exitCode(state *os.ProcessState, err error) int {
	if number, killed := killedBy(state); killed {
		return 128 + number
	}
	if code := state.ExitCode(); code >= 0 {
		return code
	}
	if err != nil {
		return ExitFailed
	}
	return ExitOK
}
