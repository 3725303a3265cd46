package setmanager

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	testingclock "k8s.io/utils/clock/testing"

	"maintenance-controller.io/pkg/kubetest"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
)

// liveCache shows what the API server has, like a watch without lag.
type liveCache struct {
	*testing.T
	*kubetest.Cluster
}

func (l liveCache) Observe(id pageset.ID) pageset.Observed {
	cm, err := l.Client.CoreV1().ConfigMaps(id.Namespace).Get(l.Context(), id.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return pageset.Observed{}
	}
	require.NoError(l, err)
	return pageset.Observed{ConfigMap: cm}
}

func (l liveCache) Budget(pageset.ID) *policyv1.PodDisruptionBudget { return nil }

func (l liveCache) Policy(pageset.ID) (*networkingv1.NetworkPolicy, bool) { return nil, false }

func (l liveCache) EgressRestricted(string, map[string]string) bool { return false }

func (l liveCache) Users(pageset.ID) []target.Ref { return nil }

// TestGracePeriod: a set is kept for the grace period from the start of the controller and from when
// its last user left, and for as long as its users cannot be listed.
func TestGracePeriod(t *testing.T) {
	c := liveCache{t, kubetest.New(t)}
	clock := testingclock.NewFakePassiveClock(time.Date(2026, 1, 1, 3, 0, 0, 0, time.UTC))
	id, cm := oneSet()
	_, err := c.Client.CoreV1().ConfigMaps(id.Namespace).Create(t.Context(), cm, metav1.CreateOptions{})
	require.NoError(t, err)
	var users []target.Ref
	unlisted := errors.New("traefik.io is down")
	m := New(Config{
		Client: c.Client, Clock: clock, Cache: c, Grace: 2 * time.Minute, OnUsersFound: func([]target.Ref) {},
		ListUsers: func(context.Context, pageset.ID) ([]target.Ref, error) { return users, unlisted },
	})
	pass := func(d time.Duration) (time.Duration, error) {
		clock.SetTime(clock.Now().Add(d))
		return m.Reconcile(t.Context(), id)
	}
	there := func() *corev1.ConfigMap { return c.Observe(id).ConfigMap }

	after, err := pass(0)
	require.NoError(t, err)
	assert.Equal(t, 2*time.Minute, after, "the record may be the only trace of a user")
	after, err = pass(2 * time.Minute)
	require.NoError(t, err)
	assert.Equal(t, 2*time.Minute, after, "it is unused from here on")
	after, err = pass(time.Minute)
	require.NoError(t, err)
	assert.Equal(t, time.Minute, after)

	_, err = pass(time.Minute)
	require.ErrorIs(t, err, unlisted)
	users, unlisted = []target.Ref{{Kind: "Ingress", Namespace: id.Namespace, Name: "a"}}, nil
	after, err = pass(time.Minute)
	require.NoError(t, err)
	assert.Positive(t, after, "the API server knows a user that the watches have not shown")
	require.NotNil(t, there())

	users = nil
	_, err = pass(time.Minute)
	require.NoError(t, err)
	assert.Nil(t, there())
}
