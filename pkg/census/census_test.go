package census

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/kubetest"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
)

const (
	setA = "maintenance-00000000000000aa"
	setB = "maintenance-00000000000000bb"
)

// TestNotServed: a list may be forbidden whether or not the kind is served, and only a kind that is
// not served has no users.
func TestNotServed(t *testing.T) {
	route := target.IngressRoute()
	missing, forbidden := apierrors.NewNotFound(route.Resource.GroupResource(), ""), apierrors.NewForbidden(route.Resource.GroupResource(), "", nil)
	for _, with := range []bool{true, false} {
		client := fake.NewClientset()
		discovery, ok := client.Discovery().(*fakediscovery.FakeDiscovery)
		require.True(t, ok)
		if with {
			discovery.Resources = []*metav1.APIResourceList{{GroupVersion: route.APIVersion(), APIResources: []metav1.APIResource{{Name: route.Resource.Resource}}}}
		}
		c := Census{Client: client}
		assert.True(t, c.notServed(route, missing))
		assert.Equal(t, !with, c.notServed(route, forbidden))
		assert.False(t, c.notServed(route, errors.New("timeout")))
		assert.False(t, c.notServed(target.Ingress(), missing), "every API server serves it")
		assert.False(t, c.notServed(target.Ingress(), forbidden))
		assert.False(t, c.notServed(route, nil))
	}
}

// TestSetsReadsAllPages: a set on a later page of the list counts.
func TestSetsReadsAllPages(t *testing.T) {
	c := kubetest.New(t)
	c.Client.PrependReactor("list", "configmaps", func(action clienttesting.Action) (bool, runtime.Object, error) {
		list, ok := action.(clienttesting.ListActionImpl)
		require.True(t, ok)
		assert.Positive(t, list.ListOptions.Limit)
		labels := map[string]string{annotations.ManagedByLabel: annotations.ManagedBy, annotations.ComponentLabel: annotations.ComponentSet}
		page := &corev1.ConfigMapList{Items: []corev1.ConfigMap{{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: setA, Labels: labels}}}}
		if list.ListOptions.Continue == "" {
			page.Continue = "more"
		} else {
			page.Items[0].Name = setB
		}
		return true, page, nil
	})
	sets, err := Census{Client: c.Client, Dynamic: c.Dynamic}.Sets(t.Context(), "shop")
	require.NoError(t, err)
	require.Len(t, sets, 2)
	assert.Equal(t, []string{setA, setB}, []string{sets[0].Name, sets[1].Name})
}

func ingress(name string, spec map[string]any, pairs map[string]string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": map[string]any{"namespace": "shop", "name": name}, "spec": spec,
	}}
	u.SetAnnotations(pairs)
	return u
}

func leadsTo(name string) map[string]any {
	return map[string]any{"defaultBackend": map[string]any{"service": map[string]any{"name": name, "port": map[string]any{"number": int64(80)}}}}
}

// TestUsers: every object that names a set in any way uses it.
func TestUsers(t *testing.T) {
	c := kubetest.New(t)
	for _, u := range []*unstructured.Unstructured{
		ingress("nobody", leadsTo("app"), nil),
		ingress("annotated", leadsTo("app"), map[string]string{annotations.PageSet: setA}),
		ingress("copied", leadsTo(setA), nil),
		ingress("odd", map[string]any{"rules": "of a shape to come, with " + setA}, nil),
		ingress("forged", leadsTo("app"), map[string]string{annotations.PageSet: "../secrets"}),
	} {
		_, err := c.Dynamic.Resource(target.Ingress().Resource).Namespace("shop").Create(t.Context(), u, metav1.CreateOptions{})
		require.NoError(t, err)
	}
	route := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "metadata": map[string]any{"namespace": "shop", "name": "route"},
		"spec": map[string]any{"routes": []any{map[string]any{"match": "PathPrefix(`/`)", "kind": "Rule", "services": []any{map[string]any{"name": setB, "port": int64(80)}}}}},
	}}
	_, err := c.Dynamic.Resource(target.IngressRoute().Resource).Namespace("shop").Create(t.Context(), route, metav1.CreateOptions{})
	require.NoError(t, err)
	_, err = c.Client.CoreV1().ConfigMaps("shop").Create(t.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: "backup", Labels: map[string]string{
			annotations.ManagedByLabel: annotations.ManagedBy, annotations.ComponentLabel: annotations.ComponentBackup, annotations.PageSetLabel: setB,
		}},
		Data: map[string]string{"kind": "IngressRoute", "name": "backed-up", "page-set": setB, "originals": "cannot be read"},
	}, metav1.CreateOptions{})
	require.NoError(t, err)

	users := func(namespace string) map[string][]string {
		all := map[string]map[string]bool{}
		require.NoError(t, Census{Client: c.Client, Dynamic: c.Dynamic}.Users(t.Context(), namespace, func(set pageset.ID, user target.Ref) {
			if all[set.Name] == nil {
				all[set.Name] = map[string]bool{}
			}
			all[set.Name][user.UsedByEntry()] = true
		}))
		sorted := map[string][]string{}
		for set, names := range all {
			sorted[set] = slices.Sorted(maps.Keys(names))
		}
		return sorted
	}
	want := map[string][]string{setA: {"Ingress/annotated", "Ingress/copied", "Ingress/odd"}, setB: {"IngressRoute/backed-up", "IngressRoute/route"}}
	assert.Equal(t, want, users("shop"))
	assert.Equal(t, want, users(""))
	assert.Empty(t, users("elsewhere"))

	c.Dynamic.PrependReactor("list", "ingresses", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(target.Ingress().Resource.GroupResource(), "", errors.New("no permission"))
	})
	nobody := func(pageset.ID, target.Ref) {}
	require.ErrorContains(t, Census{Client: c.Client, Dynamic: c.Dynamic}.Users(t.Context(), "shop", nobody), "list Ingress")
	unread := Census{Client: c.Client, Dynamic: c.Dynamic, SkipForbidden: func(k target.Kind) bool { return k.Name == "Ingress" }}
	assert.NoError(t, unread.Users(t.Context(), "shop", nobody), "its backups name the users")
}
