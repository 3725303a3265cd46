package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"
)

// changeOptions are the flags that on and off have in common.
type changeOptions struct {
	choice
	output
	timeout time.Duration
	wait    bool
	dryRun  string
	yes     bool
}

func timeoutFlag(f *pflag.FlagSet, timeout *time.Duration) {
	f.DurationVar(timeout, "timeout", 5*time.Minute, "how long to wait; 0 = without limit")
}

// flags adds those that come last in the help.
func (o *changeOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.dryRun, "dry-run", "none", "server = have the API server check the change, without making it")
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask before changing more than one target")
	o.output.flags(f)
}

func (o *changeOptions) check(args []string) error {
	if o.timeout < 0 {
		return usagef("--timeout %s is negative", o.timeout)
	}
	if err := o.output.check(); err != nil {
		return err
	}
	return o.chosen(args)
}

// What a verb has done with a target, as people are told.
const (
	outcomeStarting = "maintenance requested"
	outcomeActive   = "in maintenance"
	outcomeAlready  = "already in maintenance"
	outcomeChanged  = "maintenance changed"
	outcomeOff      = "not in maintenance"
	outcomeEnding   = "end of maintenance requested"
	outcomeRestored = "restored"
	dryRunSuffix    = " (server dry run)"
)

// result is a target that a verb has changed.
type result struct {
	found
	outcome string
}

// verb is what on and off do differently.
type verb struct {
	// question is asked before more than one target is changed.
	question string
	// prepare checks the targets that were found, and removes those that the verb is not
	// for.
	prepare func(all []found) ([]found, error)
	// request asks the controller for the change. It returns the targets for which that
	// succeeded, and an error for the others.
	request func(ctx context.Context, all []found, dryRun []string) ([]result, error)
	// await waits until visitors get what was requested. It returns the targets for which
	// that succeeded, and an error for the others.
	await func(ctx context.Context, done []result) ([]result, error)
}

// run applies a verb to the chosen targets.
func (v verb) run(ctx context.Context, s *session, o *changeOptions) error {
	dryRun, err := dryRunFlag(o.dryRun)
	if err != nil {
		return err
	}
	if err := s.connect(); err != nil {
		return err
	}
	ctx, stop := s.untilSignal(ctx)
	defer stop()
	all, err := s.find(ctx, o.choice)
	if err == nil {
		all, err = v.prepare(all)
	}
	if err != nil {
		return err
	}
	if len(all) > 1 && !o.yes && dryRun == nil {
		if err := s.confirm(ctx, v.question, all); err != nil {
			return err
		}
	}
	done, failed := v.request(ctx, all, dryRun)
	if o.wait && dryRun == nil && len(done) > 0 {
		var err error
		done, err = v.await(ctx, done)
		failed = errors.Join(failed, err)
	}
	return errors.Join(o.show(s, done), failed)
}
