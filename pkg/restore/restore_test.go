package restore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/kubetest"
	"maintenance-controller.io/pkg/target"
)

var app = target.Ref{Kind: "Ingress", Namespace: "shop", Name: "my-app"}

// restoring is an Ingress in maintenance, and a Restorer that ends it.
type restoring struct {
	*testing.T
	*kubetest.Cluster
	*Restorer
}

func inMaintenance(t *testing.T) *restoring {
	t.Helper()
	w := &restoring{T: t, Cluster: kubetest.New(t)}
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": map[string]any{"namespace": app.Namespace, "name": app.Name},
		"spec": map[string]any{"defaultBackend": map[string]any{"service": map[string]any{"name": set, "port": map[string]any{"number": int64(80)}}}},
	}}
	u.SetAnnotations(map[string]string{
		"mine": "stays", annotations.DefaultEnabled: "true", annotations.State: annotations.Active, annotations.PageSet: set, annotations.Original: knownOriginals,
	})
	_, err := w.Dynamic.Resource(target.Ingress().Resource).Namespace(app.Namespace).Create(t.Context(), u, metav1.CreateOptions{})
	require.NoError(t, err)
	storeBackup(t, w.Client, app, knownOriginals)
	w.Restorer = &Restorer{Config: Config{Client: w.Client, Dynamic: w.Dynamic, Kinds: []target.Kind{target.Ingress()}, Keys: annotations.DefaultKeys()}}
	return w
}

func (w *restoring) get() *unstructured.Unstructured {
	w.Helper()
	u, err := w.Dynamic.Resource(target.Ingress().Resource).Namespace(app.Namespace).Get(w.Context(), app.Name, metav1.GetOptions{})
	require.NoError(w, err)
	return u
}

func (w *restoring) leadsTo() string {
	w.Helper()
	name, _, err := unstructured.NestedString(w.get().Object, "spec", "defaultBackend", "service", "name")
	require.NoError(w, err)
	return name
}

func TestAll(t *testing.T) {
	w := inMaintenance(t)
	var outcomes []Outcome
	require.NoError(t, w.All(t.Context(), []string{""}, func(o Outcome) { outcomes = append(outcomes, o) }))
	require.Len(t, outcomes, 1)
	require.NoError(t, outcomes[0].Err)
	assert.True(t, outcomes[0].Changed)
	assert.True(t, outcomes[0].Enabled, "a controller that starts later would put it back")
	assert.Equal(t, "app", w.leadsTo())
	assert.Equal(t, map[string]string{"mine": "stays", annotations.DefaultEnabled: "true"}, w.get().GetAnnotations())
	cm, err := backup.Get(t.Context(), w.Client.CoreV1(), app)
	require.NoError(t, err)
	assert.Nil(t, cm)

	before := len(w.Requests())
	w.RemoveAnnotations = true
	require.NoError(t, w.Target(t.Context(), app).Err)
	assert.Equal(t, map[string]string{"mine": "stays"}, w.get().GetAnnotations())
	again := len(w.Requests())
	require.NoError(t, w.Target(t.Context(), app).Err)
	assert.Less(t, len(w.Requests())-again, again-before, "a second time there is nothing to write")
}

func TestRefusedWhileControllerIsActive(t *testing.T) {
	w := inMaintenance(t)
	w.ActiveController = "maintenance-controller-0"
	err := w.Target(t.Context(), app).Err
	require.ErrorIs(t, err, errNotRestored)
	assert.ErrorContains(t, err, w.ActiveController)
	assert.ErrorContains(t, err, "--remove-annotations")
	assert.Equal(t, set, w.leadsTo())
}

// TestRetries: transient errors are retried, final ones are not.
func TestRetries(t *testing.T) {
	resource := target.Ingress().Resource.GroupResource()
	for name, tc := range map[string]struct {
		err   error
		final bool
	}{
		"a conflict":     {err: apierrors.NewConflict(resource, app.Name, errors.New("newer"))},
		"a brief outage": {err: apierrors.NewServiceUnavailable("restarting")},
		"forbidden":      {err: apierrors.NewForbidden(resource, app.Name, errors.New("no right")), final: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := inMaintenance(t)
			failed := 0
			w.Dynamic.PrependReactor("update", "ingresses", func(clienttesting.Action) (bool, runtime.Object, error) {
				failed++
				return failed == 1, nil, tc.err
			})
			err := w.Target(t.Context(), app).Err
			if tc.final {
				require.ErrorIs(t, err, tc.err)
				assert.Equal(t, 1, failed)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, "app", w.leadsTo())
		})
	}
}

// TestInterruptedAttemptKeepsTheCause: if the time is over in the middle of an attempt, the
// error says why the attempts before it failed.
func TestInterruptedAttemptKeepsTheCause(t *testing.T) {
	w := inMaintenance(t)
	ctx, cancel := context.WithCancel(t.Context())
	w.Dynamic.PrependReactor("update", "ingresses", func(clienttesting.Action) (bool, runtime.Object, error) {
		w.Dynamic.PrependReactor("get", "ingresses", func(clienttesting.Action) (bool, runtime.Object, error) {
			cancel()
			return true, nil, context.Canceled
		})
		return true, nil, apierrors.NewServiceUnavailable("restarting")
	})
	require.ErrorContains(t, w.Target(ctx, app).Err, "restarting")
}

// TestLeader: the holder of the Lease counts as running for as long as it renews the Lease.
func TestLeader(t *testing.T) {
	now := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	ago := func(seconds int) *metav1.MicroTime {
		return ptr.To(metav1.NewMicroTime(now.Now().Add(-time.Duration(seconds) * time.Second)))
	}
	for name, tc := range map[string]struct {
		spec coordinationv1.LeaseSpec
		want string
	}{
		"renewed":        {coordinationv1.LeaseSpec{HolderIdentity: ptr.To("a"), RenewTime: ago(15), LeaseDurationSeconds: ptr.To[int32](15)}, "a"},
		"expired":        {coordinationv1.LeaseSpec{HolderIdentity: ptr.To("a"), RenewTime: ago(16), LeaseDurationSeconds: ptr.To[int32](15)}, ""},
		"released":       {coordinationv1.LeaseSpec{HolderIdentity: ptr.To(""), RenewTime: ago(0), LeaseDurationSeconds: ptr.To[int32](1)}, ""},
		"never held":     {coordinationv1.LeaseSpec{}, ""},
		"without a time": {coordinationv1.LeaseSpec{HolderIdentity: ptr.To("a")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := kubetest.New(t)
			_, err := c.Client.CoordinationV1().Leases("own").Create(t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "lease"}, Spec: tc.spec}, metav1.CreateOptions{})
			require.NoError(t, err)
			holder, err := Leader(t.Context(), c.Client, now, "own", "lease")
			require.NoError(t, err)
			assert.Equal(t, tc.want, holder)
		})
	}
	holder, err := Leader(t.Context(), kubetest.New(t).Client, now, "own", "lease")
	require.NoError(t, err)
	assert.Empty(t, holder, "without a Lease nobody leads")
}
