package apiserver

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/e2e/clock"
	"maintenance-controller.io/e2e/idle"
	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/target"
)

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// TestUntilEndsMaintenance: Events and the page say when it ends, and it can be extended.
// Afterwards no annotations or ownership are left, and it can start again.
func TestUntilEndsMaintenance(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.startController()
	hour := time.Now().Add(time.Hour).Truncate(time.Second) // as it is written
	env.annotate(ingresses, "my-app", map[string]any{
		annotations.DefaultEnabled: "true", annotations.Until: rfc3339(hour), annotations.Reason: "database\nmigration", annotations.By: "ana",
	})
	set := page.SetName(pages.Until(hour).Hash())
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	data, _, err := unstructured.NestedStringMap(env.get(configMaps, set).Object, "data")
	require.NoError(t, err)
	assert.Equal(t, rfc3339(page.Minute(hour)), data[page.UntilKey])
	assert.Contains(t, message(env.waitForEvent("my-app", "MaintenanceStarted")), "until "+rfc3339(hour)+`; reason: database\nmigration; by: ana`)

	env.annotate(ingresses, "my-app", map[string]any{annotations.Until: rfc3339(hour.Add(time.Hour))})
	env.waitForEvent("my-app", "PageChanged")
	end := time.Now().Add(2 * time.Second).Truncate(time.Second)
	env.annotate(ingresses, "my-app", map[string]any{annotations.Until: rfc3339(end)})
	u := env.waitFor(ingresses, "my-app", "restored", restoredBare(ingress("my-app")))
	assert.False(t, time.Now().Before(end), "not too early")
	for _, e := range u.GetManagedFields() {
		assert.NotContains(t, e.Manager, "maintenance-controller")
		assert.NotContains(t, string(e.FieldsV1.Raw), "f:maintenance/", "%s owns a field that does not exist", e.Manager)
	}
	assert.Contains(t, message(env.waitForEvent("my-app", "MaintenanceEnded")), "annotation maintenance/until is "+rfc3339(end)+", which has passed; reason: ")
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	env.waitFor(ingresses, "my-app", "the page without a time", namesSet(defaultSet()))
	env.disable(ingresses, "my-app")
	env.waitForCleanup()
}

// TestClockJumpsPastUntil on the controller's node: maintenance ends at once, and does not
// start if its end is past.
func TestClockJumpsPastUntil(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), ingress("later"))
	p := env.newProxied()
	p.restart()
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.Until: rfc3339(time.Now().Add(2 * time.Hour))})
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	require.NoError(t, clock.Set(p.process().Pid(), 3*time.Hour))
	env.waitFor(ingresses, "my-app", "restored", restoredBare(ingress("my-app")))

	env.annotate(ingresses, "later", map[string]any{annotations.DefaultEnabled: "true", annotations.Until: rfc3339(time.Now().Add(2 * time.Hour))})
	env.waitForMessage("later", "UntilPassed", "which has passed")
	assert.True(t, restored(env.get(ingresses, "later")))
	require.NoError(t, clock.Set(p.process().Pid(), 0))
	env.annotate(ingresses, "later", map[string]any{annotations.By: "ana"}) // any change, since nothing triggers a reconcile for a time that is past
	env.waitFor(ingresses, "later", "active", state(annotations.Active))
	env.disable(ingresses, "later")
	env.waitForCleanup()
}

// TestUntilAppliedByGitOps: the controller does not fight over an applied annotation.
// Maintenance ends, the Event names the owner of the annotation, and a restart of the
// controller starts nothing.
func TestUntilAppliedByGitOps(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	r := env.startController()
	applyUntil := func(end time.Time) {
		t.Helper()
		applied := part{manager: "kustomize-controller", text: fmt.Sprintf("metadata: {annotations: {maintenance/enabled: 'true', maintenance/until: '%s'}}", rfc3339(end))}
		require.NoError(t, env.writePart(target.Ingress(), "my-app", applied, false))
	}
	applyUntil(time.Now().Add(time.Hour))
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	end := time.Now().Add(time.Second).Truncate(time.Second)
	applyUntil(end)
	u := env.waitFor(ingresses, "my-app", "restored", restoredTo(ingress("my-app")))
	assert.Equal(t, map[string]string{annotations.DefaultEnabled: "true", annotations.Until: rfc3339(end)}, u.GetAnnotations())
	env.waitForMessage("my-app", "UntilPassed", `comes from field manager "kustomize-controller" (Flux)`)

	applyUntil(end) // and again, as every ten minutes: no conflict
	r.stop()
	version := env.get(ingresses, "my-app").GetResourceVersion()
	require.NoError(t, idle.Wait(env.startController().requests, waitTimeout))
	assert.Equal(t, version, env.get(ingresses, "my-app").GetResourceVersion(), "nobody writes to the target any more")
	env.waitForCleanup()
}

