package queue

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
)

// shiftedClock is a clock that can be set forward and back without timers noticing.
type shiftedClock struct {
	clock.RealClock
	by atomic.Int64
}

func (p *shiftedClock) Now() time.Time { return time.Now().Round(0).Add(time.Duration(p.by.Load())) }

func (p *shiftedClock) shift(by time.Duration) { p.by.Store(int64(by)) }

// withAlarms runs a test with alarms whose reported keys it collects.
func withAlarms(t *testing.T, test func(c *shiftedClock, a *Alarms[string], told func() []string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &shiftedClock{}
		var mu sync.Mutex
		var keys []string
		a := NewAlarms(c, func(key string) {
			mu.Lock()
			defer mu.Unlock()
			keys = append(keys, key)
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { a.Run(ctx); close(done) }()
		test(c, a, func() []string {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			all := keys
			keys = nil
			return all
		})
		cancel()
		<-done
	})
}

func TestAlarms(t *testing.T) {
	withAlarms(t, func(c *shiftedClock, a *Alarms[string], told func() []string) {
		start := c.Now()
		a.Set("hour", start.Add(time.Hour))
		a.Set("day", start.Add(24*time.Hour))
		a.Set("never", start.Add(time.Minute))
		a.Set("never", time.Time{})
		a.Set("past", start.Add(-time.Hour))
		assert.Equal(t, []string{"past"}, told())
		time.Sleep(time.Hour - time.Nanosecond)
		assert.Empty(t, told())
		time.Sleep(time.Nanosecond)
		assert.Equal(t, []string{"hour"}, told(), "on time")
		a.Set("day", start.Add(2*time.Hour))
		time.Sleep(time.Hour)
		assert.Equal(t, []string{"day"}, told(), "it was moved to an earlier time")
		time.Sleep(100 * time.Hour)
		assert.Empty(t, told(), "once")
	})
}

func TestAlarmsFollowTheClock(t *testing.T) {
	withAlarms(t, func(c *shiftedClock, a *Alarms[string], told func() []string) {
		a.Set("a", c.Now().Add(time.Hour))
		time.Sleep(time.Minute)
		c.shift(time.Hour)
		time.Sleep(clockCheckInterval)
		assert.Equal(t, []string{"a"}, told(), "the clock was set forward")
		c.shift(0)
		a.Set("a", c.Now().Add(time.Hour))
		c.shift(-time.Hour)
		time.Sleep(2*time.Hour - clockCheckInterval)
		assert.Empty(t, told(), "the clock was set back")
		time.Sleep(2 * clockCheckInterval)
		assert.Equal(t, []string{"a"}, told())
	})
}

// TestNoTimerWithoutAlarms: without alarms there is no timer.
func TestNoTimerWithoutAlarms(t *testing.T) {
	c := clocktesting.NewFakeClock(time.Now())
	told := make(chan string, 1)
	a := NewAlarms[string](c, func(key string) { told <- key })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { a.Run(ctx); close(done) }()
	a.Set("past", c.Now())
	<-told
	cancel()
	<-done
	assert.False(t, c.HasWaiters())
}
