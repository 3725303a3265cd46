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

// begins are the flags of what begins maintenance.
type begins struct {
	page, reason, by string
	timeout          time.Duration
}

func (b *begins) flags(f *pflag.FlagSet) {
	f.StringVar(&b.page, "page", "", "name of the page; the default page if there is none")
	f.StringVar(&b.reason, "reason", "", fmt.Sprintf("why, for others; %d bytes of it are shown", annotations.MaxReason))
	f.StringVar(&b.by, "by", "", "who you are, for others; your name on this machine if it is not given")
	f.DurationVar(&b.timeout, "timeout", 5*time.Minute, "how long to wait; 0 is for ever")
}

// ask is what the flags say.
func (b *begins) ask(f *pflag.FlagSet) ask {
	a := ask{by: b.by, byGiven: f.Changed("by")}
	if f.Changed("page") {
		a.page = &b.page
	}
	if f.Changed("reason") {
		a.reason = &b.reason
	}
	if u, err := user.Current(); err == nil && !a.byGiven {
		a.by = u.Username
	}
	return a
}

type onOptions struct {
	choice
	begins
	outcome
	dur        time.Duration
	until      string
	yes, waits bool
	dryRun     string
}

func (s *session) onCommand() *cobra.Command {
	var o onOptions
	c := &cobra.Command{
		Use:   "on (TYPE/NAME… | TYPE -l SELECTOR | --host HOST)",
		Short: "Start maintenance: visitors get the page",
		Long: `Starts maintenance: visitors get the page in place of the app, until it is ended by 'off', or by itself where --for or
--until say when. On what is in maintenance already it changes what is said, and leaves the rest.

A command that keeps maintenance up ('run') no longer ends it then.`,
		Example: `  kubectl maintenance on ingress/my-app
  kubectl maintenance on ingress/my-app --for 2h --reason 'moving the database' --page spring
  kubectl maintenance on ingressroute -l app=shop --yes
  kubectl maintenance on --host my-app.example`,
		ValidArgsFunction: s.completeTargets,
	}
	f := c.Flags()
	f.SortFlags = false
	o.choice.flags(f)
	o.begins.flags(f)
	f.DurationVar(&o.dur, "for", 0, "end by itself after this time, such as 90m or 2h, counted by the API server's clock")
	f.StringVar(&o.until, "until", "", "end by itself at this time, RFC 3339 with an offset, such as 2026-01-31T18:00:00+01:00; never takes an end off")
	f.BoolVar(&o.waits, "wait", false, "wait until visitors get the page; the default on a terminal")
	f.StringVar(&o.dryRun, "dry-run", "none", "server: have the API server check it, and change nothing")
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask before more than one target")
	o.outcome.flags(f)
	s.completeFlags(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		if !f.Changed("wait") {
			o.waits = s.Shows
		}
		return s.on(c.Context(), &o, f, args)
	}
	return c
}

func (o *onOptions) check(f *pflag.FlagSet, args []string) error {
	switch {
	case f.Changed("for") && f.Changed("until"):
		return usagef("--for and --until both say when it ends: leave one out")
	case f.Changed("for") && o.dur < time.Second:
		return usagef("--for %s is no time to end after", o.dur)
	case o.timeout < 0:
		return usagef("--timeout %s is below 0", o.timeout)
	}
	if err := o.outcome.check(); err != nil {
		return err
	}
	return o.chosen(args)
}

