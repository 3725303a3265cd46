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
	"maintenance-controller.io/e2e/idle"
	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// Growth that is allowed. The heap is measured after a garbage collection.
const (
	moreHeap       = 2 << 20
	moreGoroutines = 10
)

// manyToggles is the minimum of the long form: fewer would not show slow growth.
const manyToggles = 20000

// TestSoak toggles targets as fast as the program follows, while their pages change, and
// compares heap and goroutines of the idle program before and after. Then some targets stay
// in maintenance, and the program must not write at all, however often it lists everything again.
func TestSoak(t *testing.T) {
	t.Parallel()
	size, warm, lasts, rounds, often := 25, 2*time.Second, 7*time.Second, 2, 500*time.Millisecond
	if *long {
		size, warm, lasts, rounds, often = 50, time.Minute, 8*time.Minute, 6, 5*time.Second
	}
	env := newTestEnv(t)
	p := env.newProxied()
	f := newToggler(p, 1, size)
	s := &soakedToggler{toggler: f, pageChangeInterval: often, metricsAddress: freeAddress(t), debugAddress: freeAddress(t)}
	p.restart("--listen="+s.metricsAddress, "--debug-listen="+s.debugAddress, "--settle-time=0s")

	s.toggle(warm)
	s.settle()
	before := s.measure()
	toggles := s.toggle(lasts)
	if *long {
		assert.Greater(t, toggles, int64(manyToggles))
	}
	s.settle()
	after := s.measure()
	s.reportLost()
	t.Logf("%d toggles; heap %d KiB, then %d KiB; goroutines %d, then %d; %d writes", toggles,
		before.heap>>10, after.heap>>10, before.goroutines, after.goroutines, writes(p.proxy.Counts()))
	assert.LessOrEqual(t, after.heap, before.heap+moreHeap)
	assert.LessOrEqual(t, after.goroutines, before.goroutines+moreGoroutines)
	assert.Greater(t, s.samples, 2*int(lasts/time.Second), "samples of the queues")
	assert.LessOrEqual(t, s.queue, size, "no queue is longer than the number of targets")
	s.requireNoWrites(rounds)
	tally.Report(t, "largest queue", int64(s.queue))
	tally.Report(t, "toggles", toggles)
	tally.Report(t, "heap KiB before", int64(before.heap>>10))
	tally.Report(t, "heap KiB after", int64(after.heap>>10))
	tally.Report(t, "goroutines before", int64(before.goroutines))
	tally.Report(t, "goroutines after", int64(after.goroutines))
}

// soakedToggler is a toggler that also measures the program.
type soakedToggler struct {
	*toggler
	metricsAddress, debugAddress string // addresses of the program's metrics and profiles

	pageChangeInterval time.Duration // between two changes of a page
	queue, samples     int           // the longest queue, and how often queues were sampled
}

