package cli

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/kubetest"
	"maintenance-controller.io/pkg/target"
)

// TestForbiddenKinds: to people who may only edit Ingresses and Services, kinds that the
// cluster does not serve are forbidden too. These have no targets, but a forbidden kind that
// the cluster serves may have some.
func TestForbiddenKinds(t *testing.T) {
	c := kubetest.New(t)
	kind, _ := target.KindByName("Ingress")
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": kind.APIVersion(), "kind": kind.Name,
		"spec": map[string]any{"rules": []any{map[string]any{"host": "a.example", "http": map[string]any{"paths": []any{map[string]any{
			"path": "/", "pathType": "Prefix", "backend": map[string]any{"service": map[string]any{"name": "my-app", "port": map[string]any{"number": int64(80)}}},
		}}}}}},
	}}
	object.SetNamespace("shop")
	object.SetName("my-app")
	_, err := c.Dynamic.Resource(kind.Resource).Namespace("shop").Create(t.Context(), object, metav1.CreateOptions{})
	require.NoError(t, err)
	forbidden := func(action clienttesting.Action) (bool, runtime.Object, error) {
		for _, k := range target.Kinds() {
			if r := action.GetResource(); k.Custom && r == k.Resource {
				return true, nil, apierrors.NewForbidden(r.GroupResource(), "", nil)
			}
		}
		return false, nil, nil
	}
	c.Dynamic.PrependReactor("list", "*", forbidden)
	c.Metadata.PrependReactor("list", "*", forbidden)
	var told bytes.Buffer
	s := &session{
		Process: Process{Stdout: &bytes.Buffer{}, Stderr: &told, Now: time.Now}, namespace: "shop", keys: annotations.DefaultKeys(),
		clock: serverClock{now: time.Now}, dynamic: c.Dynamic, metadata: c.Metadata, discovery: c.Client.Discovery(),
	}
	found, err := s.find(t.Context(), choice{host: "a.example"})
	require.NoError(t, err)
	require.Len(t, found, 1)
	_, err = s.rows(t.Context(), &statusOptions{})
	require.NoError(t, err)
	assert.Empty(t, told.String(), "nothing is left out")

	route, _ := target.KindByName("IngressRoute")
	c.Client.Resources = []*metav1.APIResourceList{{GroupVersion: route.Resource.GroupVersion().String(), APIResources: []metav1.APIResource{{Name: route.Resource.Resource}}}}
	_, err = s.find(t.Context(), choice{host: "a.example"})
	require.ErrorContains(t, err, "list ingressroutes.traefik.io", "it may have more targets with this host")
	_, err = s.rows(t.Context(), &statusOptions{})
	require.NoError(t, err)
	assert.Contains(t, told.String(), "ingressroutes")
	assert.NotContains(t, told.String(), "httproutes")
}
