package apiserver

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/e2e/faultproxy"
	"maintenance-controller.io/pkg/annotations"
)

// The Lease: whoever does not hold it does not write.

const leaseName = "maintenance-controller"

// renew writes the Lease as another replica does whose clock is off.
func (w *world) renew(holder string, clock time.Duration) {
	w.Helper()
	now, duration := metav1.NewMicroTime(time.Now().Add(clock)), int32(3)
	api := w.client.CoordinationV1().Leases(w.own)
	lease, err := api.Get(w.Context(), leaseName, metav1.GetOptions{})
	there := err == nil
	if !there {
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: leaseName}}
	}
	lease.Spec.HolderIdentity, lease.Spec.RenewTime, lease.Spec.LeaseDurationSeconds = &holder, &now, &duration
	if there {
		_, err = api.Update(w.Context(), lease, metav1.UpdateOptions{})
	} else {
		_, err = api.Create(w.Context(), lease, metav1.CreateOptions{})
	}
	if !isConflict(err) { // it renews again in a moment
		require.NoError(w, err)
	}
}

// TestALostLeaseEndsTheWork: somebody else writes himself into the Lease while the
// program has its hands full. It stops with its next look at the Lease, not when
// --lease-renew-deadline is over, and writes nothing after that but what was under way.
func TestALostLeaseEndsTheWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const apps = 20
	for i := range apps {
		w.apply(ingress(fmt.Sprintf("app-%d", i)))
	}
	p := w.proxied()
	p.restart("--leader-elect=true", "--lease-duration=60s", "--lease-renew-deadline=40s", "--lease-retry-period=500ms")
	w.on(ingresses, "app-0")
	w.until(ingresses, "app-0", "active", state(annotations.Active))
	var toggling sync.WaitGroup
	busy, idle := context.WithCancel(t.Context())
	defer idle()
	toggling.Go(func() {
		for i := 0; busy.Err() == nil; i++ {
			value := []any{"true", nil}[i/apps%2]
			assert.NoError(t, w.patched(ingresses, fmt.Sprintf("app-%d", i%apps), map[string]any{annotations.DefaultEnabled: value}))
		}
	})
	var seen atomic.Bool
	var late atomic.Int64
	p.proxy.Judge(func(c faultproxy.Call) *faultproxy.Fault {
		if c.Resource == "leases" && c.Verb == "get" {
			return faultproxy.Answered(func() { seen.Store(true) })
		}
		if seen.Load() && c.Lasting() {
			late.Add(1)
		}
		return nil
	})
	before := writes(p.proxy.Counts())
	w.renew("a thief", 0)
	lost := time.Now()
	select {
	case <-p.program().Done():
	case <-after(patience):
		t.Fatal("it works on without the Lease")
	}
	idle()
	toggling.Wait()
	assert.Less(t, time.Since(lost), 10*time.Second, "at the next look at the Lease")
	assert.True(t, seen.Load())
	const workers = 16
	assert.LessOrEqual(t, late.Load(), int64(2*workers), "only what was under way: a write of each worker of the two queues")
	t.Logf("%d writes before, stopped after %s, %d writes after it has seen the loss", before, time.Since(lost), late.Load())
	assert.Equal(t, 1, p.program().Stop(), "the exit code tells the kubelet to start it again")

	// The thief does not renew: after its three seconds the next replica works.
	p.proxy.Judge(nil)
	p.restart("--lease-duration=2s", "--lease-renew-deadline=1s", "--lease-retry-period=200ms")
	for i := range apps {
		w.off(ingresses, fmt.Sprintf("app-%d", i))
	}
	for i := range apps {
		name := fmt.Sprintf("app-%d", i)
		w.until(ingresses, name, "restored", specIs(ingress(name)))
	}
	w.untilClean()
}

// writes counts those that change what belongs to anybody.
func writes(c faultproxy.Counts) (n int) {
	for call, times := range c.Writes {
		switch call {
		case "create leases", "update leases", "create events", "patch events":
		default:
			n += times
		}
	}
	return n
}

// TestALeaseIsJudgedByNobodysClock: a replica whose clock is a day fast or slow
// renews the Lease. As long as it does, the program stands by; when it does no more,
// the program takes over.
func TestALeaseIsJudgedByNobodysClock(t *testing.T) {
	t.Parallel()
	for name, clock := range map[string]time.Duration{"a day fast": 24 * time.Hour, "a day slow": -24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.renew("another", clock)
			p := w.proxied()
			looks := make(chan struct{}, 1000)
			p.proxy.Judge(func(c faultproxy.Call) *faultproxy.Fault {
				if c.Resource == "leases" && c.Verb == "get" {
					looks <- struct{}{}
				}
				return nil
			})
			p.restart("--leader-elect=true", "--lease-duration=3s", "--lease-renew-deadline=2s", "--lease-retry-period=200ms")
			w.apply(ingress("my-app"))
			w.on(ingresses, "my-app")
			for range 20 { // two times its duration, or more
				select {
				case <-looks:
				case <-after(patience):
					t.Fatal("it does not look at the Lease any more")
				}
				w.renew("another", clock)
			}
			assert.Empty(t, w.get(ingresses, "my-app").GetAnnotations()[annotations.State], "it stands by")
			assert.Equal(t, 0, writes(p.proxy.Counts()))
			w.until(ingresses, "my-app", "active", state(annotations.Active))
		})
	}
}

// TestALostRequestKeepsNobodyFromLeading: the standby's look at the Lease is never
// answered. It asks again, and leads.
func TestALostRequestKeepsNobodyFromLeading(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.proxied()
	var asked atomic.Bool
	p.proxy.Judge(func(c faultproxy.Call) *faultproxy.Fault {
		if c.Resource == "leases" && asked.CompareAndSwap(false, true) {
			return faultproxy.Hang(0)
		}
		return nil
	})
	p.restart("--leader-elect=true", "--lease-duration=3s", "--lease-renew-deadline=2s", "--lease-retry-period=200ms")
	w.apply(ingress("my-app"))
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	assert.True(t, asked.Load())
}
