package node

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/target"
)

// What visitors may count on, with an ingress controller that gathers changes for
// two seconds.
const (
	activeLag   = 500 * time.Millisecond  // after state=active is written, nobody gets the app
	restoredLag = 2500 * time.Millisecond // after the restore is written, nobody gets the page
)

// subject is a target under load. It follows each revision of its object, and keeps
// book of who has to answer its visitors, and when.
type subject struct {
	w            *world
	kind         target.Kind
	name, host   string
	lag          time.Duration // after which the restore is followed; restoredLag if zero
	mu           sync.Mutex
	now          revision
	changed      chan struct{} // closed and replaced at each revision
	expectations []expectation // one after the other, with times between when two may answer
	maintenance  []expectation // somePage, from its beginning to its end, over all changes of the page
}

// revision is what matters here of a target's.
type revision struct {
	set    string // that its slots point at; empty if none does
	active bool
	clean  bool // nothing of the controller's is left on it
}

// expectation: visits that lie within it are answered by one and nobody else.
type expectation struct {
	who      string // anApp, a page set, or somePage
	from, to time.Time
}

// somePage is the page of whatever set.
const somePage = "a page"

// fits says whether the answer is from whom it had to be.
func (e expectation) fits(a answer) bool {
	return a.from == e.who || e.who == somePage && fromPage(a)
}

// covers says whether the visit lies within the expectation.
func (e expectation) covers(a answer) bool {
	return !a.started.Before(e.from) && !a.ended().After(e.to)
}

// subject begins to watch a target that is not in maintenance, and whose visitors
// have been seen to get the app.
func (w *world) subject(kind, name, host string) *subject {
	w.Helper()
	k, ok := target.KindByName(kind)
	if !ok {
		w.Fatalf("%s is no kind", kind)
	}
	s := &subject{w: w, kind: k, name: name, host: host, changed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	var watching sync.WaitGroup
	all, which := map[string]*unstructured.Unstructured{}, metav1.ListOptions{FieldSelector: "metadata.name=" + name}
	watching.Go(func() {
		for ctx.Err() == nil {
			follow(ctx, w.dynamic.Resource(k.Resource).Namespace(w.namespace), which, all, func(all map[string]*unstructured.Unstructured) bool {
				s.see(all[name])
				return false
			})
		}
	})
	w.Cleanup(func() { cancel(); watching.Wait() })
	s.await("is not in maintenance", func(r revision) bool { return r.clean })
	s.expect(anApp, time.Now())
	return s
}

// object is how kubectl names it.
func (s *subject) object() string { return s.kind.Resource.Resource + "/" + s.name }

// see takes note of a revision, and of what follows from it.
func (s *subject) see(u *unstructured.Unstructured) {
	now := time.Now()
	if u == nil {
		return
	}
	slots, err := s.kind.Slots(u.Object)
	if err != nil {
		s.w.Errorf("%s: %v", s.object(), err)
		return
	}
	r := revision{active: active(u), clean: restored(u)}
	for _, slot := range slots {
		r.set = cmp.Or(r.set, slot.PageSet)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.now
	s.now = r
	close(s.changed)
	s.changed = make(chan struct{})
	switch {
	case r.active && r.set != "" && (!before.active || before.set != r.set):
		s.expectLocked(r.set, now.Add(activeLag))
		if n := len(s.maintenance); n == 0 || !s.maintenance[n-1].to.IsZero() {
			s.maintenance = append(s.maintenance, expectation{who: somePage, from: now.Add(activeLag)})
		}
	case before.set != "" && r.set == "":
		s.expectLocked(anApp, now.Add(cmp.Or(s.lag, restoredLag)))
	}
}

func (s *subject) expect(who string, from time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expectLocked(who, from)
}

func (s *subject) expectLocked(who string, from time.Time) {
	endLast(s.expectations, time.Now())
	s.expectations = append(s.expectations, expectation{who: who, from: from})
}

// changes says that from now on somebody else may answer: the page of another set,
// if the target stays in maintenance.
func (s *subject) changes() {
	s.mu.Lock()
	defer s.mu.Unlock()
	endLast(s.expectations, time.Now())
}

// switches says that from now on the app may answer, or the page.
func (s *subject) switches() {
	s.changes()
	s.mu.Lock()
	defer s.mu.Unlock()
	endLast(s.maintenance, time.Now())
}

// endLast ends the expectation that stands, if one does.
func endLast(all []expectation, now time.Time) {
	if n := len(all); n > 0 && all[n-1].to.IsZero() {
		all[n-1].to = now
	}
}

// await returns when a revision is as it should be.
func (s *subject) await(what string, ok func(revision) bool) revision {
	s.w.Helper()
	patient := time.NewTimer(patience)
	defer patient.Stop()
	for {
		s.mu.Lock()
		now, changed := s.now, s.changed
		s.mu.Unlock()
		if ok(now) {
			return now
		}
		select {
		case <-changed:
		case <-patient.C:
			s.w.Fatalf("%s: it did not come that it %s; it is %+v", s.object(), what, now)
		}
	}
}

// settled is when the expectation that stands begins.
func (s *subject) settled() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expectations[len(s.expectations)-1].from
}

// verdict is what the answers to the visitors of a subject were like.
type verdict struct {
	wrong    []string // not from whom they had to be
	right    int      // from just him
	changing int      // from a page, while it changed: either set may have answered
}

// judge judges the answers of a load that has stopped.
func (s *subject) judge(answers []answer) (v verdict) {
	s.switches()
	answers = slices.DeleteFunc(slices.Clone(answers), func(a answer) bool { return a.host != s.host || a.from == nobody })
	certain := map[int]bool{} // answers that an expectation covers, right or wrong
	judge := func(e expectation) (right int) {
		found := 0
		for i, a := range answers {
			if !e.covers(a) || e.who == somePage && certain[i] {
				continue
			}
			if certain[i] = true; e.fits(a) {
				right++
			} else {
				v.wrong = append(v.wrong, fmt.Sprintf("%s: from %s, but since %s it had to be from %s", a, a.from, e.from.Format(clock), e.who))
			}
			found++
		}
		if found == 0 && e.who != somePage {
			v.wrong = append(v.wrong, fmt.Sprintf("%s: nobody came from %s to %s, when the answer had to be from %s", s.object(), e.from.Format(clock), e.to.Format(clock), e.who))
		}
		return right
	}
	for _, e := range s.expectations {
		v.right += judge(e)
	}
	for _, e := range s.maintenance {
		v.changing += judge(e)
	}
	return v
}

// clock is how times of a test are shown.
const clock = "15:04:05.000"
