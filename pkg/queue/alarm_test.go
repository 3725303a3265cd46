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

// put is a clock whose time of day is put forward and back, which timers do not see.
type put struct {
	clock.RealClock
	by atomic.Int64
}

func (p *put) Now() time.Time { return time.Now().Round(0).Add(time.Duration(p.by.Load())) }

func (p *put) set(by time.Duration) { p.by.Store(int64(by)) }

// alarmed runs a test with alarms that note when what was told.
func alarmed(t *testing.T, test func(c *put, a *Alarms[string], told func() []string)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := &put{}
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
	alarmed(t, func(c *put, a *Alarms[string], told func() []string) {
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
		assert.Equal(t, []string{"hour"}, told(), "to the moment")
		a.Set("day", start.Add(2*time.Hour))
		time.Sleep(time.Hour)
		assert.Equal(t, []string{"day"}, told(), "it was set earlier")
		time.Sleep(100 * time.Hour)
		assert.Empty(t, told(), "once")
	})
}

func TestAlarmsGoByTheTimeOfDay(t *testing.T) {
	alarmed(t, func(c *put, a *Alarms[string], told func() []string) {
		a.Set("a", c.Now().Add(time.Hour))
		time.Sleep(time.Minute)
		c.set(time.Hour)
		time.Sleep(lookAgain)
		assert.Equal(t, []string{"a"}, told(), "the clock was put forward")
		c.set(0)
		a.Set("a", c.Now().Add(time.Hour))
		c.set(-time.Hour)
		time.Sleep(2*time.Hour - lookAgain)
		assert.Empty(t, told(), "the clock was put back")
		time.Sleep(2 * lookAgain)
		assert.Equal(t, []string{"a"}, told())
	})
}

// TestNobodyLooksWhereNoAlarmIsSet: at rest there is not even a timer.
func TestNobodyLooksWhereNoAlarmIsSet(t *testing.T) {
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
