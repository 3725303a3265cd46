package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/view"
)

// unheard is for how long a target may ask for something before people are told that
// nobody has acted on it.
const unheard = 3 * time.Second

// judge says of a target as it was just seen whether what is waited for has come, or an
// error if it no longer can.
type judge func(row view.Row, on bool) (done bool, err error)

// waiting is the state of a wait.
type waiting struct {
	*session
	judge   judge
	begun   time.Time
	rest    map[target.Ref]found
	seen    map[target.Ref]view.Row
	told    map[target.Ref]string
	failed  error
	offline string // why the API server cannot be followed at the moment
}

// await waits until all targets are as the judge wants them, and tells what each waits for.
// Its error is of those that are not; with a timeout of 0 it waits for ever.
func (s *session) await(ctx context.Context, all []found, timeout time.Duration, j judge) error {
	follow, stop := context.WithCancel(ctx)
	defer stop()
	w := &waiting{session: s, judge: j, begun: s.Now(), rest: map[target.Ref]found{}, seen: map[target.Ref]view.Row{}, told: map[target.Ref]string{}}
	for _, f := range all {
		w.rest[f.ref()] = f
	}
	sightings := s.follow(follow, scopesOf(all))
	end, hush := after(timeout), after(unheard)
	for len(w.rest) > 0 {
		select {
		case g := <-sightings:
			w.see(g)
		case <-hush:
			w.tellUnheard()
		case <-end:
			return errors.Join(w.failed, failure{TimedOut, w.late(timeout)})
		case <-ctx.Done():
			return errors.Join(w.failed, context.Cause(ctx))
		}
	}
	return w.failed
}

// see takes one sighting in.
func (w *waiting) see(g sighting) {
	if g.scope != nil {
		w.seeScope(g)
		return
	}
	f, ok := w.rest[g.ref]
	if !ok {
		return
	}
	if g.meta == nil || g.meta.UID != f.object.GetUID() {
		w.fail(g.ref, fmt.Errorf("%s was deleted meanwhile", w.label(g.ref)))
		return
	}
	row, _ := g.row(w.keys)
	w.seen[g.ref] = row
	request, _ := w.keys.Parse(g.meta.Annotations)
	done, err := w.judge(row, request.Enabled == annotations.On)
	switch {
	case err != nil:
		w.fail(g.ref, fmt.Errorf("%s: %w", w.label(g.ref), err))
	case done:
		delete(w.rest, g.ref)
	case row.State != view.Requested && row.State != view.Ending || w.Now().Sub(w.begun) > unheard:
		w.progress(row)
	}
}

// seeScope: what has not been seen by now is not there.
func (w *waiting) seeScope(g sighting) {
	for ref, f := range w.rest {
		if f.kind.Name != g.kind.Name || g.scope.namespace != ref.Namespace {
			continue
		}
		_, seen := w.seen[ref]
		switch {
		case g.err == nil && !seen:
			w.fail(ref, fmt.Errorf("%s was deleted meanwhile", w.label(ref)))
		case g.err != nil && lost(g.err):
			w.fail(ref, fmt.Errorf("wait for %s: %w", w.label(ref), g.err))
		case g.err != nil && w.offline != g.err.Error():
			w.offline = g.err.Error()
			w.tell("The API server cannot be followed, trying again: %s", w.offline)
		}
	}
}

func (w *waiting) fail(ref target.Ref, err error) {
	delete(w.rest, ref)
	w.failed = errors.Join(w.failed, err)
}

// progress tells what a target waits for, when that changes.
func (w *waiting) progress(row view.Row) {
	text := row.State
	if why := whyItWaits(row, w.clock.Reckon()); why != "" {
		text += ": " + why
	}
	if w.told[row.Ref()] != text {
		w.told[row.Ref()] = text
		w.tell("%s  %s", w.label(row.Ref()), text)
	}
}

// whyItWaits says what happens in a state, where the controller does not.
func whyItWaits(row view.Row, now time.Time) string {
	switch {
	case row.State == view.Requested && !row.Until.IsZero() && !row.Until.After(now):
		return "its end (" + annotations.Until + ") is past: the app is served; set a later one"
	case row.Message != "":
		return row.Message
	case row.State == annotations.Pending:
		return "the page is on its way, visitors get the app"
	case row.State == annotations.Switching:
		return "ingress controllers are following"
	case row.State == view.Ending:
		return "no controller has restored it yet"
	}
	return ""
}

func (w *waiting) tellUnheard() {
	for ref := range w.rest {
		if row, ok := w.seen[ref]; ok {
			w.progress(row)
		}
	}
}

// late says of each target that was not ready in time what it waits for.
func (w *waiting) late(timeout time.Duration) error {
	var all []error
	for ref := range w.rest {
		row, ok := w.seen[ref]
		switch why := whyItWaits(row, w.clock.Reckon()); {
		case !ok:
			all = append(all, fmt.Errorf("timed out after %s: %s could not be looked at: %s", timeout, w.label(ref), w.offline))
		case why == "":
			all = append(all, fmt.Errorf("timed out after %s: %s is %s", timeout, w.label(ref), row.State))
		default:
			all = append(all, fmt.Errorf("timed out after %s: %s is %s: %s", timeout, w.label(ref), row.State, why))
		}
	}
	return errors.Join(all...)
}
