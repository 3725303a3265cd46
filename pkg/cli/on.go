package cli

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/view"
)

// detailOptions are the flags for details of maintenance, of on and run.
type detailOptions struct{ page, reason, by string }

func (o *detailOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.page, "page", "", "name of the page; empty = the default page")
	f.StringVar(&o.reason, "reason", "", fmt.Sprintf("why, shown to others; at most %d bytes of it", annotations.MaxReason))
	f.StringVar(&o.by, "by", "", "who you are, shown to others; by default your user name on this machine")
}

// details that the flags give.
func (o *detailOptions) details(f *pflag.FlagSet) details {
	d := details{by: o.by, byGiven: f.Changed("by")}
	if f.Changed("page") {
		d.page = &o.page
	}
	if f.Changed("reason") {
		d.reason = &o.reason
	}
	if u, err := user.Current(); err == nil && !d.byGiven {
		d.by = u.Username
	}
	return d
}

type onOptions struct {
	changeOptions
	detailOptions
	duration time.Duration
	until    string
}

func (s *session) onCommand() *cobra.Command {
	var o onOptions
	c := &cobra.Command{
		Use:   "on (TYPE/NAME… | TYPE -l SELECTOR | --host HOST)",
		Short: "Start maintenance: visitors get the page",
		Long: `Starts maintenance: visitors get the page in place of the app, until 'off' ends it or the time given by --for or --until
comes. On a target that is already in maintenance it changes only what you give.

If a command ('run') keeps the target in maintenance, it no longer ends it then.`,
		Example: `  kubectl maintenance on ingress/my-app
  kubectl maintenance on ingress/my-app --for 2h --reason 'moving the database' --page spring
  kubectl maintenance on ingressroute -l app=shop --yes
  kubectl maintenance on --host my-app.example`,
		ValidArgsFunction: s.completeTargets,
	}
	f := c.Flags()
	f.SortFlags = false
	o.choice.flags(f)
	o.detailOptions.flags(f)
	timeoutFlag(f, &o.timeout)
	f.DurationVar(&o.duration, "for", 0, "end automatically after this time, such as 90m or 2h, by the API server's clock")
	f.StringVar(&o.until, "until", "", "end automatically at this time, RFC 3339 with an offset, such as 2026-01-31T18:00:00+01:00; never = remove the end")
	f.BoolVar(&o.wait, "wait", false, "wait until visitors get the page; the default on a terminal")
	o.changeOptions.flags(f)
	s.completeFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if !f.Changed("wait") {
			o.wait = s.StderrIsTerminal
		}
		return s.on(c.Context(), &o, f, args)
	}
	return c
}

func (o *onOptions) check(f *pflag.FlagSet, args []string) error {
	switch {
	case f.Changed("for") && f.Changed("until"):
		return usagef("--for and --until both say when maintenance ends: give only one")
	case f.Changed("for") && o.duration < time.Second:
		return usagef("--for %s is too short: give at least 1s", o.duration)
	}
	return o.changeOptions.check(args)
}

func (s *session) on(ctx context.Context, o *onOptions, f *pflag.FlagSet, args []string) error {
	if err := o.check(f, args); err != nil {
		return err
	}
	d := o.details(f)
	return verb{
		question: "Start maintenance of",
		prepare: func(all []found) ([]found, error) {
			all, err := s.withBackends(all, o.choice)
			if err == nil {
				d.until, err = s.until(o, f)
			}
			return all, err
		},
		request: func(ctx context.Context, all []found, dryRun []string) ([]result, error) {
			return s.requestStart(ctx, all, d, dryRun)
		},
		await: func(ctx context.Context, done []result) ([]result, error) {
			return s.awaitActive(ctx, done, o.timeout)
		},
	}.run(ctx, s, &o.changeOptions)
}

