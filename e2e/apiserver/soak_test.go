package apiserver

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"maintenance-controller.io/e2e/faultproxy"
	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// Growth that a soak may show. The heap is what lives after a collection.
const (
	moreHeap       = 2 << 20
	moreGoroutines = 10
)

// manyToggles is what the long form has to reach: less would not show slow growth.
const manyToggles = 20000

// TestSoak toggles targets as fast as the program follows, while their pages
// change, and reads the program's own debug endpoint in
// the quiet before and after. Then it leaves some targets in maintenance and wants
// no write at all, however often the program has to list everything anew.
func TestSoak(t *testing.T) {
	t.Parallel()
	size, warm, lasts, rounds, often := 25, 2*time.Second, 7*time.Second, 2, 500*time.Millisecond
	if *long {
		size, warm, lasts, rounds, often = 50, time.Minute, 8*time.Minute, 6, 5*time.Second
	}
	w := newWorld(t)
	p := w.proxied()
	f := newFleet(p, 1, size)
	s := &soaked{fleet: f, often: often, at: freeAddress(t), debug: freeAddress(t)}
	p.restart("--listen="+s.at, "--debug-listen="+s.debug, "--settle-time=0s")

	s.toggle(warm)
	s.settle()
	before := s.measure()
	toggles := s.toggle(lasts)
	if *long {
		assert.Greater(t, toggles, int64(manyToggles))
	}
	s.settle()
	after := s.measure()
	s.tellLost()
	t.Logf("%d toggles; heap %d KiB, then %d KiB; goroutines %d, then %d; %d writes", toggles,
		before.heap>>10, after.heap>>10, before.goroutines, after.goroutines, writes(p.proxy.Counts()))
	assert.LessOrEqual(t, after.heap, before.heap+moreHeap)
	assert.LessOrEqual(t, after.goroutines, before.goroutines+moreGoroutines)
	assert.Greater(t, s.samples, 2*int(lasts/time.Second), "looks at the queues")
	assert.LessOrEqual(t, s.queue, size, "no queue is longer than there are targets")
	s.wantQuiet(rounds)
	tally.Tell(t, "largest queue", int64(s.queue))
	tally.Tell(t, "toggles", toggles)
	tally.Tell(t, "heap KiB before", int64(before.heap>>10))
	tally.Tell(t, "heap KiB after", int64(after.heap>>10))
	tally.Tell(t, "goroutines before", int64(before.goroutines))
	tally.Tell(t, "goroutines after", int64(after.goroutines))
}

// soaked is a fleet whose program is looked into.
type soaked struct {
	*fleet
	at, debug string // addresses of the program's metrics, and of its profiles

	often          time.Duration // a page changes
	queue, samples int           // the largest length of a queue that was seen, and how often one was looked at
}

// toggle asks each target for the opposite as soon as it is as it was asked to be,
// while pages change now and then. It gives how often it has asked.
func (s *soaked) toggle(lasts time.Duration) int64 {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), lasts)
	defer cancel()
	var wg sync.WaitGroup
	var toggles atomic.Int64
	moved := make(map[string]chan struct{}, len(s.members))
	for _, m := range s.members {
		moved[m.Kind+"/"+m.Name] = make(chan struct{}, 1)
	}
	seen := map[schemaGVR]bool{}
	for _, m := range s.members {
		if !seen[m.resource] {
			seen[m.resource] = true
			stream := s.everyRevision(ctx, m.resource, func(_ watch.EventType, u *unstructured.Unstructured) {
				select {
				case moved[u.GetKind()+"/"+u.GetName()] <- struct{}{}:
				default: // it is told already, or is no member
				}
			})
			defer stream.Stop()
		}
		wg.Go(func() { s.alternate(ctx, m, moved[m.Kind+"/"+m.Name], &toggles) })
	}
	wg.Go(func() { s.changePages(ctx) })
	wg.Go(func() { s.watchQueues(ctx) })
	wg.Wait()
	return toggles.Load()
}

// alternate switches one target on and off.
func (s *soaked) alternate(ctx context.Context, m *member, moved <-chan struct{}, toggles *atomic.Int64) {
	for n := 0; ctx.Err() == nil; n++ {
		m.on, m.page = !m.on, []string{"", "spring", "autumn"}[n%3]
		s.ask(m)
		toggles.Add(1)
		for there := false; !there; {
			select {
			case <-moved:
			case <-ctx.Done():
				return
			}
			u, err := s.dynamic.Resource(m.resource).Namespace(s.namespace).Get(ctx, m.Name, metav1.GetOptions{})
			there = err == nil && (m.on && state(annotations.Active)(u) || !m.on && restored(u))
		}
	}
}

