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

// put is a clock whose time of day is put forward and back, which timers do not see.
type put struct {
	clock.RealClock
	by atomic.Int64
}

func (p *put) Now() time.Time { return time.Now().Round(0).Add(time.Duration(p.by.Load())) }

func (p *put) set(by time.Duration) { p.by.Store(int64(by)) }

// on switches maintenance on with other annotations, and waits until the page is shown.
func (w *world) on(pairs ...string) {
	w.Helper()
	for i := 0; i < len(pairs); i += 2 {
		w.annotate(pairs[i], pairs[i+1])
	}
	w.annotate(annotations.DefaultEnabled, "true")
	w.pass(time.Second)
	w.PlayPods(w.T, namespace)
	w.pass(5 * time.Second)
	require.Equal(w, annotations.Active, w.state())
}

func (w *world) ended() bool { return w.backend() == "my-app" && len(w.get().GetAnnotations()) == 0 }

func in(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }

func TestUntilEndsByItself(t *testing.T) {
	inWorld(t, func(w *world) {
		w.on(annotations.Until, in(6*time.Hour), annotations.Reason, "database migration", annotations.By, "alice")
		assert.Contains(w, strings.Join(w.told(), "\n"), "reason: database migration; by: alice")
		w.quiet(6*time.Hour - time.Minute)
		w.pass(time.Minute - 10*time.Second)
		assert.NotEqual(w, "my-app", w.backend(), "it has some seconds left")
		w.pass(10 * time.Second)
		assert.True(w, w.ended(), "%v", w.get().GetAnnotations())
		assert.Contains(w, strings.Join(w.told(), "\n"), "which is past; reason: database migration; by: alice")
		w.pass(10 * time.Minute)
		w.quiet(24 * time.Hour)
	})
}

// TestUntilIsExtended: to a later minute it is another page, in the same one it is not.
func TestUntilIsExtended(t *testing.T) {
	inWorld(t, func(w *world) {
		start := time.Now()
		w.on(annotations.Until, start.Add(time.Hour-30*time.Second).UTC().Format(time.RFC3339))
		before := w.backend()
		w.annotate(annotations.Until, start.Add(time.Hour-20*time.Second).UTC().Format(time.RFC3339))
		w.pass(time.Minute)
		assert.Equal(w, before, w.backend())
		w.annotate(annotations.Until, start.Add(2*time.Hour).UTC().Format(time.RFC3339))
		w.pass(time.Second)
		w.PlayPods(w.T, namespace)
		w.pass(time.Minute)
		assert.NotEqual(w, before, w.backend())
		assert.Contains(w, strings.Join(w.told(), "\n"), "Normal PageChanged")
		w.pass(time.Hour)
		assert.NotEqual(w, "my-app", w.backend(), "the first end is none any more")
		w.pass(time.Hour)
		assert.True(w, w.ended())
	})
}

func TestTheClockIsPutForwardAndBack(t *testing.T) {
	c := &put{}
	inWorldBy(t, c, func(w *world) {
		w.on(annotations.Until, in(6*time.Hour))
		c.set(-3 * time.Hour)
		w.pass(8 * time.Hour)
		assert.NotEqual(w, "my-app", w.backend(), "it is not yet time")
		c.set(0)
		w.pass(time.Minute)
		assert.True(w, w.ended(), "the time of day is what counts, at once")
		c.set(-3 * time.Hour)
		w.pass(10 * time.Minute)
		assert.True(w, w.ended(), "what has ended does not begin again")
	})
}

