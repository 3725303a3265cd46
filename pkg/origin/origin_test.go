package origin_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/companion"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/kubetest"
	"maintenance-controller.io/pkg/origin"
	"maintenance-controller.io/pkg/refusal"
	"maintenance-controller.io/pkg/target"
)

var ref = target.Ref{Kind: "Service", Namespace: "shop", Name: "my-app"}

func owner(id string) companion.Owner {
	return companion.Owner{Ref: ref, APIVersion: "v1", UID: "a", Installation: installation.Installation{ID: id}}
}

func leadsTo(app string) corev1.ServiceSpec {
	return corev1.ServiceSpec{Selector: map[string]string{"app": app}, Ports: []corev1.ServicePort{{Port: 80}}}
}

// TestPut: the Service is created and updated. An address that the API server assigned stays, and
// removed labels are restored.
func TestPut(t *testing.T) {
	c := kubetest.New(t)
	services := c.Client.CoreV1().Services(ref.Namespace)
	put := func(id, app string) error { return origin.Put(t.Context(), c.Client.CoreV1(), owner(id), leadsTo(app)) }
	get := func() *corev1.Service {
		svc, err := services.Get(t.Context(), origin.Name(ref), metav1.GetOptions{})
		require.NoError(t, err)
		return svc
	}
	require.NoError(t, put("one", "a"))
	made := get()
	assert.Equal(t, ref, origin.Target(made))
	assert.False(t, *made.OwnerReferences[0].BlockOwnerDeletion)
	assert.Equal(t, "one", installation.Of(made))

	made.Spec.ClusterIP = "10.0.0.7"
	made.Labels = map[string]string{"theirs": "stays"}
	_, err := services.Update(t.Context(), made, metav1.UpdateOptions{})
	require.NoError(t, err)
	require.NoError(t, put("one", "b"))
	changed := get()
	assert.Equal(t, "b", changed.Spec.Selector["app"])
	assert.Equal(t, "10.0.0.7", changed.Spec.ClusterIP)
	assert.Equal(t, "stays", changed.Labels["theirs"])
	assert.True(t, companion.IsComponent(changed, annotations.ComponentOrigin))
	assert.Equal(t, installation.Label("one"), changed.Labels[annotations.Installation], "with the label of its id")

	require.ErrorIs(t, put("other", "c"), installation.ErrOther)
	changed.OwnerReferences = nil
	_, err = services.Update(t.Context(), changed, metav1.UpdateOptions{})
	require.NoError(t, err)
	err = put("one", "c")
	require.ErrorIs(t, err, companion.ErrForeign)
	assert.ErrorContains(t, err, "write origin Service of Service shop/my-app: shop/maintenance-origin-my-app")
	assert.True(t, refusal.Final(err))
	assert.Equal(t, "b", get().Spec.Selector["app"], "it is not overwritten")
}

// TestDelete: the object that was read is deleted, and not one recreated under its name.
func TestDelete(t *testing.T) {
	c := kubetest.New(t)
	require.NoError(t, origin.Put(t.Context(), c.Client.CoreV1(), owner("one"), leadsTo("a")))
	svc, err := origin.Get(t.Context(), c.Client.CoreV1(), ref)
	require.NoError(t, err)
	earlier := svc.DeepCopy()
	earlier.UID = "earlier"
	require.NoError(t, origin.Delete(t.Context(), c.Client.CoreV1(), earlier))
	there, err := origin.Get(t.Context(), c.Client.CoreV1(), ref)
	require.NoError(t, err)
	require.NotNil(t, there)
	require.NoError(t, origin.Delete(t.Context(), c.Client.CoreV1(), svc))
	there, err = origin.Get(t.Context(), c.Client.CoreV1(), ref)
	require.NoError(t, err)
	assert.Nil(t, there)
}

func TestNames(t *testing.T) {
	long := target.Ref{Kind: "Service", Namespace: "shop", Name: strings.Repeat("n", 63)}
	names := map[string]bool{origin.Name(ref): true, origin.Name(long): true}
	ingress := ref
	ingress.Kind = "Ingress"
	names[origin.Name(ingress)] = true
	assert.Len(t, names, 3, "kinds and names give different names")
	for name := range names {
		assert.LessOrEqual(t, len(name), 63, name)
	}
}
