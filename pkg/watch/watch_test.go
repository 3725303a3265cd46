package watch

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"k8s.io/utils/clock"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/kubetest"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
)

const set = "maintenance-00000000000000aa"

// recorder collects the keys that were reported.
type recorder struct {
	mu   sync.Mutex
	keys []string
}

func (h *recorder) target(ref target.Ref) { h.add(ref.UsedByEntry()) }
func (h *recorder) set(id pageset.ID)     { h.add(id.Name) }

func (h *recorder) add(key string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Contains(h.keys, key) {
		h.keys = append(h.keys, key)
	}
}

func (h *recorder) newKeys() []string {
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	keys := h.keys
	h.keys = nil
	slices.Sort(keys)
	return keys
}

func ingress(pairs map[string]string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": map[string]any{"namespace": "shop", "name": "my-app", "generation": int64(1)},
	}}
	u.SetAnnotations(pairs)
	return u
}

// TestTargets: a target that asks for maintenance, or has traces of it, is reported when something
// relevant changes, and so is the page set that it has left.
func TestTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := kubetest.New(t), &recorder{}
		w := NewTargets(TargetsConfig{OnTarget: h.target, OnSet: h.set, KindsConfig: KindsConfig{
			Metadata: c.Metadata, Discovery: c.Client.Discovery(), Log: zap.NewNop(), Clock: clock.RealClock{}, Namespaces: []string{""},
			Kinds: []target.Kind{target.Ingress()}, Keys: annotations.DefaultKeys(), DiscoveryInterval: time.Minute,
		}})
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
		_, err := resource.Create(t.Context(), ingress(map[string]string{"team": "web"}), metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Empty(t, h.newKeys(), "it does not ask for maintenance")
		change(func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{annotations.DefaultEnabled: "true", annotations.State: annotations.Active, annotations.PageSet: set})
		})
		assert.Equal(t, []string{"Ingress/my-app"}, h.newKeys())
		assert.Equal(t, []target.Ref{{Kind: "Ingress", Namespace: "shop", Name: "my-app"}}, w.Users(pageset.ID{Namespace: "shop", Name: set}))
		change(func(u *unstructured.Unstructured) { u.Object["status"] = map[string]any{"loadBalancer": "busy"} })
		assert.Empty(t, h.newKeys(), "load balancers update status all day")
		change(func(u *unstructured.Unstructured) { u.SetGeneration(2) })
		assert.Equal(t, []string{"Ingress/my-app"}, h.newKeys(), "its spec has changed")
		change(func(u *unstructured.Unstructured) { u.SetAnnotations(nil) })
		assert.Equal(t, []string{"Ingress/my-app", set}, h.newKeys(), "somebody removed all annotations")
		assert.Empty(t, w.Users(pageset.ID{Namespace: "shop", Name: set}))
	})
}

// TestReduceTarget: the names and our annotations are kept, and of the originals only a digest.
func TestReduceTarget(t *testing.T) {
	w := NewTargets(TargetsConfig{KindsConfig: KindsConfig{Keys: annotations.DefaultKeys(), Log: zap.NewNop()}})
	m := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "my-app", UID: "a", ResourceVersion: "7", Generation: 3, Labels: map[string]string{"team": "web"},
		Annotations: map[string]string{"theirs": "large", annotations.DefaultEnabled: "true", annotations.Original: `{"v":1}`},
	}}
	kept, err := w.reduce(m)
	require.NoError(t, err)
	want := metav1.ObjectMeta{Namespace: "shop", Name: "my-app", UID: "a", ResourceVersion: "7", Generation: 3,
		Annotations: map[string]string{annotations.DefaultEnabled: "true", annotations.Original: digest(`{"v":1}`)}}
	assert.Equal(t, want, kept.(*metav1.PartialObjectMetadata).ObjectMeta)
	assert.Less(t, len(digest(`{"v":1}`)), 16)

	m.Labels = map[string]string{annotations.ManagedByLabel: annotations.ManagedBy}
	kept, err = w.reduce(m)
	require.NoError(t, err)
	assert.Empty(t, kept.(*metav1.PartialObjectMetadata).Annotations, "an object of our own is never a target")
}

