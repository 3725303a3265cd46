package checker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/apis/v1alpha1"
	"maintenance-controller.io/pkg/readiness"
)

var start = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

// step is what is observed after so many seconds, and what the service counts as then.
type step struct {
	at    int
	seen  string // up, down or ?
	state v1alpha1.ServiceState
	since int // seconds
	due   int // seconds; 0 is never
}

func TestHealth(t *testing.T) {
	const up, down, unknown = v1alpha1.Up, v1alpha1.Down, v1alpha1.Unknown
	for name, test := range map[string]struct {
		from  health
		waits waits
		steps []step
	}{
		"up at first sight": {steps: []step{{0, "up", up, 0, 0}, {100, "up", up, 0, 0}}},
		"down at first sight": {steps: []step{
			{0, "down", unknown, 0, 10}, {9, "down", unknown, 0, 10}, {10, "down", down, 0, 0},
		}},
		"down for long enough": {steps: []step{
			{0, "up", up, 0, 0}, {5, "down", up, 5, 15}, {14, "down", up, 5, 15}, {15, "down", down, 5, 0}, {99, "down", down, 5, 0},
		}},
		"not long enough, again and again": {steps: []step{
			{0, "up", up, 0, 0}, {5, "down", up, 5, 15}, {14, "up", up, 14, 0}, {15, "down", up, 15, 25}, {24, "up", up, 24, 0},
		}},
		"back for long enough": {steps: []step{
			{0, "down", unknown, 0, 10}, {10, "down", down, 0, 0}, {20, "up", down, 20, 40}, {39, "up", down, 20, 40}, {40, "up", up, 20, 0},
		}},
		"back not long enough": {steps: []step{
			{0, "down", unknown, 0, 10}, {10, "down", down, 0, 0}, {20, "up", down, 20, 40}, {30, "down", down, 30, 0}, {31, "up", down, 31, 51},
		}},
		"unknown holds, and its time goes on": {steps: []step{
			{0, "up", up, 0, 0}, {5, "down", up, 5, 15}, {6, "?", unknown, 5, 0}, {60, "?", unknown, 5, 0}, {61, "down", down, 5, 0},
		}},
		"unknown, and then back": {steps: []step{
			{0, "down", unknown, 0, 10}, {10, "down", down, 0, 0}, {11, "?", unknown, 0, 0}, {60, "up", down, 60, 80}, {80, "up", up, 60, 0},
		}},
		"never known": {steps: []step{{0, "?", unknown, 0, 0}, {9, "up", up, 9, 0}}},
		"at once": {waits: waits{down: -1, up: -1}, steps: []step{
			{0, "down", down, 0, 0}, {1, "up", up, 1, 0}, {2, "down", down, 2, 0},
		}},
		"after a restart, down as before": {
			from:  resumedHealth(v1alpha1.ServiceStatus{State: down, Since: metav1.NewTime(at(-100))}, start),
			steps: []step{{0, "?", unknown, -100, 0}, {1, "down", down, -100, 0}, {2, "up", down, 2, 22}},
		},
		"after a restart, down for long enough meanwhile": {
			from:  resumedHealth(v1alpha1.ServiceStatus{State: up, Since: metav1.NewTime(at(-100))}, start),
			steps: []step{{0, "down", down, -100, 0}},
		},
		"after a restart, up meanwhile": {
			from:  resumedHealth(v1alpha1.ServiceStatus{State: down, Since: metav1.NewTime(at(-100))}, start),
			steps: []step{{0, "up", down, 0, 20}},
		},
		"of a clock that is ahead": {
			from:  resumedHealth(v1alpha1.ServiceStatus{State: up, Since: metav1.NewTime(at(1000))}, start),
			steps: []step{{1, "down", up, 0, 10}, {10, "down", down, 0, 0}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := waits{down: 10 * time.Second, up: 20 * time.Second}
			if test.waits.down < 0 {
				w = waits{}
			}
			s := test.from
			for _, step := range test.steps {
				var due time.Time
				s, due = s.next(observation{known: step.seen != "?", ready: step.seen == "up", at: at(step.at)}, w)
				assert.Equal(t, step.state, s.state(), "at %d", step.at)
				if !s.since.IsZero() {
					assert.Equal(t, at(step.since), s.since, "at %d", step.at)
				}
				if step.due == 0 {
					assert.Zero(t, due, "at %d", step.at)
				} else {
					assert.Equal(t, at(step.due), due, "at %d", step.at)
				}
			}
		})
	}
}

// TestServicesAreMerged: there is one entry for each Service, whatever the order of the checkers.
func TestServicesAreMerged(t *testing.T) {
	ready := Service{Name: "a", Known: true, Ready: true, ReadyEndpoints: 3, Since: at(5)}
	later := Service{Name: "a", Known: true, Ready: true, ReadyEndpoints: 2, Since: at(7), Critical: true}
	down := Service{Name: "a", Known: true, ReadyEndpoints: 1, Since: at(1), Message: "has 1 of 2"}
	lost := Service{Name: "a", Ready: true, Since: at(0)}
	for name, test := range map[string]struct{ one, two, want Service }{
		"both ready":     {ready, later, Service{Name: "a", Known: true, Ready: true, Critical: true, ReadyEndpoints: 2, Since: at(7)}},
		"one is not":     {later, down, Service{Name: "a", Known: true, Critical: true, ReadyEndpoints: 1, Since: at(1), Message: "has 1 of 2"}},
		"one is unknown": {ready, lost, Service{Name: "a", Ready: true, Since: at(5)}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.want, test.one.mergeWith(test.two))
			assert.Equal(t, test.want, test.two.mergeWith(test.one))
		})
	}
}

// TestInvalidEntriesRevealNothing: another checker may watch the Service.
func TestInvalidEntriesRevealNothing(t *testing.T) {
	t.Parallel()
	for _, judgeable := range []bool{true, false} {
		e := entry{namedService: namedService{invalid: "is in another namespace"}, namedAt: start}
		e.judge(readiness.State{Known: true, Exists: true, Judgeable: judgeable, Ready: 2, Message: "is an ExternalName"}, start, waits{})
		s := e.status()
		assert.Zero(t, s.ReadyEndpoints)
		assert.False(t, s.Ready)
		assert.Equal(t, v1alpha1.Unknown, s.State)
		assert.Equal(t, "is in another namespace", s.Message)
		assert.False(t, e.unjudged)
	}
}
