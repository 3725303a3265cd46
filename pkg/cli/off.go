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

// ends says how long to wait for the end of maintenance.
type ends struct {
	settle, timeout time.Duration
}

func settleFlag(f *pflag.FlagSet, settle *time.Duration) {
	f.DurationVar(settle, "settle-time", 3*time.Second, "how long ingress controllers may take to follow what the controller has restored; 0 does not wait for them")
}

type offOptions struct {
	choice
	ends
	outcome
	yes, waits bool
	dryRun     string
}

func (s *session) offCommand() *cobra.Command {
	var o offOptions
	c := &cobra.Command{
		Use:   "off (TYPE/NAME… | TYPE -l SELECTOR | --host HOST)",
		Short: "End maintenance: visitors get the app again",
		Long: `Ends maintenance, and waits until the controller has put everything back and ingress controllers have followed. It is
ended for everybody, commands that keep it up among them.

Where a field manager applies the annotation, as GitOps tools do, it would be put back: off names it, changes nothing, and exits with 1.`,
		Example: `  kubectl maintenance off ingress/my-app
  kubectl maintenance off --host my-app.example -A`,
		ValidArgsFunction: s.completeInMaintenance,
	}
	f := c.Flags()
	f.SortFlags = false
	o.choice.flags(f)
	f.BoolVar(&o.waits, "wait", true, "wait until visitors get the app")
	f.DurationVar(&o.timeout, "timeout", 5*time.Minute, "how long to wait; 0 is for ever")
	settleFlag(f, &o.settle)
	f.StringVar(&o.dryRun, "dry-run", "none", "server: have the API server check it, and change nothing")
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask before more than one target")
	o.outcome.flags(f)
	s.completeFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error { return s.off(c.Context(), &o, args) }
	return c
}

func (o *offOptions) check(args []string) error {
	if o.timeout < 0 || o.settle < 0 {
		return usagef("--timeout and --settle-time must not be below 0")
	}
	if err := o.outcome.check(); err != nil {
		return err
	}
	return o.chosen(args)
}

func (s *session) off(ctx context.Context, o *offOptions, args []string) error {
	if err := o.check(args); err != nil {
		return err
	}
	dryRun, err := dryRunFlag(o.dryRun)
	if err != nil {
		return err
	}
	if err := s.connect(); err != nil {
		return err
	}
	ctx, stop := s.interrupted(ctx)
	defer stop()
	all, err := s.find(ctx, o.choice)
	if err != nil {
		return err
	}
	if len(o.names) == 0 { // what is not in maintenance was not meant
		all = s.inMaintenance(all)
	}
	if len(all) > 1 && !o.yes && dryRun == nil {
		if err := s.confirm(ctx, "End maintenance of", all); err != nil {
			return err
		}
	}
	done, failed := s.finish(ctx, all, dryRun)
	if o.waits && dryRun == nil && len(done) > 0 {
		var err error
		done, err = s.awaitRestored(ctx, done, o.ends)
		failed = errors.Join(failed, err)
	}
	return errors.Join(o.show(s, done), failed)
}

func (s *session) inMaintenance(all []found) (some []found) {
	for _, f := range all {
		if _, in := f.row(s.keys); in {
			some = append(some, f)
		}
	}
	return some
}

const (
	notInMaintenance = "not in maintenance"
	endRequested     = "end of maintenance requested"
)

// finish writes what ends maintenance, and gives those where that was done. Leases of
// commands go as well, where that is allowed: they would hold nothing.
func (s *session) finish(ctx context.Context, all []found, dryRun []string) (done []changed, failed error) {
	for _, f := range all {
		if names := s.written(f).appliers(s.keys.Enabled); len(names) > 0 && s.written(f).on() {
			failed = errors.Join(failed, fmt.Errorf("%s: field manager %q applies %s and would put it back: take it out of what that applies; nothing was changed",
				s.label(f.ref()), strings.Join(names, `", "`), s.keys.Enabled))
			continue
		}
		what := endRequested
		row, in := f.row(s.keys)
		did, err := s.change(ctx, &f, dryRun, written.finish)
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
			continue
		case !did && !in:
			what = notInMaintenance
		}
		if did && s.written(f).request().Enabled == annotations.Off {
			s.tell("%s began by itself: annotation %s is \"false\" now, so that it does not again until you take that off", s.label(f.ref()), s.keys.Enabled)
		}
		if dryRun != nil {
			what += " (server dry run)"
		} else {
			s.dropLeases(ctx, f.ref().Namespace, row.Leases)
		}
		done = append(done, changed{found: f, what: what})
	}
	return done, failed
}

// awaitRestored waits until the controller has put everything back, and ingress controllers
// have followed.
func (s *session) awaitRestored(ctx context.Context, all []changed, e ends) (done []changed, err error) {
	var rest []found
	for _, c := range all {
		if c.what != notInMaintenance {
			rest = append(rest, c.found)
		}
	}
	restored := map[string]bool{}
	err = s.await(ctx, rest, e.timeout, func(row view.Row, on bool) (bool, error) {
		if on {
			return false, errors.New("somebody asked for maintenance again meanwhile")
		}
		if row.Cause != "" && row.State != view.Ending && row.State != annotations.Restoring {
			return false, fmt.Errorf("it stays in maintenance by itself: %s; 'off' once more switches that off", row.Cause)
		}
		restored[row.Ref().String()] = row.State == view.Off
		return row.State == view.Off, nil
	})
	for i := range all {
		if restored[all[i].ref().String()] {
			all[i].what = "restored"
			done = append(done, all[i])
		} else if all[i].what == notInMaintenance {
			done = append(done, all[i])
		}
	}
	if len(restored) > 0 && ctx.Err() == nil {
		err = errors.Join(err, s.awaitFollowed(ctx, done, e.settle))
	}
	return done, err
}

// awaitFollowed waits for ingress controllers. Those of Gateways say what they have seen of
// an object, and get ten times as long to say so; of others nobody knows, and they get
// the time in which they should have.
func (s *session) awaitFollowed(ctx context.Context, all []changed, settle time.Duration) error {
	begun := s.Now()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-afterAll(settle):
	}
	for _, c := range all {
		for c.kind.Followers != nil && c.what == "restored" && settle > 0 {
			f, err := s.get(ctx, c.ref())
			if err != nil {
				return err
			}
			behind := behindOf(f)
			if behind == "" {
				break
			}
			if s.Now().Sub(begun) > 10*settle {
				s.tell("Warning: %s is restored, but %s has not shown that it has seen that", s.label(c.ref()), behind)
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

// behindOf names the first of the controllers that have not seen the object as it is.
func behindOf(f found) string {
	for _, follower := range f.kind.Followers(f.object.Object) {
		if follower.Seen > 0 && follower.Seen < f.object.GetGeneration() {
			return follower.Name
		}
	}
	return ""
}

// afterAll is after, but none has passed at once.
func afterAll(d time.Duration) <-chan time.Time {
	if d <= 0 {
		now := make(chan time.Time, 1)
		now <- time.Time{}
		return now
	}
	return time.After(d)
}
