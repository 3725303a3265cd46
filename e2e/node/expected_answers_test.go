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

// How soon visitors see a switch, with an ingress controller that applies changes every two
// seconds.
const (
	activeLag   = 500 * time.Millisecond  // no visitor gets the app later than this after state=active
	restoredLag = 2500 * time.Millisecond // no visitor gets the page later than this after the restore
)

// subject is a target under load. It watches each revision of its object and records who must
// answer its visitors, and when.
type subject struct {
	env          *env
	kind         target.Kind
	name, host   string
	asked        bool // the test asks the data plane when it has followed a restore, and then calls expect
	mu           sync.Mutex
	now          revision
	changed      chan struct{} // closed and replaced at each revision
	expectations []expectation // in order; between two of them, both may answer
	maintenance  []expectation // anyPage, each from the start to the end of maintenance, across changes of the page
}

// revision is the part of a target's revision that matters here.
type revision struct {
	set    string // the page set that its slots point at; empty if none does
	active bool
	clean  bool // it has no annotations of the controller
}

// expectation says who must answer the visits that start and end within its time.
type expectation struct {
	who      string // anApp, the name of a page set, or anyPage
	from, to time.Time
}

// anyPage stands for the page of any set.
const anyPage = "a page"

// fits reports whether the answer is from the one that had to give it.
func (e expectation) fits(a answer) bool {
	return a.from == e.who || e.who == anyPage && fromPage(a)
}

// covers reports whether the visit started and ended within the expectation.
func (e expectation) covers(a answer) bool {
	return !a.started.Before(e.from) && !a.ended().After(e.to)
}

// subject starts to watch a target that is not in maintenance and whose visitors already get
// the app.
func (e *env) subject(kind, name, host string) *subject {
	e.Helper()
	k, ok := target.KindByName(kind)
	if !ok {
		e.Fatalf("unknown kind %s", kind)
	}
	s := &subject{env: e, kind: k, name: name, host: host, changed: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.WithoutCancel(e.Context()))
	var watching sync.WaitGroup
	all, which := map[string]*unstructured.Unstructured{}, metav1.ListOptions{FieldSelector: "metadata.name=" + name}
	watching.Go(func() {
		for ctx.Err() == nil {
			follow(ctx, e.dynamic.Resource(k.Resource).Namespace(e.namespace), which, all, func(all map[string]*unstructured.Unstructured) bool {
				s.record(all[name])
				return false
			})
		}
	})
	e.Cleanup(func() { cancel(); watching.Wait() })
	s.await("is not in maintenance", func(r revision) bool { return r.clean })
	s.expect(anApp, time.Now())
	return s
}

// object returns the target as an argument for kubectl.
func (s *subject) object() string { return s.kind.Resource.Resource + "/" + s.name }

// record stores a revision and the expectation that follows from it.
func (s *subject) record(u *unstructured.Unstructured) {
	now := time.Now()
	if u == nil {
		return
	}
	slots, err := s.kind.Slots(u.Object)
	if err != nil {
		s.env.Errorf("%s: %v", s.object(), err)
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
			s.maintenance = append(s.maintenance, expectation{who: anyPage, from: now.Add(activeLag)})
		}
	case before.set != "" && r.set == "" && !s.asked:
		s.expectLocked(anApp, now.Add(restoredLag))
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

// expectAnyPage ends the current expectation before a change of the page: from now on, either
// page set may answer.
func (s *subject) expectAnyPage() {
	s.mu.Lock()
	defer s.mu.Unlock()
	endLast(s.expectations, time.Now())
}

// expectAppOrPage ends all expectations before a switch: from now on, the app or the page may
// answer.
func (s *subject) expectAppOrPage() {
	s.expectAnyPage()
	s.mu.Lock()
	defer s.mu.Unlock()
	endLast(s.maintenance, time.Now())
}

// endLast ends the last expectation, if it is still open.
func endLast(all []expectation, now time.Time) {
	if n := len(all); n > 0 && all[n-1].to.IsZero() {
		all[n-1].to = now
	}
}

// await waits until the latest revision is ok and returns it.
func (s *subject) await(what string, ok func(revision) bool) revision {
	s.env.Helper()
	timeout := time.NewTimer(waitTimeout)
	defer timeout.Stop()
	for {
		s.mu.Lock()
		now, changed := s.now, s.changed
		s.mu.Unlock()
		if ok(now) {
			return now
		}
		select {
		case <-changed:
		case <-timeout.C:
			s.env.Fatalf("%s: waited %s until it %s; it is %+v", s.object(), waitTimeout, what, now)
		}
	}
}

// settled returns when the current expectation starts.
func (s *subject) settled() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.expectations[len(s.expectations)-1].from
}

// verdict is the result of judging the answers to a subject's visitors.
type verdict struct {
	wrong    []string // descriptions of the answers from anyone else than expected
	right    int      // the number of answers as expected
	changing int      // the number of answers from a page while it changed, when either set may answer
}

// judge compares the answers of a load that has stopped with the expectations.
func (s *subject) judge(answers []answer) (v verdict) {
	s.expectAppOrPage()
	answers = slices.DeleteFunc(slices.Clone(answers), func(a answer) bool { return a.host != s.host || a.from == nobody })
	certain := map[int]bool{} // answers that an expectation covers, right or wrong
	judge := func(e expectation) (right int) {
		found := 0
		for i, a := range answers {
			if !e.covers(a) || e.who == anyPage && certain[i] {
				continue
			}
			if certain[i] = true; e.fits(a) {
				right++
			} else {
				v.wrong = append(v.wrong, fmt.Sprintf("%s: the answer is from %s, but since %s it had to be from %s", a, a.from, e.from.Format(timeFormat), e.who))
			}
			found++
		}
		if found == 0 && e.who != anyPage {
			v.wrong = append(v.wrong, fmt.Sprintf("%s: no visitor asked between %s and %s, when the answer had to be from %s", s.object(), e.from.Format(timeFormat), e.to.Format(timeFormat), e.who))
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

// timeFormat is the format of times in messages.
const timeFormat = "15:04:05.000"
