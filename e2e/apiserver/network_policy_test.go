package apiserver

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
)

// A page set that serves must also be reachable.

var networkPolicies = networkingv1.SchemeGroupVersion.WithResource("networkpolicies")

const denyAll = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
`

// letsIn: the policy lets everybody reach the page Pods of the set.
func letsIn(set string) condition {
	return func(u *unstructured.Unstructured) bool {
		var p networkingv1.NetworkPolicy
		if u == nil || runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &p) != nil {
			return false
		}
		return p.Spec.PodSelector.MatchLabels[annotations.PageSetLabel] == set && len(p.Spec.PolicyTypes) == 1 &&
			len(p.Spec.Ingress) == 1 && len(p.Spec.Ingress[0].From) == 0 && p.Spec.Ingress[0].Ports[0].Port.IntValue() == 8080
	}
}

func TestNetworkPolicyWhereTrafficIsDenied(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("a"))
	env.startController()
	env.enable(ingresses, "a")
	set := requireOnPage(t, env.waitFor(ingresses, "a", "active", state(annotations.Active)))
	assert.Empty(t, env.list(networkPolicies, ""), "no policy is needed")

	resource := env.dynamic.Resource(networkPolicies).Namespace(env.namespace)
	_, err := resource.Create(t.Context(), env.parse(denyAll), metav1.CreateOptions{})
	require.NoError(t, err)
	env.waitFor(networkPolicies, set, "creation", letsIn(set))
	env.edit(networkPolicies, set, func(u *unstructured.Unstructured) {
		unstructured.RemoveNestedField(u.Object, "spec", "ingress")
	})
	env.waitFor(networkPolicies, set, "repaired", letsIn(set))
	uid := env.get(networkPolicies, set).GetUID()
	require.NoError(t, resource.Delete(t.Context(), set, metav1.DeleteOptions{}))
	env.waitFor(networkPolicies, set, "recreated", func(u *unstructured.Unstructured) bool { return letsIn(set)(u) && u.GetUID() != uid })

	env.disable(ingresses, "a")
	env.waitFor(networkPolicies, set, "deletion with its page set", absent)
	assert.Len(t, env.list(networkPolicies, ""), 1, "the other policy stays")
}

// TestNetworkPolicyExistsBeforeThePods, so that a set that serves can be reached.
func TestNetworkPolicyExistsBeforeThePods(t *testing.T) {
	t.Parallel()
	for mode, deny := range map[pageset.PolicyMode]bool{pageset.PolicyAuto: true, pageset.PolicyAlways: false} {
		env := newTestEnv(t)
		env.apply(ingress("a"))
		if deny {
			_, err := env.dynamic.Resource(networkPolicies).Namespace(env.namespace).Create(t.Context(), env.parse(denyAll), metav1.CreateOptions{})
			require.NoError(t, err)
		}
		c := env.startController(func(c *controllerConfig, _ *restConfig) { c.Template.NetworkPolicy = mode })
		env.enable(ingresses, "a")
		set := requireOnPage(t, env.waitFor(ingresses, "a", "active", state(annotations.Active)))
		made := env.get(networkPolicies, set)
		assert.True(t, letsIn(set)(made), "%s", mode)
		for _, p := range env.list(pods, annotations.PageSetLabel+"="+set) {
			assert.False(t, p.GetCreationTimestamp().Time.Before(made.GetCreationTimestamp().Time), "%s", mode)
		}
		c.stop()
	}
}

func TestNetworkPolicyDisabled(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("a"))
	_, err := env.dynamic.Resource(networkPolicies).Namespace(env.namespace).Create(t.Context(), env.parse(denyAll), metav1.CreateOptions{})
	require.NoError(t, err)
	env.startController(func(c *controllerConfig, _ *restConfig) { c.Template.NetworkPolicy = pageset.PolicyNever })
	env.enable(ingresses, "a")
	env.waitFor(ingresses, "a", "active", state(annotations.Active))
	assert.Len(t, env.list(networkPolicies, ""), 1)
}

func TestForeignNetworkPolicyIsNeverTouched(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("a"))
	theirs := env.parse(denyAll)
	theirs.SetName(defaultSet())
	_, err := env.dynamic.Resource(networkPolicies).Namespace(env.namespace).Create(t.Context(), theirs, metav1.CreateOptions{})
	require.NoError(t, err)
	env.startController()
	env.enable(ingresses, "a")
	u := env.waitFor(ingresses, "a", "blocked", state(annotations.Blocked))
	assert.Contains(t, u.GetAnnotations()[annotations.Message], "NetworkPolicy "+env.namespace+"/"+defaultSet()+" is in the way")
	assert.False(t, letsIn(defaultSet())(env.get(networkPolicies, defaultSet())))
	require.NoError(t, env.dynamic.Resource(networkPolicies).Namespace(env.namespace).Delete(t.Context(), defaultSet(), metav1.DeleteOptions{}))
	env.waitFor(ingresses, "a", "active", state(annotations.Active))
}
