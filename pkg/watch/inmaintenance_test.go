package watch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/kubetest"
	"maintenance-controller.io/pkg/target"
)

// TestInMaintenance: targets that have a state, or had one, are reported. Of the others only the key
// is kept.
func TestInMaintenance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := kubetest.New(t), &recorder{}
		w := NewInMaintenance(InMaintenanceConfig{OnChange: h.target, KindsConfig: KindsConfig{
			Metadata: c.Metadata, Discovery: c.Client.Discovery(), Log: zap.NewNop(), Clock: clock.RealClock{}, Namespaces: []string{""},
			Kinds: []target.Kind{target.Ingress()}, Keys: annotations.DefaultKeys(), DiscoveryInterval: time.Minute,
		}})
		assert.False(t, w.Complete())
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		defer func() { cancel(); <-ended }()
		time.Sleep(time.Second)
		synctest.Wait()
		require.True(t, w.Complete())

		resource := c.Dynamic.Resource(target.Ingress().Resource).Namespace("shop")
		change := func(to func(*unstructured.Unstructured)) {
			u, err := resource.Get(t.Context(), "my-app", metav1.GetOptions{})
			require.NoError(t, err)
			to(u)
			_, err = resource.Update(t.Context(), u, metav1.UpdateOptions{})
			require.NoError(t, err)
		}
		ref := target.Ref{Kind: "Ingress", Namespace: "shop", Name: "my-app"}
		all := func() (refs []target.Ref) {
			w.Each(func(ref target.Ref, _ *metav1.PartialObjectMetadata) { refs = append(refs, ref) })
			return refs
		}
		told := []string{"Ingress/my-app"}
		_, err := resource.Create(t.Context(), ingress(map[string]string{annotations.DefaultEnabled: "true"}), metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Empty(t, h.newKeys(), "it only asks for maintenance")
		assert.Empty(t, all())
		_, there := w.Get(ref)
		assert.False(t, there)
		change(func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{annotations.State: annotations.Active, annotations.Original: "large", "theirs": "large"})
		})
		assert.Equal(t, told, h.newKeys())
		assert.Equal(t, []target.Ref{ref}, all())
		kept, there := w.Get(ref)
		require.True(t, there)
		assert.Equal(t, map[string]string{annotations.State: annotations.Active}, kept.Annotations)
		change(func(u *unstructured.Unstructured) { u.Object["status"] = map[string]any{"loadBalancer": "busy"} })
		assert.Empty(t, h.newKeys(), "load balancers update status all day")
		change(func(u *unstructured.Unstructured) { u.SetGeneration(2) })
		assert.Equal(t, told, h.newKeys(), "its spec has changed")
		change(func(u *unstructured.Unstructured) { u.SetAnnotations(nil) })
		assert.Equal(t, told, h.newKeys(), "its maintenance has ended")
		assert.Empty(t, all())
		change(func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{annotations.State: annotations.Active})
		})
		assert.Equal(t, told, h.newKeys())
		require.NoError(t, resource.Delete(t.Context(), "my-app", metav1.DeleteOptions{}))
		assert.Equal(t, told, h.newKeys())
		assert.Empty(t, all())
	})
}

func TestReduceOutsideMaintenance(t *testing.T) {
	w := NewInMaintenance(InMaintenanceConfig{KindsConfig: KindsConfig{Keys: annotations.DefaultKeys(), Log: zap.NewNop()}})
	for name, m := range map[string]metav1.ObjectMeta{
		"no state":       {Namespace: "shop", Name: "a", Annotations: map[string]string{annotations.DefaultEnabled: "true"}},
		"one of our own": {Namespace: "shop", Name: "a", Labels: map[string]string{annotations.ManagedByLabel: annotations.ManagedBy}, Annotations: map[string]string{annotations.State: annotations.Active}},
		"an empty state": {Namespace: "shop", Name: "a", Annotations: map[string]string{annotations.State: ""}},
		"no annotations": {Namespace: "shop", Name: "a"},
	} {
		kept, err := w.reduce(&metav1.PartialObjectMetadata{ObjectMeta: m})
		require.NoError(t, err)
		assert.Equal(t, cache.ExplicitKey("shop/a"), kept, name)
		again, err := w.reduce(kept)
		require.NoError(t, err)
		assert.Equal(t, kept, again, name)
	}
}
