// Package queue runs reconciles: workers process the keys that are added, each key by one worker at
// a time. A key that fails is retried with growing backoff and never given up.
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

	"maintenance-controller.io/pkg/refusal"
)

// Backoff of a failing key, doubled after each failure. It is never given up.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 30 * time.Second
)

// reconcileTimeout bounds one reconcile. The API server ends a request after a minute by default
// (--request-timeout); one that has no answer after two minutes was lost on the way, and must not
// block its key for ever.
const reconcileTimeout = 2 * time.Minute

// Reconcile brings the object of a key one step closer to its desired state. It returns after how
// long to reconcile again although nothing has changed; 0 means never.
type Reconcile[K comparable] func(context.Context, K) (time.Duration, error)

// Config configures a Queue.
type Config struct {
	// Name of the queue, in logs and for Observe. Required.
	Name string
	Log  *zap.Logger // required
	// Observe is called after each reconcile with the queue's name, the result (ok, conflict or
	// error) and the duration. Nil observes nothing.
	Observe func(queue, result string, took time.Duration)
	// Clock for waits and durations; nil is the real one.
	Clock clock.WithTicker
}

// Queue runs reconciles of one type of key, each key at most once at a time.
type Queue[K comparable] struct {
	config Config
	keys   workqueue.TypedRateLimitingInterface[K]
}

// New returns a queue. Keys may be added before Run.
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

// Name returns the name of the queue.
func (q *Queue[K]) Name() string { return q.config.Name }

// Len returns how many keys wait for a worker. Keys that wait for a time are not counted.
func (q *Queue[K]) Len() int { return q.keys.Len() }

// Add requests a reconcile of the key. Requests made before it begins are served by one reconcile.
func (q *Queue[K]) Add(key K) { q.keys.Add(key) }

// AddAfter requests a reconcile of the key after a duration.
func (q *Queue[K]) AddAfter(key K, after time.Duration) { q.keys.AddAfter(key, after) }

// Run reconciles with that many workers, at least 1, until ctx ends, and returns when they have
// stopped.
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
	if ctx.Err() != nil { // the next leader handles the remaining keys
		return true
	}
	started := q.config.Clock.Now()
	after, err := runGuarded(ctx, key, reconcile)
	if ctx.Err() != nil { // and those that were interrupted
		return true
	}
	q.settle(key, after, err, q.config.Clock.Since(started))
	return true
}

// runGuarded turns a panic into an error: one odd object must not stop the others.
func runGuarded[K comparable](ctx context.Context, key K, reconcile Reconcile[K]) (after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, reconcileTimeout)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return reconcile(ctx, key)
}

// settle is the only place that decides what follows a reconcile.
//
//	conflict        another client was faster: retry at once, with fresh state
//	namespace gone  done: the watches show the deletion of everything in it
//	other error     retry with growing backoff, for ever
//	after > 0       reconcile again after that time
//	else            done until something changes
func (q *Queue[K]) settle(key K, after time.Duration, err error, took time.Duration) {
	log := q.config.Log.With(zap.Any("key", key))
	switch {
	case apierrors.IsConflict(err):
		q.config.Observe(q.config.Name, "conflict", took)
		log.Debug("conflict: retrying with fresh state", zap.Error(err))
		q.keys.AddRateLimited(key)
	case refusal.NamespaceGone(err):
		q.config.Observe(q.config.Name, "ok", took)
		log.Debug("the namespace is gone: nothing is left to do", zap.Error(err))
		q.keys.Forget(key)
	case err != nil:
		q.config.Observe(q.config.Name, "error", took)
		log.Error("reconcile failed: retrying", zap.Error(err), zap.Int("failures", q.keys.NumRequeues(key)+1))
		q.keys.AddRateLimited(key)
	default:
		q.config.Observe(q.config.Name, "ok", took)
		log.Debug("reconciled", zap.Duration("took", took), zap.Duration("next", after))
		q.keys.Forget(key)
		if after > 0 {
			q.keys.AddAfter(key, after)
		}
	}
}