// toggle requests the opposite for each target as soon as the last request is done, while
// pages change now and then. It returns the number of requests.
func (s *soakedToggler) toggle(lasts time.Duration) int64 {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), lasts)
	defer cancel()
	var wg sync.WaitGroup
	var toggles atomic.Int64
	moved := make(map[string]chan struct{}, len(s.targets))
	for _, m := range s.targets {
		moved[m.Kind+"/"+m.Name] = make(chan struct{}, 1)
	}
	seen := map[schemaGVR]bool{}
	for _, m := range s.targets {
		if !seen[m.resource] {
			seen[m.resource] = true
			stream := s.everyRevision(ctx, m.resource, func(_ watch.EventType, u *unstructured.Unstructured) {
				select {
				case moved[u.GetKind()+"/"+u.GetName()] <- struct{}{}:
				default: // a signal is pending, or it is another object
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
func (s *soakedToggler) alternate(ctx context.Context, m *toggledTarget, moved <-chan struct{}, toggles *atomic.Int64) {
	for n := 0; ctx.Err() == nil; n++ {
		m.on, m.page = !m.on, []string{"", "spring", "autumn"}[n%3]
		s.request(m)
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

func (s *soakedToggler) changePages(ctx context.Context) {
	tick := time.NewTicker(s.pageChangeInterval)
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

// watchQueues records the greatest length of the queues.
func (s *soakedToggler) watchQueues(ctx context.Context) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	length := regexp.MustCompile(`(?m)^maintenance_queue_length\{.*\} (\d+)$`)
	for ctx.Err() == nil {
		for _, found := range length.FindAllStringSubmatch(httpGet(s, s.metricsAddress, "/metrics"), -1) {
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
func (s *soakedToggler) settle() {
	s.Helper()
	s.allOff()
	assert.Zero(s, s.waitUntilAsRequested())
	s.waitForCleanup()
	s.waitForEmptyQueues()
}

// waitForEmptyQueues waits until the program's queues are empty.
func (s *soakedToggler) waitForEmptyQueues() {
	s.Helper()
	for _, queue := range []string{"target", "page-set"} {
		waitForMetric(s, s.metricsAddress, fmt.Sprintf("maintenance_queue_length{queue=%q} 0", queue))
	}
}

// requireNoWrites leaves every third target in maintenance and allows no write while the
// program lists everything again several times, nor after a restart.
func (s *soakedToggler) requireNoWrites(rounds int) {
	s.Helper()
	for i, m := range s.targets {
		m.on = i%3 == 0
		s.request(m)
	}
	assert.Positive(s, s.waitUntilAsRequested())
	s.waitUntilIdle()
	before := s.proxy.Counts()
	s.relist(rounds)
	assert.Equal(s, before.Writes, s.proxy.Counts().Writes, "writes, including Events, although nothing has changed")
	s.restart()
	waitForMetric(s, s.metricsAddress, "maintenance_leader 1")
	httpGet(s, s.metricsAddress, "/readyz")
	s.relist(1)
	s.waitUntilIdle()
	now := s.proxy.Counts()
	assert.Equal(s, writes(before), writes(now), "writes after a restart, although nothing has changed: %v", now.Writes)
	// Each process reports a lasting Warning once: for each Service, that its UDP port is
	// not served.
	warnings := 0
	for _, m := range s.targets {
		if m.on && m.Kind == target.Service().Name {
			warnings++
		}
	}
	assert.LessOrEqual(s, events(now)-events(before), warnings, "Events after a restart")
}

// waitUntilIdle waits until the program's queues are empty and no worker sends anything, nor
// the recorder of Events, which is asynchronous.
func (s *soakedToggler) waitUntilIdle() {
	s.Helper()
	s.waitForEmptyQueues()
	require.NoError(s, idle.Wait(s.requests, waitTimeout))
	sent := -1
	require.Eventually(s, func() bool {
		now := s.proxy.Counts()
		before := sent
		sent = events(now)
		return sent == before
	}, waitTimeout, idle.Window)
}

func events(c faultproxy.Counts) int { return c.Writes["create events"] + c.Writes["patch events"] }

// relist ends all watches and answers that their revision has expired, so that the program
// has to list everything again.
func (s *soakedToggler) relist(rounds int) {
	s.Helper()
	for range rounds {
		const all = 8 // at least, of what the program watches
		s.waitForWatches(all)
		var ended, expired, listed atomic.Int64
		ended.Store(math.MaxInt64)
		s.proxy.SetFaults(func(c faultproxy.Call) *faultproxy.Fault {
			switch {
			case c.Resumes && expired.Add(1) <= ended.Load():
				return faultproxy.Expire()
			case c.Verb == "list" || c.Verb == "watch" && !c.Resumes:
				listed.Add(1)
			}
			return nil
		})
		ended.Store(int64(s.proxy.EndWatches()))
		require.GreaterOrEqual(s, ended.Load(), int64(all), "watches of everything that it reads")
		deadline := time.Now().Add(waitTimeout)
		for listed.Load() < ended.Load() {
			require.True(s, time.Now().Before(deadline), "timed out: only %d of %d lists", listed.Load(), ended.Load())
			<-after(20 * time.Millisecond)
		}
		s.waitForWatches(int(ended.Load()))
		s.waitForEmptyQueues()
		s.Logf("%d watches have listed everything again", ended.Load())
	}
}

// waitForWatches waits until the program has this number of open watches.
func (s *soakedToggler) waitForWatches(n int) {
	s.Helper()
	deadline := time.Now().Add(waitTimeout)
	for s.proxy.Watches() < n {
		require.True(s, time.Now().Before(deadline), "timed out: only %d of %d watches are open", s.proxy.Watches(), n)
		<-after(20 * time.Millisecond)
	}
}

// measured is read from the program's debug endpoint.
type measured struct{ heap, goroutines int }

func (s *soakedToggler) measure() measured {
	s.Helper()
	return measure(s, s.debugAddress)
}

func measure(tb testing.TB, debug string) measured {
	tb.Helper()
	number := func(path, pattern string) int {
		found := regexp.MustCompile(pattern).FindStringSubmatch(httpGet(tb, debug, path))
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