// discovered is a discovery client that says whether a kind is served.
type discovered struct {
	discovery.DiscoveryInterface
	kind  target.Kind
	there atomic.Bool
}

func (d *discovered) ServerResourcesForGroupVersion(string) (*metav1.APIResourceList, error) {
	if !d.there.Load() {
		return nil, apierrors.NewNotFound(d.kind.Resource.GroupResource(), "")
	}
	return &metav1.APIResourceList{APIResources: []metav1.APIResource{{Name: d.kind.Resource.Resource}}}, nil
}

// TestServed: a custom resource is watched while the API server serves it, and all its objects are
// reported when it is no longer served.
func TestServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h := kubetest.New(t), &recorder{}
		route := target.IngressRoute()
		crds := &discovered{kind: route}
		w := NewTargets(TargetsConfig{OnTarget: h.target, OnSet: h.set, KindsConfig: KindsConfig{
			Metadata: c.Metadata, Discovery: crds, Log: zap.NewNop(), Clock: clock.RealClock{}, Namespaces: []string{"shop"},
			Kinds: []target.Kind{route}, Keys: annotations.DefaultKeys(), DiscoveryInterval: 10 * time.Second,
		}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); w.Run(ctx) }()
		defer func() { cancel(); <-ended }()
		time.Sleep(time.Second)
		synctest.Wait()
		assert.True(t, w.Complete(), "it is known not to be served")

		u := ingress(map[string]string{annotations.DefaultEnabled: "true"})
		u.SetAPIVersion(route.APIVersion())
		u.SetKind(route.Name)
		_, err := c.Dynamic.Resource(route.Resource).Namespace("shop").Create(t.Context(), u, metav1.CreateOptions{})
		require.NoError(t, err)
		assert.Empty(t, h.newKeys())
		crds.there.Store(true)
		time.Sleep(10 * time.Second)
		assert.Equal(t, []string{"IngressRoute/my-app"}, h.newKeys(), "its CRD was installed")
		crds.there.Store(false)
		time.Sleep(10 * time.Second)
		assert.Equal(t, []string{"IngressRoute/my-app"}, h.newKeys(), "its CRD was deleted")
	})
}

// TestManaged: a page set's users are reported until reconciles begin, and the page set always.
func TestManaged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, h, begun := kubetest.New(t), &recorder{}, make(chan struct{})
		w := NewManaged(ManagedConfig{Client: c.Client, Log: zap.NewNop(), Namespaces: []string{""}, Started: begun, OnSet: h.set, OnTarget: h.target})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		w.Start(ctx, &wg)
		defer func() { cancel(); wg.Wait() }()
		time.Sleep(time.Second)
		synctest.Wait()
		require.True(t, w.HasSynced(), "%v", w.Unsynced())

		maps := c.Client.CoreV1().ConfigMaps("shop")
		create := func(name, component string, data map[string]string) {
			_, err := maps.Create(t.Context(), &corev1.ConfigMap{Data: data, ObjectMeta: metav1.ObjectMeta{
				Name: name, Annotations: map[string]string{annotations.UsedBy: "Ingress/a,Service/b"},
				Labels: map[string]string{annotations.ManagedByLabel: annotations.ManagedBy, annotations.ComponentLabel: component, annotations.PageSetLabel: set},
			}}, metav1.CreateOptions{})
			require.NoError(t, err)
		}
		create(set, annotations.ComponentSet, nil)
		assert.Equal(t, []string{"Ingress/a", "Service/b", set}, h.newKeys())
		close(begun)
		create("backup", annotations.ComponentBackup, map[string]string{"kind": "Ingress", "name": "c", "page-set": set})
		assert.Equal(t, []string{"Ingress/c", set}, h.newKeys())
		id := pageset.ID{Namespace: "shop", Name: set}
		assert.Equal(t, []target.Ref{{Kind: "Ingress", Namespace: "shop", Name: "c"}}, w.UsersByBackup(id))
		assert.Equal(t, []pageset.ID{id}, w.SetsIn("shop"))
		assert.Equal(t, 1, w.CountSets())
		require.NoError(t, maps.Delete(t.Context(), set, metav1.DeleteOptions{}))
		assert.Equal(t, []string{set}, h.newKeys(), "claims notify from here on")
		assert.Nil(t, w.Observe(id).ConfigMap)
	})
}