// leaseManifest is a Lease as its holder creates it.
func (env *testEnv) leaseManifest(name, labels string, seconds int) string {
	return fmt.Sprintf("apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: %s, labels: %s, ownerReferences: [{apiVersion: networking.k8s.io/v1, kind: Ingress, name: my-app, uid: %s}]}\nspec: {holderIdentity: test, leaseDurationSeconds: %d, renewTime: %s}\n",
		name, labels, env.get(ingresses, "my-app").GetUID(), seconds, time.Now().UTC().Format(metav1.RFC3339Micro))
}

// keepRenewing renews a Lease, with a wrong clock, until letGo is called or the test ends.
func (env *testEnv) keepRenewing(name string) (letGo func()) {
	ctx, cancel := context.WithCancel(env.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			patch := fmt.Sprintf(`{"spec":{"renewTime":%q}}`, time.Now().Add(-24*time.Hour).UTC().Format(metav1.RFC3339Micro))
			_, err := env.client.CoordinationV1().Leases(env.namespace).Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
			if err != nil && ctx.Err() == nil {
				env.Errorf("renew %s: %v", name, err)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	letGo = func() { cancel(); wg.Wait() }
	env.Cleanup(letGo)
	return letGo
}

// TestLastLeaseEndsMaintenance: while two Leases are renewed, the controller sends nothing,
// and its restart ends nothing. Maintenance ends when neither is renewed any more.
func TestLastLeaseEndsMaintenance(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.apply(env.leaseManifest("run-1", "{maintenance/lease: ''}", 3), env.leaseManifest("run-2", "{maintenance/lease: ''}", 60))
	one, two := env.keepRenewing("run-1"), env.keepRenewing("run-2")
	r := env.startController()
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.Lease: "run-1,run-2", annotations.Reason: "run"})
	version := env.waitFor(ingresses, "my-app", "active", state(annotations.Active)).GetResourceVersion()
	one()
	require.NoError(t, idle.Wait(r.requests, waitTimeout), "a renewal causes no request, nor does the expiry of one of two Leases")
	r.stop()
	r = env.startController()
	require.NoError(t, idle.Wait(r.requests, waitTimeout))
	assert.Equal(t, version, env.get(ingresses, "my-app").GetResourceVersion(), "nobody has written to the target")
	two()
	began := time.Now()
	// It held for a minute, so that it did not expire while requests took long.
	_, err := env.client.CoordinationV1().Leases(env.namespace).Patch(env.Context(), "run-2", types.MergePatchType, []byte(`{"spec":{"leaseDurationSeconds":3}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	env.waitFor(ingresses, "my-app", "restored", restoredBare(ingress("my-app")))
	assert.Less(t, time.Since(began), 20*time.Second, "it expires after 3 s, and nothing extends it")
	assert.Contains(t, message(env.waitForEvent("my-app", "MaintenanceEnded")), "none of Leases run-1, run-2 has been renewed")
	env.waitForCleanup()
}

// TestLeaseNotHeld: a Lease that does not count is reported, and maintenance does not start
// until it counts.
func TestLeaseNotHeld(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.startController()
	env.apply(env.leaseManifest("run", "{}", 600))
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.Lease: "run"})
	assert.Contains(t, env.waitForMessage("my-app", "LeaseNotHeld", "run"), "lacks the label maintenance/lease: it does not begin maintenance")
	assert.True(t, restored(env.get(ingresses, "my-app")))
	_, err := env.client.CoordinationV1().Leases(env.namespace).Patch(env.Context(), "run", types.MergePatchType, []byte(`{"metadata":{"labels":{"maintenance/lease":"yes"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))

	_, err = env.client.CoordinationV1().Leases(env.namespace).Patch(env.Context(), "run", types.MergePatchType, []byte(`{"spec":{"leaseDurationSeconds":null}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	env.waitForMessage("my-app", "LeaseNotHeld", "does not say how long a renewal holds")
	env.annotate(ingresses, "my-app", map[string]any{annotations.Lease: nil})
	assert.True(t, state(annotations.Active)(env.get(ingresses, "my-app")), "without Leases it does not end")
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restoredTo(ingress("my-app")))
	env.waitForCleanup()
}

// TestLeaseRenewalTimeInManagedFields: the API server's own clock says there when the Lease
// was last renewed.
func TestLeaseRenewalTimeInManagedFields(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	env.apply(env.leaseManifest("run", "{maintenance/lease: ''}", 1))
	made := env.get(schemaGVR{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}, "run")
	<-after(1500 * time.Millisecond) // those times are in whole seconds
	letGo := env.keepRenewing("run")
	renewed := env.waitFor(schemaGVR{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}, "run", "renewal", func(u *unstructured.Unstructured) bool {
		return u.GetResourceVersion() != made.GetResourceVersion()
	})
	letGo()
	var last time.Time
	for _, e := range renewed.GetManagedFields() {
		if e.Time.After(last) {
			last = e.Time.Time
		}
	}
	assert.True(t, last.After(made.GetCreationTimestamp().Time), "%v", renewed.GetManagedFields())
}
