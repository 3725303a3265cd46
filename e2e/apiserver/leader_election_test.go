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

// A controller without the Lease does not write.

const leaseName = "maintenance-controller"

// renew writes the Lease like another replica whose clock is wrong.
func (env *testEnv) renew(holder string, clock time.Duration) error {
	now, duration := metav1.NewMicroTime(time.Now().Add(clock)), int32(3)
	api := env.client.CoordinationV1().Leases(env.controllerNamespace)
	lease, err := api.Get(env.Context(), leaseName, metav1.GetOptions{})
	there := err == nil
	if !there {
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: leaseName}}
	}
	lease.Spec.HolderIdentity, lease.Spec.RenewTime, lease.Spec.LeaseDurationSeconds = &holder, &now, &duration
	if there {
		_, err = api.Update(env.Context(), lease, metav1.UpdateOptions{})
	} else {
		_, err = api.Create(env.Context(), lease, metav1.CreateOptions{})
	}
	if isConflict(err) { // the controller has renewed it in between
		return env.renew(holder, clock)
	}
	return err
}

// TestLostLeaseStopsTheController: somebody else takes the Lease while the controller is
// busy. It stops at its next renewal, not after --lease-renew-deadline, and then completes
// only the writes that are in progress.
func TestLostLeaseStopsTheController(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	const apps = 20
	for i := range apps {
		env.apply(ingress(fmt.Sprintf("app-%d", i)))
	}
	p := env.newProxied()
	p.restart("--leader-elect=true", "--lease-duration=60s", "--lease-renew-deadline=40s", "--lease-retry-period=500ms")
	env.enable(ingresses, "app-0")
	env.waitFor(ingresses, "app-0", "active", state(annotations.Active))
	var toggling sync.WaitGroup
	busy, idle := context.WithCancel(t.Context())
	defer idle()
	toggling.Go(func() {
		for i := 0; busy.Err() == nil; i++ {
			value := []any{"true", nil}[i/apps%2]
			assert.NoError(t, env.tryAnnotate(ingresses, fmt.Sprintf("app-%d", i%apps), map[string]any{annotations.DefaultEnabled: value}))
		}
	})
	var seen atomic.Bool
	var late atomic.Int64
	p.proxy.SetFaults(func(c faultproxy.Call) *faultproxy.Fault {
		if c.Resource == "leases" && c.Verb == "get" {
			return faultproxy.AfterAnswer(func() { seen.Store(true) })
		}
		if seen.Load() && c.ChangesObjects() {
			late.Add(1)
		}
		return nil
	})
	before := writes(p.proxy.Counts())
	require.NoError(t, env.renew("a thief", 0))
	lost := time.Now()
	select {
	case <-p.process().Done():
	case <-after(waitTimeout):
		t.Fatal("timed out: it still runs without the Lease")
	}
	assert.Less(t, time.Since(lost), 10*time.Second, "at its next renewal, every 500 ms, and not after 40 s")
	idle()
	toggling.Wait()
	assert.True(t, seen.Load())
	const workers = 16
	assert.LessOrEqual(t, late.Load(), int64(2*workers), "at most one write in progress per worker of the two queues")
	t.Logf("%d writes before, stopped after %s, %d writes after it saw that the Lease was lost", before, time.Since(lost), late.Load())
	assert.Equal(t, 1, p.process().Stop(), "the exit code makes the kubelet restart it")

	// The thief does not renew: after its three seconds the next replica leads.
	p.proxy.SetFaults(nil)
	p.restart()
	for i := range apps {
		env.disable(ingresses, fmt.Sprintf("app-%d", i))
	}
	for i := range apps {
		name := fmt.Sprintf("app-%d", i)
		env.waitFor(ingresses, name, "restored", restoredTo(ingress(name)))
	}
	env.waitForCleanup()
}

// writes counts the calls that change objects.
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

// TestLeaseExpiryIgnoresClockSkew: a replica whose clock is a day fast or slow renews the
// Lease. Until it stops renewing, the controller stands by. Then the controller takes over.
func TestLeaseExpiryIgnoresClockSkew(t *testing.T) {
	t.Parallel()
	for name, clock := range map[string]time.Duration{"a day fast": 24 * time.Hour, "a day slow": -24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t)
			require.NoError(t, env.renew("another", clock))
			p := env.newProxied()
			// It is renewed before each look, so that every look sees a renewal, on any machine.
			const renewals = 20 // at least twice the Lease's duration
			renewed := make(chan error, renewals)
			var looks atomic.Int64
			p.proxy.SetFaults(func(c faultproxy.Call) *faultproxy.Fault {
				if c.Resource == "leases" && c.Verb == "get" && looks.Add(1) <= renewals {
					assert.Equal(t, 0, writes(p.proxy.Counts()), "it stands by")
					renewed <- env.renew("another", clock)
				}
				return nil
			})
			env.apply(ingress("my-app"))
			env.enable(ingresses, "my-app")
			p.restart("--leader-elect=true", "--lease-duration=60s", "--lease-renew-deadline=40s", "--lease-retry-period=200ms")
			for range renewals {
				select {
				case err := <-renewed:
					require.NoError(t, err)
				case <-after(waitTimeout):
					t.Fatal("timed out: it no longer reads the Lease")
				}
			}
			env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
		})
	}
}

// TestUnansweredLeaseRequestDoesNotBlockElection: the standby's first request for the Lease
// is never answered. It retries and becomes the leader.
func TestUnansweredLeaseRequestDoesNotBlockElection(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	p := env.newProxied()
	var asked atomic.Bool
	p.proxy.SetFaults(func(c faultproxy.Call) *faultproxy.Fault {
		if c.Resource == "leases" && asked.CompareAndSwap(false, true) {
			return faultproxy.Hang(0)
		}
		return nil
	})
	p.restart("--leader-elect=true", "--lease-duration=15s", "--lease-renew-deadline=10s", "--lease-retry-period=200ms")
	env.apply(ingress("my-app"))
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	assert.True(t, asked.Load())
}
