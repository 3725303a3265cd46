// Package queue runs reconciles: keys that are added are worked on by a number of
// workers, each key by one at a time, again after a failure, later and later, for ever.
package queue

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
)

// Backoff of a key that fails: it is never given up.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 30 * time.Second
)

// longest bounds one reconcile. The API server ends a request after a minute by
// default (--request-timeout); what is still without an answer after two has been
// lost on the way, and must not hold its key up for ever.
const longest = 2 * time.Minute

// Reconcile brings what a key names one step closer to what it should be. It
// returns when to look again although nothing has changed; 0 means never.
type Reconcile[K comparable] func(context.Context, K) (time.Duration, error)

// Config of a Queue.
type Config struct {
	// Name of the queue, in logs and for Observe.
	Name string
	Log  *zap.Logger
	// Observe is told of each reconcile: the queue's name, the result (ok, conflict
	// or error) and how long it took. Nil tells nobody.
	Observe func(queue, result string, took time.Duration)
	// Clock that waits and durations are measured by; nil is the real one.
	Clock clock.WithTicker
}

// Queue runs reconciles of one sort of key, each key at most once at a time.
type Queue[K comparable] struct {
	config Config
	keys   workqueue.TypedRateLimitingInterface[K]
}

// New gives a queue. Keys may be added before Run.
func New[K comparable](c Config) *Queue[K] {
	if c.Clock == nil {
		c.Clock = clock.RealClock{}
	}
	if c.Observe == nil {
		c.Observe = func(string, string, time.Duration) {}
	}
	c.Log = c.Log.With(zap.String("queue", c.Name))
	return &Queue[K]{config: c, keys: workqueue.NewTypedRateLimitingQueueWithConfig(
		workqueue.NewTypedItemExponentialFailureRateLimiter[K](minBackoff, maxBackoff),
		workqueue.TypedRateLimitingQueueConfig[K]{Clock: c.Clock},
	)}
}

// Name of the queue.
func (q *Queue[K]) Name() string { return q.config.Name }

// Len is how many keys wait for a worker; those that wait for a time are not counted.
func (q *Queue[K]) Len() int { return q.keys.Len() }

// Add asks for a reconcile of the key; asked for several times before it begins,
// it is done once.
func (q *Queue[K]) Add(key K) { q.keys.Add(key) }

// AddAfter asks for a reconcile of the key after a while.
func (q *Queue[K]) AddAfter(key K, after time.Duration) { q.keys.AddAfter(key, after) }

// Run works with that many workers, at least 1, until ctx ends, and returns when they have.
func (q *Queue[K]) Run(ctx context.Context, workers int, reconcile Reconcile[K]) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for q.next(ctx, reconcile) {
			}
		})
	}
	<-ctx.Done()
	q.keys.ShutDown()
	wg.Wait()
}

func (q *Queue[K]) next(ctx context.Context, reconcile Reconcile[K]) bool {
	key, stop := q.keys.Get()
	if stop {
		return false
	}
	defer q.keys.Done(key)
	if ctx.Err() != nil { // what is left belongs to the next leader
		return true
	}
	started := q.config.Clock.Now()
	after, err := guarded(ctx, key, reconcile)
	if ctx.Err() != nil { // as is what was cut off by the end
		return true
	}
	q.settle(key, after, err, q.config.Clock.Since(started))
	return true
}

// guarded turns a panic into an error: one odd object must not stop the others.
func guarded[K comparable](ctx context.Context, key K, reconcile Reconcile[K]) (after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return reconcile(ctx, key)
}

// settle is the one place that decides what comes after a reconcile.
//
//	conflict        somebody was faster: again at once, with fresh state
//	other error     again, later and later, for ever
//	after > 0       again then
//	else            done until something changes
func (q *Queue[K]) settle(key K, after time.Duration, err error, took time.Duration) {
	log := q.config.Log.With(zap.Any("key", key))
	switch {
	case apierrors.IsConflict(err):
		q.config.Observe(q.config.Name, "conflict", took)
		log.Debug("conflict: again with fresh state", zap.Error(err))
		q.keys.AddRateLimited(key)
	case err != nil:
		q.config.Observe(q.config.Name, "error", took)
		log.Error("reconcile failed: it will be tried again", zap.Error(err), zap.Int("failures", q.keys.NumRequeues(key)+1))
		q.keys.AddRateLimited(key)
	default:
		q.config.Observe(q.config.Name, "ok", took)
		log.Debug("reconciled", zap.Duration("took", took), zap.Duration("again", after))
		q.keys.Forget(key)
		if after > 0 {
			q.keys.AddAfter(key, after)
		}
	}
}