// until is when maintenance ends automatically; nil if the flags do not say, and zero for
// never.
func (s *session) until(o *onOptions, f *pflag.FlagSet) (*time.Time, error) {
	now, known := s.clock.Now()
	var until time.Time
	switch {
	case f.Changed("for") && !known:
		return nil, usagef("the API server does not tell the time, so --for has nothing to count from: use --until")
	case f.Changed("for"):
		until = now.Add(o.duration).Truncate(time.Second)
	case !f.Changed("until"):
		return nil, nil
	case o.until == "never":
	default:
		var err error
		if until, err = time.Parse(time.RFC3339, o.until); err != nil {
			return nil, usagef("--until %q is not a time in RFC 3339 with an offset, such as %s", o.until, s.clock.Estimate().Add(2*time.Hour).Local().Format(time.RFC3339))
		}
		if !until.After(s.clock.Estimate()) {
			return nil, usagef("--until %s has passed: it is now %s", o.until, s.clock.Estimate().Local().Format(time.RFC3339))
		}
	}
	return &until, nil
}

// withBackends removes targets without a backend that a page could replace. A target that
// was named must have one.
func (s *session) withBackends(all []found, c choice) (some []found, err error) {
	var errs []error
	for _, f := range all {
		if hasBackends(f) {
			some = append(some, f)
			continue
		}
		why := f.kind.Note(f.object.Object).Refused
		if _, err := f.kind.Slots(f.object.Object); err != nil {
			why = err.Error()
		}
		if why == "" {
			why = "it has no backend that a page could replace"
		}
		errs = append(errs, fmt.Errorf("%s cannot be put in maintenance: %s", s.label(f.ref()), why))
	}
	if err = errors.Join(errs...); err == nil || len(c.names) == 0 && len(some) > 0 {
		if err != nil {
			s.tell("Left out: %s", strings.ReplaceAll(err.Error(), "\n", "\nLeft out: "))
		}
		return some, nil
	}
	return nil, err
}

// requestStart writes the request for maintenance.
func (s *session) requestStart(ctx context.Context, all []found, d details, dryRun []string) (done []result, failed error) {
	for _, f := range all {
		before := s.annotated(f)
		for _, manager := range before.appliers(s.keys.Enabled) {
			if !before.on() {
				s.tell("Warning: %s: field manager %q applies %s and may write its own value back: change it in what that applies", s.label(f.ref()), manager, s.keys.Enabled)
			}
		}
		held := len(before.request().Leases) > 0
		changed, err := s.change(ctx, &f, dryRun, func(a annotated) changes { return a.turnOn(d) })
		outcome := outcomeStarting
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
			continue
		case !changed:
			outcome = outcomeAlready
		case before.on() && !before.expired():
			outcome = outcomeChanged
		}
		if changed && before.on() && held {
			s.tell("%s was kept in maintenance by a command, which no longer ends it: use 'kubectl maintenance off'", s.label(f.ref()))
		}
		if dryRun != nil {
			outcome += dryRunSuffix
		}
		done = append(done, result{found: f, outcome: outcome})
	}
	return done, failed
}

// errWithdrawn says that somebody ended maintenance before it had begun.
var errWithdrawn = errors.New("somebody withdrew the request for maintenance")

// awaitActive waits until visitors get the page, and returns the targets for which they do.
func (s *session) awaitActive(ctx context.Context, all []result, timeout time.Duration) (done []result, err error) {
	active := map[string]bool{}
	err = s.await(ctx, foundOf(all), timeout, func(row view.Row, on bool) (bool, error) {
		if !on {
			return false, errWithdrawn
		}
		shown, err := s.showsPage(ctx, row)
		active[row.Ref().String()] = shown
		return shown, err
	})
	for _, r := range all {
		if active[r.ref().String()] {
			if r.outcome == outcomeStarting {
				r.outcome = outcomeActive
			}
			done = append(done, r)
		}
	}
	return done, err
}

// showsPage says whether visitors get the page. The state of a target that is being restored
// is active until the controller has seen the app on it, so the backends count as well.
func (s *session) showsPage(ctx context.Context, row view.Row) (bool, error) {
	if row.State != annotations.Active {
		return false, nil
	}
	f, err := s.get(ctx, row.Ref())
	if err != nil {
		return false, err
	}
	now, _ := f.row(s.keys)
	slots, err := f.kind.Slots(f.object.Object)
	return now.State == annotations.Active && swap.OnPage(slots), err
}

func foundOf(all []result) (some []found) {
	for _, r := range all {
		some = append(some, r.found)
	}
	return some
}
