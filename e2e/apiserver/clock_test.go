package apiserver

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/e2e/clock"
	"maintenance-controller.io/pkg/annotations"
)

// TestClockJumps sets the wall clock of the controller three days forward and back during
// maintenance. The controller stays the leader, ends maintenance and waits for its grace
// periods, and no message has a negative duration.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	const days = 72 * time.Hour
	for name, off := range map[string]time.Duration{"ahead": days, "back": -days} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t)
			env.requireNoGaps()
			env.apply(ingress("my-app"), ingress("later"))
			p := env.newProxied()
			address := freeAddress(t)
			p.restart("--leader-elect=true", "--lease-duration=60s", "--lease-renew-deadline=40s", "--lease-retry-period=300ms", "--listen="+address)
			env.enable(ingresses, "my-app")
			env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
			transitions := env.leaseTransitions()

			require.NoError(t, clock.Set(p.process().Pid(), off))
			env.enable(ingresses, "later")
			u := env.waitFor(ingresses, "later", "active", state(annotations.Active))
			since, err := time.Parse(time.RFC3339, u.GetAnnotations()[annotations.Since])
			require.NoError(t, err)
			assert.WithinDuration(t, time.Now().Add(off), since, time.Minute, "the program's clock has jumped")
			waitForMetric(t, address, "maintenance_leader 1")
			env.disable(ingresses, "my-app")
			env.waitFor(ingresses, "my-app", "restored", restoredTo(ingress("my-app")))
			assert.NotContains(t, message(env.waitForEvent("my-app", "MaintenanceEnded")), "-", "no negative duration")

			require.NoError(t, clock.Set(p.process().Pid(), 0))
			env.disable(ingresses, "later")
			env.waitFor(ingresses, "later", "restored", restoredTo(ingress("later")))
			env.waitForCleanup()
			assert.Equal(t, transitions, env.leaseTransitions(), "it was the leader all the time")
			select {
			case <-p.process().Done():
				t.Error("the program has exited")
			default:
			}
		})
	}
}

// leaseTransitions is how often the Lease has changed its holder.
func (env *testEnv) leaseTransitions() int32 {
	env.Helper()
	lease, err := env.client.CoordinationV1().Leases(env.controllerNamespace).Get(env.Context(), leaseName, metav1.GetOptions{})
	require.NoError(env, err)
	require.NotNil(env, lease.Spec.LeaseTransitions)
	return *lease.Spec.LeaseTransitions
}
