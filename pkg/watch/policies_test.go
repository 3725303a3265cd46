package watch

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/kubetest"
	"maintenance-controller.io/pkg/pageset"
)

// TestEgressRestricted: only by an egress policy that selects the Pods and belongs to no page set.
func TestEgressRestricted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := kubetest.New(t)
		var mu sync.Mutex
		var told []string
		since := func() []string {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			defer func() { told = nil }()
			return slices.Clone(told)
		}
		w := NewPolicies(PoliciesConfig{Client: c.Client, Log: zap.NewNop(), Namespaces: []string{""}, Mode: pageset.PolicyAuto, OnChange: func(namespace, set string) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, namespace+" "+set)
		}})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		w.Start(ctx, &wg)
		defer func() { cancel(); wg.Wait() }()
		time.Sleep(time.Second)
		page := map[string]string{"app": "page"}
		client := c.Client.NetworkingV1().NetworkPolicies("shop")
		policy := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "deny"}, Spec: networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}}}
		policy, err := client.Create(t.Context(), policy, metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Equal(t, []string{"shop "}, since())
		assert.False(t, w.EgressRestricted("shop", page), "it restricts ingress only")

		update := func(change func(*networkingv1.NetworkPolicy)) {
			policy = policy.DeepCopy()
			change(policy)
			policy, err = client.Update(t.Context(), policy, metav1.UpdateOptions{})
			require.NoError(t, err)
		}
		update(func(p *networkingv1.NetworkPolicy) {
			p.Spec.PolicyTypes = append(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
		})
		assert.Equal(t, []string{"shop "}, since(), "page sets with doors need an egress rule now")
		assert.True(t, w.EgressRestricted("shop", page))
		assert.False(t, w.EgressRestricted("other", page))
		update(func(p *networkingv1.NetworkPolicy) { p.Spec.Egress = []networkingv1.NetworkPolicyEgressRule{{}} })
		assert.Empty(t, since(), "which egress it allows does not matter")
		update(func(p *networkingv1.NetworkPolicy) { p.Spec.PodSelector.MatchLabels = map[string]string{"app": "app"} })
		assert.Equal(t, []string{"shop "}, since())
		assert.False(t, w.EgressRestricted("shop", page), "it selects other Pods")
	})
}