func (s *soaked) changePages(ctx context.Context) {
	tick := time.NewTicker(s.often)
	defer tick.Stop()
	for ctx.Err() == nil {
		s.steps++
		s.changePage()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// watchQueues remembers how long the queues have become.
func (s *soaked) watchQueues(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	length := regexp.MustCompile(`(?m)^maintenance_queue_length\{.*\} (\d+)$`)
	for ctx.Err() == nil {
		for _, found := range length.FindAllStringSubmatch(get(s, s.at, "/metrics"), -1) {
			n, err := strconv.Atoi(found[1])
			assert.NoError(s, err)
			s.samples++
			s.queue = max(s.queue, n)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// settle ends all maintenance and waits until nothing is left to do.
func (s *soaked) settle() {
	s.Helper()
	s.allOff()
	assert.Zero(s, s.untilAsAsked())
	s.untilClean()
	s.untilIdle()
}

// untilIdle waits until the program's queues are empty.
func (s *soaked) untilIdle() {
	s.Helper()
	for _, queue := range []string{"target", "page-set"} {
		untilMetric(s, s.at, fmt.Sprintf("maintenance_queue_length{queue=%q} 0", queue))
	}
}

// wantQuiet leaves every third target in maintenance and wants no write while the
// program lists everything anew, again and again, and over a restart of it.
func (s *soaked) wantQuiet(rounds int) {
	s.Helper()
	for i, m := range s.members {
		m.on = i%3 == 0
		s.ask(m)
	}
	assert.Positive(s, s.untilAsAsked())
	s.untilIdle()
	s.untilAllIsTold()
	before := s.proxy.Counts()
	s.relist(rounds)
	assert.Equal(s, before.Writes, s.proxy.Counts().Writes, "writes, Events included, though nothing has changed")
	s.restart()
	untilMetric(s, s.at, "maintenance_leader 1")
	get(s, s.at, "/readyz")
	s.relist(1)
	s.untilIdle()
	s.untilAllIsTold()
	now := s.proxy.Counts()
	assert.Equal(s, writes(before), writes(now), "writes after a restart, though nothing has changed: %v", now.Writes)
	// A warning that holds still is told once by each process: of each Service, that
	// nobody answers on its port for UDP.
	warnings := 0
	for _, m := range s.members {
		if m.on && m.Kind == target.Service().Name {
			warnings++
		}
	}
	assert.LessOrEqual(s, events(now)-events(before), warnings, "Events after a restart")
}

// untilAllIsTold waits until the program has sent its Events, which it does beside
// its work: until none has come for a while.
func (s *soaked) untilAllIsTold() {
	s.Helper()
	const quiet = 500 * time.Millisecond
	told := -1
	require.Eventually(s, func() bool {
		now := s.proxy.Counts()
		before := told
		told = events(now)
		return told == before
	}, patience, quiet)
}

func events(c faultproxy.Counts) int { return c.Writes["create events"] + c.Writes["patch events"] }

// relist ends all watches and says, when they are to go on, that the revision is
// forgotten: each has to list all that there is anew.
func (s *soaked) relist(rounds int) {
	s.Helper()
	for range rounds {
		const all = 8 // of what the program reads, at the least
		s.untilWatches(all)
		var ended, expired, listed atomic.Int64
		ended.Store(math.MaxInt64)
		s.proxy.Judge(func(c faultproxy.Call) *faultproxy.Fault {
			switch {
			case c.Resumes && expired.Add(1) <= ended.Load():
				return faultproxy.Expire()
			case c.Verb == "list" || c.Verb == "watch" && !c.Resumes:
				listed.Add(1)
			}
			return nil
		})
		ended.Store(int64(s.proxy.EndWatches()))
		require.GreaterOrEqual(s, ended.Load(), int64(all), "watches of all that it reads")
		deadline := time.Now().Add(patience)
		for listed.Load() < ended.Load() {
			require.True(s, time.Now().Before(deadline), "only %d of %d lists came", listed.Load(), ended.Load())
			<-after(20 * time.Millisecond)
		}
		s.untilWatches(int(ended.Load()))
		s.untilIdle()
		s.Logf("%d watches have listed everything anew", ended.Load())
	}
}

// untilWatches waits until the program has so many watches open.
func (s *soaked) untilWatches(n int) {
	s.Helper()
	deadline := time.Now().Add(patience)
	for s.proxy.Watches() < n {
		require.True(s, time.Now().Before(deadline), "only %d of %d watches are open", s.proxy.Watches(), n)
		<-after(20 * time.Millisecond)
	}
}

// measured is what the program's debug endpoint says of it.
type measured struct{ heap, goroutines int }

func (s *soaked) measure() measured {
	s.Helper()
	return measure(s, s.debug)
}

func measure(tb testing.TB, debug string) measured {
	tb.Helper()
	number := func(path, pattern string) int {
		found := regexp.MustCompile(pattern).FindStringSubmatch(get(tb, debug, path))
		require.Len(tb, found, 2, "%s has no %s", path, pattern)
		n, err := strconv.Atoi(found[1])
		require.NoError(tb, err)
		return n
	}
	return measured{
		heap:       number("/debug/pprof/heap?debug=1&gc=1", `(?m)^# HeapAlloc = (\d+)$`),
		goroutines: number("/debug/pprof/goroutine?debug=1", `^goroutine profile: total (\d+)`),
	}
}