// lease is one as a holder makes it: anew, and the next time to renew it.
func (w *world) lease(name string, seconds int32) {
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

// sent lists what was sent since it was asked last, but for looks for kinds, and for what
// the test itself does to Leases.
func (w *world) sent() (all []string) {
	requests := w.Requests()
	for _, request := range requests[w.asked:] {
		if !strings.HasPrefix(request, "get resource ") && !strings.Contains(request, " leases ") {
			all = append(all, request)
		}
	}
	w.asked = len(requests)
	return all
}

func TestTheLastLeaseEndsIt(t *testing.T) {
	inWorld(t, func(w *world) {
		w.lease("run-1", 60)
		w.lease("run-2", 60)
		w.on(annotations.Lease, "run-1,run-2")
		w.sent()
		for range 30 { // ten minutes
			w.pass(20 * time.Second)
			w.lease("run-1", 60)
			w.lease("run-2", 60)
		}
		w.pass(time.Second)
		assert.Empty(w, w.sent(), "renewals are nothing that the controller does anything about")
		for range 6 { // run-2 is gone
			w.lease("run-1", 60)
			w.pass(20 * time.Second)
		}
		assert.NotEqual(w, "my-app", w.backend())
		w.pass(39 * time.Second)
		assert.NotEqual(w, "my-app", w.backend(), "a second before")
		w.pass(2 * time.Second)
		assert.True(w, w.ended(), "%v", w.get().GetAnnotations())
		assert.Contains(w, strings.Join(w.told(), "\n"), "none of Leases run-1, run-2 has been renewed")
		w.pass(10 * time.Minute)
		w.sent()
		w.lease("run-1", 60)
		w.pass(time.Hour)
		assert.Empty(w, w.sent(), "nobody names them any more")
	})
}

// TestALeaseIsMadeAnew: under the name of one that went, in time or too late.
func TestALeaseIsMadeAnew(t *testing.T) {
	inWorld(t, func(w *world) {
		w.lease("run", 60)
		w.on(annotations.Lease, "run")
		leases := w.Client.CoordinationV1().Leases(namespace)
		require.NoError(w, leases.Delete(w.Context(), "run", metav1.DeleteOptions{}))
		w.pass(30 * time.Second)
		assert.Contains(w, strings.Join(w.told(), "\n"), "Warning LeaseNotHeld")
		w.lease("run", 120)
		w.pass(119 * time.Second)
		assert.NotEqual(w, "my-app", w.backend(), "it has its whole duration")
		w.pass(2 * time.Second)
		assert.True(w, w.ended())

		w.lease("run", 120)
		w.on(annotations.Lease, "run")
		require.NoError(w, leases.Delete(w.Context(), "run", metav1.DeleteOptions{}))
		w.pass(59 * time.Second)
		assert.NotEqual(w, "my-app", w.backend(), "it may come back")
		w.pass(2 * time.Second)
		assert.True(w, w.ended())
	})
}

func TestAMissingLeaseBeginsNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.annotate(annotations.Lease, "run")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Hour)
		assert.Equal(w, "my-app", w.backend())
		assert.Empty(w, w.state())
		assert.Contains(w, strings.Join(w.told(), "\n"), `Warning LeaseNotHeld annotation maintenance/lease names Lease "run", which is not there`)
		w.quiet(24 * time.Hour)
		w.lease("run", 60)
		w.pass(time.Second)
		w.PlayPods(w.T, namespace)
		w.pass(5 * time.Second)
		assert.NotEqual(w, "my-app", w.backend())
		w.annotate(annotations.Lease, "") // a person takes it over
		w.pass(24 * time.Hour)
		assert.NotEqual(w, "my-app", w.backend(), "without Leases there is no end")
	})
}

// react has a client that is in use already answer in another way.
func react(f *clienttesting.Fake, verb, resource string, answer clienttesting.ReactionFunc) {
	f.Lock()
	defer f.Unlock()
	f.PrependReactor(verb, resource, answer)
}

// TestAnOutageEndsNothing: while the API server cannot be asked about the target, nobody can
// renew its Leases.
func TestAnOutageEndsNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.lease("run", 60)
		w.on(annotations.Lease, "run")
		var out atomic.Bool
		react(&w.Dynamic.Fake, "get", "ingresses", func(clienttesting.Action) (bool, runtime.Object, error) {
			return out.Load(), nil, errors.New("no route to host")
		})
		out.Store(true)
		w.pass(5 * time.Minute)
		out.Store(false)
		w.pass(50 * time.Second)
		w.lease("run", 60)
		w.pass(59 * time.Second)
		assert.NotEqual(w, "my-app", w.backend(), "it has its whole duration anew, and was renewed in it")
		w.pass(10 * time.Second)
		assert.True(w, w.ended())
	})
}

// TestRightsAreWithdrawn: what must not be read any more ends nothing, until it may be.
func TestRightsAreWithdrawn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.lease("run", 60)
		w.on(annotations.Lease, "run")
		var out atomic.Bool
		react(&w.Client.Fake, "get", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
			return out.Load(), nil, apierrors.NewForbidden(coordinationv1.Resource("leases"), "run", errors.New("not allowed"))
		})
		out.Store(true)
		w.told()
		w.pass(time.Hour)
		assert.NotEqual(w, "my-app", w.backend())
		assert.Contains(w, strings.Join(w.told(), "\n"), "has no right to read")
		out.Store(false)
		w.pass(2 * time.Minute)
		assert.True(w, w.ended(), "nobody renews it")
	})
}

func TestLeasesWithoutRights(t *testing.T) {
	inWorld(t, func(w *world) {
		react(&w.Client.Fake, "list", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("no route to host")
		})
		w.annotate(annotations.Lease, "run")
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Minute)
		assert.Equal(w, "my-app", w.backend())
		told := w.told()
		assert.Len(w, told, 1, "once")
		assert.Contains(w, told[0], "which cannot be read: ")
		assert.Contains(w, told[0], "no route to host")
	})
}
