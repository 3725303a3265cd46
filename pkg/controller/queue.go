package controller

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
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

// queue runs reconciles of one sort of key, each key at most once at a time.
type queue[K comparable] struct {
	workqueue.TypedRateLimitingInterface[K]
	name      string
	log       *zap.Logger
	observe   func(queue, result string, took time.Duration)
	reconcile func(context.Context, K) (time.Duration, error)
}

func newQueue[K comparable](name string, log *zap.Logger, observe func(string, string, time.Duration)) *queue[K] {
	return &queue[K]{
		TypedRateLimitingInterface: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[K](minBackoff, maxBackoff)),
		name:                       name, log: log.With(zap.String("queue", name)), observe: observe,
	}
}

// run works until ctx ends, and returns when its workers have.
func (q *queue[K]) run(ctx context.Context, workers int, reconcile func(context.Context, K) (time.Duration, error)) {
	q.reconcile = reconcile
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for q.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	q.ShutDown()
	wg.Wait()
}

func (q *queue[K]) next(ctx context.Context) bool {
	key, stop := q.Get()
	if stop {
		return false
	}
	defer q.Done(key)
	if ctx.Err() != nil { // what is left belongs to the next leader
		return true
	}
	started := time.Now()
	after, err := q.guarded(ctx, key)
	if ctx.Err() != nil { // as is what was cut off by the end
		return true
	}
	q.settle(key, after, err, time.Since(started))
	return true
}

// guarded turns a panic into an error: one odd object must not stop the others.
func (q *queue[K]) guarded(ctx context.Context, key K) (after time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
		}
	}()
	return q.reconcile(ctx, key)
}

// settle is the one place that decides what comes after a reconcile.
//
//	conflict        somebody was faster: again at once, with fresh state
//	other error     again, later and later, for ever
//	after > 0       again then
//	else            done until something changes
func (q *queue[K]) settle(key K, after time.Duration, err error, took time.Duration) {
	log := q.log.With(zap.Any("key", key))
	switch {
	case apierrors.IsConflict(err):
		q.observe(q.name, "conflict", took)
		log.Debug("conflict: again with fresh state", zap.Error(err))
		q.AddRateLimited(key)
	case err != nil:
		q.observe(q.name, "error", took)
		log.Error("reconcile failed: it will be tried again", zap.Error(err), zap.Int("failures", q.NumRequeues(key)+1))
		q.AddRateLimited(key)
	default:
		q.observe(q.name, "ok", took)
		log.Debug("reconciled", zap.Duration("took", took), zap.Duration("again", after))
		q.Forget(key)
		if after > 0 {
			q.AddAfter(key, after)
		}
	}
}
