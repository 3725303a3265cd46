package cli

import (
	"bytes"
	"errors"
	"testing"
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

// keeps gives a keeper of one Ingress that is not in maintenance.
func keeps(t *testing.T) (*keeper, *holding, *kubetest.Cluster) {
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

func (k *keeper) annotationsOf(t *testing.T, h *holding) map[string]string {
	t.Helper()
	f, err := k.get(t.Context(), h.ref())
	require.NoError(t, err)
	return f.object.GetAnnotations()
}

// What somebody has ended stays off, whatever becomes of the Lease.
func TestALapsePutsNothingOnThatWasEnded(t *testing.T) {
	k, h, _ := keeps(t)
	h.lease = "run"
	h.gone = true
	k.renewed(t.Context(), h, true)
	assert.Empty(t, k.annotationsOf(t, h))

	h.gone = false
	k.renewed(t.Context(), h, true)
	assert.Equal(t, "true", k.annotationsOf(t, h)[enabled], "nobody has ended it")
}

// A write that is done, and whose answer is lost, is taken back.
func TestALostAnswerLeavesNothingOn(t *testing.T) {
	k, h, c := keeps(t)
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
	require.ErrorIs(t, k.take(t.Context(), h), lost)
	assert.Equal(t, "true", k.annotationsOf(t, h)[enabled])

	last, err := k.release(t.Context(), h)
	require.NoError(t, err)
	assert.True(t, last)
	assert.Empty(t, k.annotationsOf(t, h))
	leases, err := k.leases.Leases("shop").List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	assert.Empty(t, leases.Items)
}

// Where the app is served since the end is past, no command is run for it.
func TestACommandIsNotRunAfterTheEnd(t *testing.T) {
	k, h, _ := keeps(t)
	h.object.SetAnnotations(map[string]string{enabled: "true", until: "2026-01-31T17:00:00Z"})
	k.clock.hear("Sat, 31 Jan 2026 17:00:01 GMT")
	require.ErrorContains(t, k.take(t.Context(), h), "annotation maintenance/until is past")
	assert.Empty(t, h.lease)
}

// A target that is being restored is active by its annotation until the app is seen on it.
func TestActiveIsBelievedWithThePageOnly(t *testing.T) {
	k, h, _ := keeps(t)
	leadsTo := func(service string) view.Row {
		f, err := k.get(t.Context(), h.ref())
		require.NoError(t, err)
		f.object.SetAnnotations(map[string]string{enabled: "true", annotations.State: annotations.Active})
		f.object.Object["spec"] = map[string]any{"defaultBackend": map[string]any{"service": map[string]any{"name": service, "port": map[string]any{"number": int64(80)}}}}
		f.object, err = k.dynamic.Resource(f.kind.Resource).Namespace("shop").Update(t.Context(), f.object, metav1.UpdateOptions{})
		require.NoError(t, err)
		row, _ := f.row(k.keys)
		return row
	}
	there, err := k.shown(t.Context(), leadsTo("my-app"))
	require.NoError(t, err)
	assert.False(t, there)
	row := leadsTo("maintenance-0123456789abcdef")
	there, err = k.shown(t.Context(), row)
	require.NoError(t, err)
	assert.True(t, there)
	row.State = annotations.Pending
	there, err = k.shown(t.Context(), row)
	require.NoError(t, err)
	assert.False(t, there, "nothing is read before it says that it is active")
}

// A machine that slept sees the end of its Lease before it renews that: nobody has ended it.
func TestALapseInSleepIsNobodysEnd(t *testing.T) {
	k, h, _ := keeps(t)
	now := time.Now()
	k.Now = func() time.Time { return now }
	k.heard(h, now)
	h.held, h.lease = true, "run"
	now = now.Add(k.o.lease)
	assert.Equal(t, ended, k.standing(t.Context(), h))
	now = now.Add(time.Second)
	assert.Equal(t, stands, k.standing(t.Context(), h))
	assert.True(t, k.overdue(h))
}

func TestTimePassesInSleep(t *testing.T) {
	before := time.Now()
	awake := before.Add(time.Second)
	assert.Equal(t, time.Second, passed(before, awake))
	slept := awake
	*(*uint64)(unsafe.Pointer(&slept)) += 3600 << 30 // an hour of the clock on the wall alone
	assert.Equal(t, time.Hour+time.Second, passed(before, slept))
	assert.Equal(t, time.Second, slept.Sub(before), "the clock that counts seconds stood still")
}
