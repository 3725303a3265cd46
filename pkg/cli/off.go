package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/view"
)

func settleFlag(f *pflag.FlagSet, settle *time.Duration) {
	f.DurationVar(settle, "settle-time", 3*time.Second, "how long to wait for ingress controllers to follow after the controller has restored everything; 0 = do not wait")
}

type offOptions struct {
	changeOptions
	settle time.Duration
}

func (s *session) offCommand() *cobra.Command {
	var o offOptions
	c := &cobra.Command{
		Use:   "off (TYPE/NAME… | TYPE -l SELECTOR | --host HOST)",
		Short: "End maintenance: visitors get the app again",
		Long: `Ends maintenance, and waits until the controller has restored everything and ingress controllers have followed. It ends
for everybody, also for commands that keep it up.

If a field manager applies the annotation, as GitOps tools do, it would write it back: off then names the field manager,
changes nothing, and exits with 1.`,
		Example: `  kubectl maintenance off ingress/my-app
  kubectl maintenance off --host my-app.example -A`,
		ValidArgsFunction: s.completeInMaintenance,
	}
	f := c.Flags()
	f.SortFlags = false
	o.choice.flags(f)
	f.BoolVar(&o.wait, "wait", true, "wait until visitors get the app")
	timeoutFlag(f, &o.timeout)
	settleFlag(f, &o.settle)
	o.changeOptions.flags(f)
	s.completeFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error { return s.off(c.Context(), &o, args) }
	return c
}

func (o *offOptions) check(args []string) error {
	if o.settle < 0 {
		return usagef("--settle-time %s is negative", o.settle)
	}
	return o.changeOptions.check(args)
}

func (s *session) off(ctx context.Context, o *offOptions, args []string) error {
	if err := o.check(args); err != nil {
		return err
	}
	return verb{
		question: "End maintenance of",
		prepare: func(all []found) ([]found, error) {
			if len(o.names) == 0 { // only targets in maintenance were meant
				all = s.inMaintenance(all)
			}
			return all, nil
		},
		request: s.requestEnd,
		await: func(ctx context.Context, done []result) ([]result, error) {
			return s.awaitRestored(ctx, done, o.timeout, o.settle)
		},
	}.run(ctx, s, &o.changeOptions)
}

func (s *session) inMaintenance(all []found) (some []found) {
	for _, f := range all {
		if _, in := f.row(s.keys); in {
			some = append(some, f)
		}
	}
	return some
}

// requestEnd writes the end of maintenance. It also deletes the Leases of commands, if that
// is allowed, since they no longer hold anything.
func (s *session) requestEnd(ctx context.Context, all []found, dryRun []string) (done []result, failed error) {
	for _, f := range all {
		if names := s.annotated(f).appliers(s.keys.Enabled); len(names) > 0 && s.annotated(f).on() {
			failed = errors.Join(failed, fmt.Errorf("%s: field manager %q applies %s and would write it back: remove it from what that applies; nothing was changed",
				s.label(f.ref()), strings.Join(names, `", "`), s.keys.Enabled))
			continue
		}
		outcome := outcomeEnding
		row, in := f.row(s.keys)
		changed, err := s.change(ctx, &f, dryRun, annotated.turnOff)
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
			continue
		case !changed && !in:
			outcome = outcomeOff
		}
		if changed && s.annotated(f).request().Enabled == annotations.Off {
			s.tell("%s: maintenance had started automatically. Annotation %s is now \"false\", so that it does not start again until you remove that", s.label(f.ref()), s.keys.Enabled)
		}
		if dryRun != nil {
			outcome += dryRunSuffix
		} else {
			s.deleteLeases(ctx, f.ref().Namespace, row.Leases)
		}
		done = append(done, result{found: f, outcome: outcome})
	}
	return done, failed
}

// awaitRestored waits until the controller has restored everything and ingress controllers
// have followed, and returns the targets that are restored.
func (s *session) awaitRestored(ctx context.Context, all []result, timeout, settle time.Duration) (done []result, err error) {
	var ending []found
	for _, r := range all {
		if r.outcome != outcomeOff {
			ending = append(ending, r.found)
		}
	}
	restored := map[string]bool{}
	err = s.await(ctx, ending, timeout, func(row view.Row, on bool) (bool, error) {
		if on {
			return false, errors.New("somebody asked for maintenance again")
		}
		if row.Cause != "" && row.State != view.Ending && row.State != annotations.Restoring {
			return false, fmt.Errorf("it automatically stays in maintenance: %s; run 'off' again to switch that off", row.Cause)
		}
		restored[row.Ref().String()] = row.State == view.Off
		return row.State == view.Off, nil
	})
	for i := range all {
		if restored[all[i].ref().String()] {
			all[i].outcome = outcomeRestored
			done = append(done, all[i])
		} else if all[i].outcome == outcomeOff {
			done = append(done, all[i])
		}
	}
	if len(restored) > 0 && ctx.Err() == nil {
		err = errors.Join(err, s.awaitFollowed(ctx, done, settle))
	}
	return done, err
}

// awaitFollowed waits for ingress controllers. Those of Gateways report what they have seen
// of an object, and have ten times the settle time to do so. Others do not report anything,
// so for them it waits the settle time.
func (s *session) awaitFollowed(ctx context.Context, all []result, settle time.Duration) error {
	begun := s.Now()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-afterOrNow(settle):
	}
	for _, r := range all {
		for r.kind.Followers != nil && r.outcome == outcomeRestored && settle > 0 {
			f, err := s.get(ctx, r.ref())
			if err != nil {
				return err
			}
			behind := behindOf(f)
			if behind == "" {
				break
			}
			if s.Now().Sub(begun) > 10*settle {
				s.tell("Warning: %s is restored, but %s has not reported that it has seen the change", s.label(r.ref()), behind)
				break
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-after(settle / 4):
			}
		}
	}
	return nil
}

// behindOf names the first controller that has not seen the current object; empty if all
// have.
func behindOf(f found) string {
	for _, follower := range f.kind.Followers(f.object.Object) {
		if follower.Seen > 0 && follower.Seen < f.object.GetGeneration() {
			return follower.Name
		}
	}
	return ""
}

// afterOrNow is like time.After, but it fires at once if d is not positive.
func afterOrNow(d time.Duration) <-chan time.Time {
	if d <= 0 {
		now := make(chan time.Time, 1)
		now <- time.Time{}
		return now
	}
	return time.After(d)
}
