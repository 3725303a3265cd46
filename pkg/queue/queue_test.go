package queue

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// work runs a queue with one key for a duration of fake time, and returns how often it was
// reconciled and with which results.
func work(t *testing.T, d time.Duration, reconcile func(ctx context.Context, n int64) (time.Duration, error)) (times int64, results map[string]int) {
	t.Helper()
	results = map[string]int{}
	synctest.Test(t, func(*testing.T) {
		var n atomic.Int64
		q := New[string](Config{Name: "test", Log: zap.NewNop(), Observe: func(_, result string, _ time.Duration) { results[result]++ }})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			q.Run(ctx, 1, func(ctx context.Context, _ string) (time.Duration, error) { return reconcile(ctx, n.Add(1)) })
		}()
		q.Add("key")
		time.Sleep(d) // fake time: no real time passes
		cancel()
		<-done
		times = n.Load()
	})
	return times, results
}

func TestSettle(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "ingresses"}, "a", errors.New("newer"))
	for name, tc := range map[string]struct {
		lasts     time.Duration
		reconcile func(ctx context.Context, n int64) (time.Duration, error)
		times     int64
		results   map[string]int
	}{
		"done until something changes": {time.Hour, func(context.Context, int64) (time.Duration, error) { return 0, nil }, 1, map[string]int{"ok": 1}},
		"again after a while":          {95 * time.Second, func(context.Context, int64) (time.Duration, error) { return 10 * time.Second, nil }, 10, map[string]int{"ok": 10}},
		"a conflict: at once": {time.Second, func(_ context.Context, n int64) (time.Duration, error) {
			if n == 1 {
				return 0, conflict
			}
			return 0, nil
		}, 2, map[string]int{"conflict": 1, "ok": 1}},
		"the namespace is gone: nothing is retried": {time.Hour, func(context.Context, int64) (time.Duration, error) {
			return 0, fmt.Errorf("create: %w", apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "shop"))
		}, 1, map[string]int{"ok": 1}},
		"another object is missing: retried": {100 * time.Millisecond, func(_ context.Context, n int64) (time.Duration, error) {
			if n == 1 {
				return 0, apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, "a")
			}
			return 0, nil
		}, 2, map[string]int{"error": 1, "ok": 1}},
		// 50 ms doubling to 30 s: ten in the first 25.55 s, then one each 30 s.
		"an error: later and later, for ever": {2 * time.Hour, func(context.Context, int64) (time.Duration, error) { return 0, errors.New("no") }, 249, map[string]int{"error": 249}},
		"a panic is an error": {time.Second, func(_ context.Context, n int64) (time.Duration, error) {
			if n == 1 {
				panic("odd object")
			}
			return 0, nil
		}, 2, map[string]int{"error": 1, "ok": 1}},
		"a request that is never answered": {reconcileTimeout + time.Second, func(ctx context.Context, n int64) (time.Duration, error) {
			if n == 1 {
				<-ctx.Done()
				return 0, ctx.Err()
			}
			return 0, nil
		}, 2, map[string]int{"error": 1, "ok": 1}},
		"cut off by the end: no error, the next leader does it": {time.Second, func(ctx context.Context, _ int64) (time.Duration, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}, 1, map[string]int{}},
	} {
		t.Run(name, func(t *testing.T) {
			times, results := work(t, tc.lasts, tc.reconcile)
			assert.Equal(t, tc.times, times)
			assert.Equal(t, tc.results, results)
		})
	}
}
