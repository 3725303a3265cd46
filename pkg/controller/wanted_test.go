package controller

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"maintenance-controller.io/pkg/annotations"
)

// shiftedClock is a clock that can be set forward and back without timers noticing.
type shiftedClock struct {
	clock.RealClock
	by atomic.Int64
}

func (p *shiftedClock) Now() time.Time { return time.Now().Round(0).Add(time.Duration(p.by.Load())) }

func (p *shiftedClock) shift(by time.Duration) { p.by.Store(int64(by)) }

// switchOn switches maintenance on with more annotations, and waits until the page is shown.
func (w *world) switchOn(pairs ...string) {
	w.Helper()
	for i := 0; i < len(pairs); i += 2 {
		w.annotate(pairs[i], pairs[i+1])
	}
	w.annotate(annotations.DefaultEnabled, "true")
	w.pass(time.Second)
	w.MakePodsReady(w.T, namespace)
	w.pass(5 * time.Second)
	require.Equal(w, annotations.Active, w.state())
}

func (w *world) ended() bool { return w.backend() == "my-app" && len(w.get().GetAnnotations()) == 0 }

func afterNow(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

func TestUntilEndsMaintenance(t *testing.T) {
	inWorld(t, func(w *world) {
		w.switchOn(annotations.Until, afterNow(6*time.Hour), annotations.Reason, "database migration", annotations.By, "alice")
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), "reason: database migration; by: alice")
		w.expectNoRequests(6*time.Hour - time.Minute)
		w.pass(time.Minute - 10*time.Second)
		assert.NotEqual(w, "my-app", w.backend(), "it has a few seconds left")
		w.pass(10 * time.Second)
		assert.True(w, w.ended(), "%v", w.get().GetAnnotations())
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), "which has passed; reason: database migration; by: alice")
		w.pass(10 * time.Minute)
		w.expectNoRequests(24 * time.Hour)
	})
}

// TestUntilIsExtended: a later minute gives another page, a later second in the same minute does
// not.
func TestUntilIsExtended(t *testing.T) {
	inWorld(t, func(w *world) {
		start := time.Now()
		w.switchOn(annotations.Until, start.Add(time.Hour-30*time.Second).UTC().Format(time.RFC3339))
		before := w.backend()
		w.annotate(annotations.Until, start.Add(time.Hour-20*time.Second).UTC().Format(time.RFC3339))
		w.pass(time.Minute)
		assert.Equal(w, before, w.backend())
		w.annotate(annotations.Until, start.Add(2*time.Hour).UTC().Format(time.RFC3339))
		w.pass(time.Second)
		w.MakePodsReady(w.T, namespace)
		w.pass(time.Minute)
		assert.NotEqual(w, before, w.backend())
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), "Normal PageChanged")
		w.pass(time.Hour)
		assert.NotEqual(w, "my-app", w.backend(), "the first end does not count any more")
		w.pass(time.Hour)
		assert.True(w, w.ended())
	})
}

func TestUntilFollowsTheClock(t *testing.T) {
	c := &shiftedClock{}
	inWorldWithClock(t, c, func(w *world) {
		w.switchOn(annotations.Until, afterNow(6*time.Hour))
		c.shift(-3 * time.Hour)
		w.pass(8 * time.Hour)
		assert.NotEqual(w, "my-app", w.backend(), "the time has not come")
		c.shift(0)
		w.pass(time.Minute)
		assert.True(w, w.ended(), "the wall clock counts, at once")
		c.shift(-3 * time.Hour)
		w.pass(10 * time.Minute)
		assert.True(w, w.ended(), "maintenance that has ended does not begin again")
	})
}

// renewLease creates a Lease as its holder does, or renews an existing one.
func (w *world) renewLease(name string, seconds int32) {
	w.Helper()
	leases := w.Client.CoordinationV1().Leases(namespace)
	now := metav1.NewMicroTime(time.Now())
	there, err := leases.Get(w.Context(), name, metav1.GetOptions{})
	if err == nil {
		there.Spec.RenewTime = &now
		_, err = leases.Update(w.Context(), there, metav1.UpdateOptions{})
		require.NoError(w, err)
		return
	}
	_, err = leases.Create(w.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{annotations.LeaseLabel: "true"}},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To(name), LeaseDurationSeconds: &seconds, RenewTime: &now},
	}, metav1.CreateOptions{})
	require.NoError(w, err)
}

// newRequests lists the requests since the last call, except discovery and what the test itself does
// to Leases.
func (w *world) newRequests() (all []string) {
	requests := w.Requests()
	for _, request := range requests[w.listed:] {
		if !strings.HasPrefix(request, "get resource ") && !strings.Contains(request, " leases ") {
			all = append(all, request)
		}
	}
	w.listed = len(requests)
	return all
}

