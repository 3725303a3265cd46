package restore

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/kubernetes/fake"

	"maintenance-controller.io/pkg/target"
)

// TestWhetherAKindIsThere: who may not list a kind is told so whether or not it is
// served, and only a kind that is not served has no users.
func TestWhetherAKindIsThere(t *testing.T) {
	route := target.IngressRoute()
	missing, forbidden := apierrors.NewNotFound(route.Resource.GroupResource(), ""), apierrors.NewForbidden(route.Resource.GroupResource(), "", nil)
	for _, with := range []bool{true, false} {
		client := fake.NewClientset()
		discovery, ok := client.Discovery().(*fakediscovery.FakeDiscovery)
		require.True(t, ok)
		if with {
			discovery.Resources = []*metav1.APIResourceList{{GroupVersion: route.APIVersion(), APIResources: []metav1.APIResource{{Name: route.Resource.Resource}}}}
		}
		r := &Restorer{Config: Config{Client: client}}
		assert.True(t, r.unserved(route, missing))
		assert.Equal(t, !with, r.unserved(route, forbidden))
		assert.False(t, r.unserved(route, errors.New("timeout")))
		assert.False(t, r.unserved(target.Ingress(), missing), "it comes with every API server")
		assert.False(t, r.unserved(target.Ingress(), forbidden))
		assert.False(t, r.unserved(route, nil))
	}
}
