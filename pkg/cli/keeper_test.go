package cli

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/kubetest"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/view"
)

// newTestKeeper returns a keeper of one Ingress that is not in maintenance.
func newTestKeeper(t *testing.T) (*keeper, *heldTarget, *kubetest.Cluster) {
	t.Helper()
	c := kubetest.New(t)
	kind, _ := target.KindByName("Ingress")
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": kind.APIVersion(), "kind": kind.Name}}
	object.SetNamespace("shop")
	object.SetName("my-app")
	made, err := c.Dynamic.Resource(kind.Resource).Namespace("shop").Create(t.Context(), object, metav1.CreateOptions{})
	require.NoError(t, err)
	s := &session{
		Process: Process{Stderr: &bytes.Buffer{}, Now: time.Now}, namespace: "shop", keys: annotations.DefaultKeys(),
		clock: serverClock{now: time.Now}, dynamic: c.Dynamic, metadata: c.Metadata, leases: c.Client.CoordinationV1(), core: c.Client.CoreV1(),
	}
	k := newKeeper(s, &runOptions{lease: time.Minute}, []found{{kind, made}})
	return k, k.all[0], c
}

func (k *keeper) annotationsOf(t *testing.T, h *heldTarget) map[string]string {
	t.Helper()
	f, err := k.get(t.Context(), h.ref())
	require.NoError(t, err)
	return f.object.GetAnnotations()
}

// TestLapseDoesNotResumeEndedMaintenance: maintenance that somebody has ended stays off when
// the Lease is renewed again.
func TestLapseDoesNotResumeEndedMaintenance(t *testing.T) {
	k, h, _ := newTestKeeper(t)
	h.lease = "run"
	h.ended = true
	k.recordRenewal(t.Context(), h, true)
	assert.Empty(t, k.annotationsOf(t, h))

	h.ended = false
	k.recordRenewal(t.Context(), h, true)
	assert.Equal(t, "true", k.annotationsOf(t, h)[enabled], "nobody has ended it")
}

// TestLostAnswerIsReverted: a write that succeeded although its answer was lost is reverted.
func TestLostAnswerIsReverted(t *testing.T) {
	k, h, c := newTestKeeper(t)
	lost := errors.New("connection reset by peer")
	once := true
	c.Dynamic.PrependReactor("patch", "*", func(a clienttesting.Action) (bool, runtime.Object, error) {
		if !once {
			return false, nil, nil
		}
		once = false
		for _, r := range c.Dynamic.ReactionChain[1:] {
			if r.Handles(a) {
				if handled, _, err := r.React(a); handled || err != nil {
					break
				}
			}
		}
		return true, nil, lost
	})
	require.ErrorIs(t, k.hold(t.Context(), h), lost)
	assert.Equal(t, "true", k.annotationsOf(t, h)[enabled])

	last, err := k.release(t.Context(), h)
	require.NoError(t, err)
	assert.True(t, last)
	assert.Empty(t, k.annotationsOf(t, h))
	leases, err := k.leases.Leases("shop").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	assert.Empty(t, leases.Items)
}

// TestInterruptedReleaseKeepsTheCause: if the Lease expires in the middle of an attempt to remove
// it, the error says why the attempts before it failed.
func TestInterruptedReleaseKeepsTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, h, c := newTestKeeper(t)
		attempts := 0
		c.Dynamic.PrependReactor("get", "ingresses", func(clienttesting.Action) (bool, runtime.Object, error) {
			if attempts++; attempts == 1 {
				return true, nil, errors.New("connection refused")
			}
			time.Sleep(k.o.lease) // it hangs
			return true, nil, context.DeadlineExceeded
		})
		_, err := k.release(t.Context(), h)
		require.ErrorContains(t, err, "connection refused")
	})
}

// TestCommandIsNotRunAfterTheEnd: a command is not run if visitors get the app because the end
// has passed.
func TestCommandIsNotRunAfterTheEnd(t *testing.T) {
	k, h, _ := newTestKeeper(t)
	h.object.SetAnnotations(map[string]string{enabled: "true", until: "2026-01-31T17:00:00Z"})
	k.clock.set("Sat, 31 Jan 2026 17:00:01 GMT")
	require.ErrorContains(t, k.hold(t.Context(), h), "annotation maintenance/until has passed")
	assert.Empty(t, h.lease)
}

// TestShowsPage: a target that is being restored has the state active until the controller
// has seen the app on it, so the backends count as well.
func TestShowsPage(t *testing.T) {
	k, h, _ := newTestKeeper(t)
	pointsTo := func(service string) view.Row {
		f, err := k.get(t.Context(), h.ref())
		require.NoError(t, err)
		f.object.SetAnnotations(map[string]string{enabled: "true", annotations.State: annotations.Active})
		f.object.Object["spec"] = map[string]any{"defaultBackend": map[string]any{"service": map[string]any{"name": service, "port": map[string]any{"number": int64(80)}}}}
		f.object, err = k.dynamic.Resource(f.kind.Resource).Namespace("shop").Update(t.Context(), f.object, metav1.UpdateOptions{})
		require.NoError(t, err)
		row, _ := f.row(k.keys)
		return row
	}
	shown, err := k.showsPage(t.Context(), pointsTo("my-app"))
	require.NoError(t, err)
	assert.False(t, shown)
	row := pointsTo("maintenance-0123456789abcdef")
	shown, err = k.showsPage(t.Context(), row)
	require.NoError(t, err)
	assert.True(t, shown)
	row.State = annotations.Pending
	shown, err = k.showsPage(t.Context(), row)
	require.NoError(t, err)
	assert.False(t, shown, "it is not read before its state is active")
}

// TestLapseInSleepIsNotAnEnd: a machine that slept sees the end of maintenance before it
// renews its Lease, although nobody has ended it.
func TestLapseInSleepIsNotAnEnd(t *testing.T) {
	k, h, _ := newTestKeeper(t)
	now := time.Now()
	k.Now = func() time.Time { return now }
	k.setRenewed(h, now)
	h.ours, h.lease = true, "run"
	now = now.Add(k.o.lease)
	assert.Equal(t, ended, k.stateOf(t.Context(), h))
	now = now.Add(time.Second)
	assert.Equal(t, stillHeld, k.stateOf(t.Context(), h))
	assert.True(t, k.overdue(h))
}

func TestElapsedIncludesSleep(t *testing.T) {
	before := time.Now()
	awake := before.Add(time.Second)
	assert.Equal(t, time.Second, elapsed(before, awake))
	slept := awake
	*(*uint64)(unsafe.Pointer(&slept)) += 3600 << 30 // an hour on the wall clock only
	assert.Equal(t, time.Hour+time.Second, elapsed(before, slept))
	assert.Equal(t, time.Second, slept.Sub(before), "the monotonic clock stood still")
}
