package setmanager

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/refusal"
)

func oneSet() (pageset.ID, *corev1.ConfigMap) {
	content := page.Page{Bodies: map[string]string{"page.html": "<h1>soon</h1>"}}
	id := pageset.ID{Namespace: "shop", Name: page.SetName(content.Hash())}
	cm := pageset.ConfigMap(id, content, "Ingress/a")
	cm.UID = "cm"
	return id, cm
}

// countingClient returns a client that counts updates and stores them under a new version.
func countingClient(objects ...runtime.Object) (*fake.Clientset, *int) {
	client, updates := fake.NewClientset(objects...), 0
	client.PrependReactor("update", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		updates++
		if m, ok := action.(clienttesting.UpdateAction).GetObject().(metav1.Object); ok {
			m.SetResourceVersion("8")
		}
		return false, nil, nil
	})
	return client, &updates
}

// TestServiceOfARemovedClass: the Service that was adapted to the class is written once, not at each
// reconcile.
func TestServiceOfARemovedClass(t *testing.T) {
	id, cm := oneSet()
	before := pageset.Template{ServiceClasses: map[string]pageset.ServiceOptions{"alb": {Type: corev1.ServiceTypeNodePort, Annotations: map[string]string{"lb": "internal"}}}}
	svc := pageset.Service(cm, before, []string{"alb"})
	svc.ResourceVersion = "7"
	require.Equal(t, "alb", svc.Annotations[annotations.Classes])
	client, updates := countingClient(svc)
	m := New(Config{Client: client})
	for range 3 {
		there, err := client.CoreV1().Services(id.Namespace).Get(t.Context(), id.Name, metav1.GetOptions{})
		require.NoError(t, err)
		ok, err := m.ensureService(t.Context(), pageset.Observed{ConfigMap: cm, Service: there})
		require.NoError(t, err)
		assert.True(t, ok)
	}
	assert.Equal(t, 1, *updates)
}

// TestUpdateWithoutEffectIsReported: a webhook reverts the update.
func TestUpdateWithoutEffectIsReported(t *testing.T) {
	id, cm := oneSet()
	cm.ResourceVersion = "7"
	client := fake.NewClientset(cm)
	client.PrependReactor("update", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) { return true, cm, nil })
	m := New(Config{Client: client})
	_, err := m.ensureConfigMap(t.Context(), id, pageset.Observed{ConfigMap: cm}, "Ingress/a,Ingress/b")
	require.ErrorIs(t, err, refusal.ErrNoProgress)
	require.ErrorIs(t, m.recordOutcome(id, err), refusal.ErrNoProgress)
	assert.Equal(t, pageset.Blocked, m.failures[id].Phase)
	assert.Contains(t, m.failures[id].Message, "admission webhook")
}

// TestStableMessage: the message does not depend on the generated names of Pods.
func TestStableMessage(t *testing.T) {
	id, _ := oneSet()
	assert.Equal(t, `pods "`+id.Name+`-…" is forbidden: exceeded quota`, stableMessage(id, errors.New(`pods "`+id.Name+`-x7k2p" is forbidden: exceeded quota`)))
	other := `Service ` + id.Name + ` is in the way of my-app-x7k2p`
	assert.Equal(t, other, stableMessage(id, errors.New(other)))
}
