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
	"maintenance-controller.io/e2e/quiet"
	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/target"
)

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// bare: the spec is the author's again, and not an annotation is left.
func bare(manifest string) condition {
	return func(u *unstructured.Unstructured) bool { return specIs(manifest)(u) && len(u.GetAnnotations()) == 0 }
}

// TestUntilEndsByItself: it is told and shown when it ends, it can be extended, and
// afterwards nothing is left, nobody owns what has gone, and it can begin anew.
func TestUntilEndsByItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.start()
	hour := time.Now().Add(time.Hour)
	w.annotate(ingresses, "my-app", map[string]any{
		annotations.DefaultEnabled: "true", annotations.Until: rfc3339(hour), annotations.Reason: "database\nmigration", annotations.By: "ana",
	})
	set := page.SetName(pages.Until(hour).Hash())
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	data, _, err := unstructured.NestedStringMap(w.get(configMaps, set).Object, "data")
	require.NoError(t, err)
	assert.Equal(t, rfc3339(page.Minute(hour)), data[page.UntilKey])
	assert.Contains(t, message(w.untilEvent("my-app", "MaintenanceStarted")), "until "+rfc3339(hour)+`; reason: database\nmigration; by: ana`)

	end := time.Now().Add(4 * time.Second).Truncate(time.Second)
	w.annotate(ingresses, "my-app", map[string]any{annotations.Until: rfc3339(end)})
	w.untilEvent("my-app", "PageChanged")
	u := w.until(ingresses, "my-app", "its end", bare(ingress("my-app")))
	assert.False(t, time.Now().Before(end), "not too early")
	for _, e := range u.GetManagedFields() {
		assert.NotContains(t, e.Manager, "maintenance-controller")
		assert.NotContains(t, string(e.FieldsV1.Raw), "f:maintenance/", "%s owns what is not there", e.Manager)
	}
	assert.Contains(t, message(w.untilEvent("my-app", "MaintenanceEnded")), "annotation maintenance/until is "+rfc3339(end)+", which is past; reason: ")
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	w.until(ingresses, "my-app", "the page without an end", onNamed(defaultSet()))
	w.off(ingresses, "my-app")
	w.untilClean()
}

// TestTheClockJumpsOverTheEnd: of the program's node. It ends at once, and what is past
// does not begin.
func TestTheClockJumpsOverTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), ingress("later"))
	p := w.proxied()
	p.restart()
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.Until: rfc3339(time.Now().Add(2 * time.Hour))})
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	require.NoError(t, clock.Set(p.program().Pid(), 3*time.Hour))
	w.until(ingresses, "my-app", "its end", bare(ingress("my-app")))

	w.annotate(ingresses, "later", map[string]any{annotations.DefaultEnabled: "true", annotations.Until: rfc3339(time.Now().Add(2 * time.Hour))})
	w.untilTold("later", "EndPassed", "which is past")
	assert.True(t, restored(w.get(ingresses, "later")))
	require.NoError(t, clock.Set(p.program().Pid(), 0))
	w.annotate(ingresses, "later", map[string]any{annotations.By: "ana"}) // anything: nobody looks again at what is past
	w.until(ingresses, "later", "active", state(annotations.Active))
	w.off(ingresses, "later")
	w.untilClean()
}

// TestGitOpsOwnsTheRequest: what is applied is not fought over. It ends all the same, who
// owns it is told, and a restart of the controller begins nothing.
func TestGitOpsOwnsTheRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	r := w.start()
	end := time.Now().Add(5 * time.Second).Truncate(time.Second)
	applied := part{manager: "kustomize-controller", text: fmt.Sprintf("metadata: {annotations: {maintenance/enabled: 'true', maintenance/until: '%s'}}", rfc3339(end))}
	require.NoError(t, w.say(target.Ingress(), "my-app", applied, false))
	w.until(ingresses, "my-app", "active", state(annotations.Active))
	u := w.until(ingresses, "my-app", "its end", specIs(ingress("my-app")))
	assert.Equal(t, map[string]string{annotations.DefaultEnabled: "true", annotations.Until: rfc3339(end)}, u.GetAnnotations())
	w.untilTold("my-app", "EndPassed", `is kept by field manager "kustomize-controller" (Flux)`)

	require.NoError(t, w.say(target.Ingress(), "my-app", applied, false), "and again, as it does each ten minutes: nobody has taken anything from it")
	r.stop()
	version := w.get(ingresses, "my-app").GetResourceVersion()
	require.NoError(t, quiet.Until(w.start().requests, patience))
	assert.Equal(t, version, w.get(ingresses, "my-app").GetResourceVersion(), "nobody writes to it any more")
	w.untilClean()
}