func (s *session) on(ctx context.Context, o *onOptions, f *pflag.FlagSet, args []string) error {
	if err := o.check(f, args); err != nil {
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
	if all, err = s.capable(all, o.choice); err != nil {
		return err
	}
	if len(all) > 1 && !o.yes && dryRun == nil {
		if err := s.confirm(ctx, "Start maintenance of", all); err != nil {
			return err
		}
	}
	a := o.ask(f)
	if a.until, err = s.end(o, f); err != nil {
		return err
	}
	done, failed := s.begin(ctx, all, a, dryRun)
	if o.waits && dryRun == nil && len(done) > 0 {
		var err error
		done, err = s.awaitActive(ctx, done, o.timeout)
		failed = errors.Join(failed, err)
	}
	return errors.Join(o.show(s, done), failed)
}

// end is when maintenance ends by itself, nil if nothing is said of it.
func (s *session) end(o *onOptions, f *pflag.FlagSet) (*time.Time, error) {
	now, known := s.clock.Now()
	var until time.Time
	switch {
	case f.Changed("for") && !known:
		return nil, usagef("the API server does not say what time it is, so that --for cannot be counted: use --until")
	case f.Changed("for"):
		until = now.Add(o.dur).Truncate(time.Second)
	case !f.Changed("until"):
		return nil, nil
	case o.until == "never":
	default:
		var err error
		if until, err = time.Parse(time.RFC3339, o.until); err != nil {
			return nil, usagef("--until %q is no time in RFC 3339 with an offset, such as %s", o.until, s.clock.Reckon().Add(2*time.Hour).Local().Format(time.RFC3339))
		}
		if !until.After(s.clock.Reckon()) {
			return nil, usagef("--until %s is past: it is %s", o.until, s.clock.Reckon().Local().Format(time.RFC3339))
		}
	}
	return &until, nil
}

// capable leaves out what has no backend that could be on a page. What was named has to
// have one.
func (s *session) capable(all []found, c choice) (some []found, err error) {
	var errs []error
	for _, f := range all {
		if leads(f) {
			some = append(some, f)
			continue
		}
		why := f.kind.Note(f.object.Object).Refused
		if _, err := f.kind.Slots(f.object.Object); err != nil {
			why = err.Error()
		}
		if why == "" {
			why = "it has no backend that a page could stand in for"
		}
		errs = append(errs, fmt.Errorf("%s cannot be in maintenance: %s", s.label(f.ref()), why))
	}
	if err = errors.Join(errs...); err == nil || len(c.names) == 0 && len(some) > 0 {
		if err != nil {
			s.tell("Left out: %s", strings.ReplaceAll(err.Error(), "\n", "\nLeft out: "))
		}
		return some, nil
	}
	return nil, err
}

// outcomes of a target, by which it is shown.
type changed struct {
	found
	what string // in maintenance, …
	row  view.Row
}

// begin writes what starts maintenance, and gives those where that was done.
func (s *session) begin(ctx context.Context, all []found, a ask, dryRun []string) (done []changed, failed error) {
	for _, f := range all {
		for _, manager := range s.written(f).appliers(s.keys.Enabled) {
			if !s.written(f).on() {
				s.tell("Warning: %s: field manager %q applies %s, and may put its own value back: set it there", s.label(f.ref()), manager, s.keys.Enabled)
			}
		}
		was := s.written(f)
		held := len(was.request().Leases) > 0
		did, err := s.change(ctx, &f, dryRun, func(w written) changes { return w.begin(a) })
		what := "maintenance requested"
		switch {
		case err != nil:
			failed = errors.Join(failed, err)
			continue
		case !did:
			what = "already in maintenance"
		case was.on() && !was.past():
			what = "maintenance changed"
		}
		if did && was.on() && held {
			s.tell("%s was kept in maintenance by a command, which no longer ends it: 'kubectl maintenance off' does", s.label(f.ref()))
		}
		if dryRun != nil {
			what += " (server dry run)"
		}
		done = append(done, changed{found: f, what: what})
	}
	return done, failed
}

// errTakenOff: somebody ended maintenance while it was waited for.
var errTakenOff = errors.New("somebody took the request for maintenance off meanwhile")

// awaitActive waits until visitors get the page, and gives those that are so far.
func (s *session) awaitActive(ctx context.Context, all []changed, timeout time.Duration) (done []changed, err error) {
	active := map[string]bool{}
	err = s.await(ctx, foundOf(all), timeout, func(row view.Row, on bool) (bool, error) {
		if !on {
			return false, errTakenOff
		}
		there, err := s.shown(ctx, row)
		active[row.Ref().String()] = there
		return there, err
	})
	for _, c := range all {
		if active[c.ref().String()] {
			if c.what == "maintenance requested" {
				c.what = "in maintenance"
			}
			done = append(done, c)
		}
	}
	return done, err
}

// shown says whether visitors get the page. A target that is being restored says that it is
// active until the app has been seen on it, so that its backends have to say so as well.
func (s *session) shown(ctx context.Context, row view.Row) (bool, error) {
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

func foundOf(all []changed) (some []found) {
	for _, c := range all {
		some = append(some, c.found)
	}
	return some
}
