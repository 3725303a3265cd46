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
	begins
	settle time.Duration
	lease  time.Duration
	kill   bool
}

func (s *session) runCommand() *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   runName + " TYPE/NAME… -- COMMAND…",
		Short: "Maintenance for as long as a command runs",
		Long: `Starts maintenance, waits until visitors get the page, runs a command, and ends maintenance when the command has ended,
however that was. Should this machine die or lose the cluster, a Lease ends it: nobody renews that any more.

Of several commands the last ends it. What a person has put in maintenance is never ended by a command, and a person's
'on' or 'off' meanwhile counts: the command runs on, and it is told.

It exits with the code of its command, 128 and the number of the signal that killed it, or 125 for what is not its command's.`,
		Example: `  kubectl maintenance run ingress/my-app -- ./migrate.sh --all
  kubectl maintenance run ingress/my-app ingressroute/shop --reason 'upgrade' -- helm upgrade shop ./shop --wait`,
		ValidArgsFunction: s.completeRun,
	}
	f := c.Flags()
	f.SortFlags = false
	o.begins.flags(f)
	settleFlag(f, &o.settle)
	f.DurationVar(&o.lease, "lease-duration", time.Minute, "how long maintenance goes on when nobody renews the Lease, 10s to 1h; it is renewed three times as often")
	f.BoolVar(&o.kill, "kill-on-lapse", false, "end the command when maintenance does not hold any more: the Lease could not be renewed in time, or somebody has ended it")
	s.completeFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		dash := c.ArgsLenAtDash()
		if dash < 0 || dash == len(args) {
			return usagef("put the command behind --, such as: kubectl maintenance run ingress/my-app -- ./migrate.sh")
		}
		code, err := s.run(c.Context(), &o, f, args[:dash], args[dash:])
		switch {
		case err != nil && code == Done:
			return failure{OwnFailure, err}
		case err != nil:
			s.complain("%s", explain(err))
			return failure{code, errReported}
		case code != Done:
			return failure{code, errReported}
		}
		return nil
	}
	return c
}

func (o *runOptions) check(args []string) error {
	switch {
	case o.lease < 10*time.Second || o.lease > time.Hour:
		return usagef("--lease-duration %s is not 10s to 1h", o.lease)
	case o.timeout < 0 || o.settle < 0:
		return usagef("--timeout and --settle-time must not be below 0")
	}
	return o.chosen(args)
}

// run does all of it. The code is the command's; an error is of all else.
func (s *session) run(ctx context.Context, o *runOptions, f *pflag.FlagSet, args, command []string) (code int, err error) {
	if err := o.check(args); err != nil {
		return Done, err
	}
	if _, err := exec.LookPath(command[0]); err != nil && !errors.Is(err, exec.ErrDot) {
		return Done, fmt.Errorf("%w: nothing was changed", err)
	}
	if err := s.connect(); err != nil {
		return Done, err
	}
	before, stop := s.interrupted(ctx)
	defer stop()
	all, err := s.find(before, o.choice)
	if err == nil {
		all, err = s.capable(all, o.choice)
	}
	if err != nil {
		return Done, err
	}
	k := newKeeper(s, o, all)
	keep, end := context.WithCancel(ctx)
	defer end()
	err = k.begin(before, keep, o.ask(f))
	stop() // from now on, signals are the command's
	if err == nil {
		code, err = s.runCommandLine(ctx, command, k.lapsed)
	}
	end()
	return code, errors.Join(err, k.end(ctx))
}

// holder says who renews a Lease, for those who look at it.
func holder(by string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s@%s/%d", strings.TrimSpace(by), host, os.Getpid())
}

// gentle is for how long a command that is to end may take.
const gentle = 10 * time.Second

// runCommandLine runs the command with this process's input and output, and passes signals
// on. A lapse is what kills it, if it is to be killed for one.
func (s *session) runCommandLine(ctx context.Context, command []string, lapsed <-chan error) (code int, err error) {
	c := exec.CommandContext(context.WithoutCancel(ctx), command[0], command[1:]...)
	c.Stdin, c.Stdout, c.Stderr = s.Stdin, s.Stdout, s.Stderr
	if err := c.Start(); err != nil {
		return Done, fmt.Errorf("run %s: %w", command[0], err)
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
				return Done, lapse
			}
			return code, nil
		case sig := <-s.Signals:
			if !s.Asks || !fromKeyboard(sig) { // the terminal has sent it to the command itself
				_ = c.Process.Signal(sig) // it may have ended
			}
		case lapse = <-lapsed:
			s.complain("the command is ended: %v", lapse)
			_ = c.Process.Signal(gentleSignal())
			killing = after(gentle)
		case <-killing:
			_ = c.Process.Kill()
		}
	}
}

// exitCode is as a shell has it.
func exitCode(state *os.ProcessState, err error) int {
	if number, killed := killedBy(state); killed {
		return 128 + number
	}
	if code := state.ExitCode(); code >= 0 {
		return code
	}
	if err != nil {
		return Failed
	}
	return Done
}
