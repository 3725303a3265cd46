package companion_test

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
	"maintenance-controller.io/pkg/target"
)

// TestPut: what exists under the name is only changed if it is ours.
func TestPut(t *testing.T) {
	ref := target.Ref{Kind: "Ingress", Namespace: "shop", Name: "my-app"}
	configMaps := kubetest.New(t).Client.CoreV1().ConfigMaps(ref.Namespace)
	put := func(id, content string) error {
		owner := companion.Owner{Ref: ref, APIVersion: "v1", UID: "a", Installation: installation.Installation{ID: id}}
		want := &corev1.ConfigMap{ObjectMeta: owner.Meta("beside", annotations.ComponentBackup), Data: map[string]string{"content": content}}
		return companion.Put(t.Context(), configMaps, companion.Object[*corev1.ConfigMap]{
			Owner: owner, Want: want,
			Ours:   func(there *corev1.ConfigMap) bool { return companion.BelongsTo(there, ref) },
			Change: func(there *corev1.ConfigMap) { there.Data = want.Data },
		})
	}
	content := func() string {
		there, err := configMaps.Get(t.Context(), "beside", metav1.GetOptions{})
		require.NoError(t, err)
		return there.Data["content"]
	}
	require.NoError(t, put("one", "first"))
	require.NoError(t, put("one", "second"))
	assert.Equal(t, "second", content())
	require.ErrorIs(t, put("other", "third"), installation.ErrOther)

	there, err := configMaps.Get(t.Context(), "beside", metav1.GetOptions{})
	require.NoError(t, err)
	there.OwnerReferences[0].Name = "their-app"
	_, err = configMaps.Update(t.Context(), there, metav1.UpdateOptions{})
	require.NoError(t, err)
	require.ErrorIs(t, put("one", "third"), companion.ErrForeign)
	assert.Equal(t, "second", content())
}

func TestNameWithin(t *testing.T) {
	assert.Equal(t, "of-my-app", companion.NameWithin("of-", "my-app", 9))
	hashed := companion.NameWithin("of-", "my-apps", 9)
	assert.Regexp(t, "^of-[0-9a-f]{32}$", hashed)
	assert.NotEqual(t, hashed, companion.NameWithin("of-", strings.Repeat("a", 7), 9))
}