func TestLastLeaseEndsMaintenance(t *testing.T) {
	inWorld(t, func(w *world) {
		w.renewLease("run-1", 60)
		w.renewLease("run-2", 60)
		w.switchOn(annotations.Lease, "run-1,run-2")
		w.newRequests()
		for range 30 { // ten minutes
			w.pass(20 * time.Second)
			w.renewLease("run-1", 60)
			w.renewLease("run-2", 60)
		}
		w.pass(time.Second)
		assert.Empty(w, w.newRequests(), "renewals cause no requests")
		for range 6 { // run-2 is no longer renewed
			w.renewLease("run-1", 60)
			w.pass(20 * time.Second)
		}
		assert.NotEqual(w, "my-app", w.backend())
		w.pass(39 * time.Second)
		assert.NotEqual(w, "my-app", w.backend(), "a second before")
		w.pass(2 * time.Second)
		assert.True(w, w.ended(), "%v", w.get().GetAnnotations())
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), "none of Leases run-1, run-2 has been renewed")
		w.pass(10 * time.Minute)
		w.newRequests()
		w.renewLease("run-1", 60)
		w.pass(time.Hour)
		assert.Empty(w, w.newRequests(), "no target names them any more")
	})
}

// TestRecreatedLease: a Lease of the same name is created in time, or too late.
func TestRecreatedLease(t *testing.T) {
	inWorld(t, func(w *world) {
		w.renewLease("run", 60)
		w.switchOn(annotations.Lease, "run")
		leases := w.Client.CoordinationV1().Leases(namespace)
		require.NoError(w, leases.Delete(w.Context(), "run", metav1.DeleteOptions{}))
		w.pass(30 * time.Second)
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), "Warning LeaseNotHeld")
		w.renewLease("run", 120)
		w.pass(119 * time.Second)
		assert.NotEqual(w, "my-app", w.backend(), "it has its full duration")
		w.pass(2 * time.Second)
		assert.True(w, w.ended())

		w.renewLease("run", 120)
		w.switchOn(annotations.Lease, "run")
		require.NoError(w, leases.Delete(w.Context(), "run", metav1.DeleteOptions{}))
		w.pass(59 * time.Second)
		assert.NotEqual(w, "my-app", w.backend(), "it may be recreated")
		w.pass(2 * time.Second)
		assert.True(w, w.ended())
	})
}

func TestMissingLeaseStartsNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.annotate(annotations.Lease, "run")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Hour)
		assert.Equal(w, "my-app", w.backend())
		assert.Empty(w, w.state())
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), `Warning LeaseNotHeld annotation maintenance/lease names Lease "run", which does not exist`)
		w.expectNoRequests(24 * time.Hour)
		w.renewLease("run", 60)
		w.pass(time.Second)
		w.MakePodsReady(w.T, namespace)
		w.pass(5 * time.Second)
		assert.NotEqual(w, "my-app", w.backend())
		w.annotate(annotations.Lease, "") // a person takes over
		w.pass(24 * time.Hour)
		assert.NotEqual(w, "my-app", w.backend(), "without Leases there is no end")
	})
}

// react makes a client that is already in use answer differently.
func react(f *clienttesting.Fake, verb, resource string, answer clienttesting.ReactionFunc) {
	f.Lock()
	defer f.Unlock()
	f.PrependReactor(verb, resource, answer)
}

// TestOutageEndsNothing: while the API server cannot be asked about the target, nobody can renew its
// Leases.
func TestOutageEndsNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.renewLease("run", 60)
		w.switchOn(annotations.Lease, "run")
		var out atomic.Bool
		react(&w.Dynamic.Fake, "get", "ingresses", func(clienttesting.Action) (bool, runtime.Object, error) {
			return out.Load(), nil, errors.New("no route to host")
		})
		out.Store(true)
		w.pass(5 * time.Minute)
		out.Store(false)
		w.pass(50 * time.Second)
		w.renewLease("run", 60)
		w.pass(59 * time.Second)
		assert.NotEqual(w, "my-app", w.backend(), "it got its full duration again, and was renewed in time")
		w.pass(10 * time.Second)
		assert.True(w, w.ended())
	})
}

// TestLeaseRightsRevoked: a Lease that may not be read any more ends nothing until it may be read
// again.
func TestLeaseRightsRevoked(t *testing.T) {
	inWorld(t, func(w *world) {
		w.renewLease("run", 60)
		w.switchOn(annotations.Lease, "run")
		var out atomic.Bool
		react(&w.Client.Fake, "get", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
			return out.Load(), nil, apierrors.NewForbidden(coordinationv1.Resource("leases"), "run", errors.New("not allowed"))
		})
		out.Store(true)
		w.newEvents()
		w.pass(time.Hour)
		assert.NotEqual(w, "my-app", w.backend())
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), "which this controller may not read")
		out.Store(false)
		w.pass(2 * time.Minute)
		assert.True(w, w.ended(), "nobody renews it")
	})
}

func TestLeasesUnreadable(t *testing.T) {
	inWorld(t, func(w *world) {
		react(&w.Client.Fake, "list", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("no route to host")
		})
		w.annotate(annotations.Lease, "run")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Minute)
		assert.Equal(w, "my-app", w.backend())
		told := w.newEvents()
		assert.Len(w, told, 1, "once")
		assert.Contains(w, told[0], "which cannot be read: ")
		assert.Contains(w, told[0], "no route to host")
	})
}