// leaseNamed is one as its holder makes it.
func (w *world) leaseNamed(name, labels string, seconds int) string {
	return fmt.Sprintf("apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: %s, labels: %s, ownerReferences: [{apiVersion: networking.k8s.io/v1, kind: Ingress, name: my-app, uid: %s}]}\nspec: {holderIdentity: test, leaseDurationSeconds: %d, renewTime: %s}\n",
		name, labels, w.get(ingresses, "my-app").GetUID(), seconds, time.Now().UTC().Format(metav1.RFC3339Micro))
}

// holding renews a Lease until the test ends or it is let go of, by a clock that is wrong.
func (w *world) holding(name string) (letGo func()) {
	ctx, cancel := context.WithCancel(w.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			patch := fmt.Sprintf(`{"spec":{"renewTime":%q}}`, time.Now().Add(-24*time.Hour).UTC().Format(metav1.RFC3339Micro))
			_, err := w.client.CoordinationV1().Leases(w.namespace).Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
			if err != nil && ctx.Err() == nil {
				w.Errorf("renew %s: %v", name, err)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	letGo = func() { cancel(); wg.Wait() }
	w.Cleanup(letGo)
	return letGo
}

// TestTheLastLeaseEndsIt: two hold it. While they renew, nothing is sent to the target, a
// restart of the controller ends nothing, and once both have let go it is over.
func TestTheLastLeaseEndsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.apply(w.leaseNamed("run-1", "{maintenance/lease: ''}", 3), w.leaseNamed("run-2", "{maintenance/lease: ''}", 3))
	one, two := w.holding("run-1"), w.holding("run-2")
	r := w.start()
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.Lease: "run-1,run-2", annotations.Reason: "run"})
	version := w.until(ingresses, "my-app", "active", state(annotations.Active)).GetResourceVersion()
	one()
	require.NoError(t, quiet.Until(r.requests, patience), "renewals are nothing to act on, nor is a Lease that expires beside another")
	r.stop()
	r = w.start()
	require.NoError(t, quiet.Until(r.requests, patience))
	assert.Equal(t, version, w.get(ingresses, "my-app").GetResourceVersion(), "nobody has written to it")
	two()
	began := time.Now()
	w.until(ingresses, "my-app", "its end", bare(ingress("my-app")))
	assert.Less(t, time.Since(began), 20*time.Second, "it has 3 s, and nothing extends it")
	assert.Contains(t, message(w.untilEvent("my-app", "MaintenanceEnded")), "none of Leases run-1, run-2 has been renewed")
	w.untilClean()
}

// TestALeaseThatIsNone: what does not hold is told, and maintenance does not begin for its
// sake, until it does.
func TestALeaseThatIsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.start()
	w.apply(w.leaseNamed("run", "{}", 600))
	w.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.Lease: "run"})
	assert.Contains(t, w.untilTold("my-app", "LeaseNotHeld", "run"), "lacks the label maintenance/lease: maintenance does not begin for its sake")
	assert.True(t, restored(w.get(ingresses, "my-app")))
	_, err := w.client.CoordinationV1().Leases(w.namespace).Patch(w.Context(), "run", types.MergePatchType, []byte(`{"metadata":{"labels":{"maintenance/lease":"yes"}}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	w.until(ingresses, "my-app", "active", state(annotations.Active))

	_, err = w.client.CoordinationV1().Leases(w.namespace).Patch(w.Context(), "run", types.MergePatchType, []byte(`{"spec":{"leaseDurationSeconds":null}}`), metav1.PatchOptions{})
	require.NoError(t, err)
	w.untilTold("my-app", "LeaseNotHeld", "does not say for how long a renewal holds")
	w.annotate(ingresses, "my-app", map[string]any{annotations.Lease: nil})
	assert.True(t, state(annotations.Active)(w.get(ingresses, "my-app")), "without Leases there is no end")
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", specIs(ingress("my-app")))
	w.untilClean()
}

// TestALeaseThatWasLeftOver is known by the times of managedFields: the API server says
// there when it was renewed last, by its own clock.
func TestALeaseThatWasLeftOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	w.apply(w.leaseNamed("run", "{maintenance/lease: ''}", 1))
	made := w.get(schemaGVR{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}, "run")
	<-after(1500 * time.Millisecond) // what is looked at is a time of whole seconds
	letGo := w.holding("run")
	renewed := w.until(schemaGVR{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}, "run", "a renewal", func(u *unstructured.Unstructured) bool {
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
