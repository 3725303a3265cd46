package setmanager

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
)

// staticCache is a cache that shows one page set.
type staticCache struct {
	Cache
	set pageset.Observed
}

func (s *staticCache) Observe(pageset.ID) pageset.Observed { return s.set }

// TestReachableSince: a set that is unused for a while stays reachable, and one that has lost its
// endpoints starts again.
func TestReachableSince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := page.Page{Bodies: map[string]string{"page.html": "<h1>soon</h1>"}}
		id := pageset.ID{Namespace: "shop", Name: page.SetName(content.Hash())}
		cm := pageset.ConfigMap(id, content, "Ingress/a")
		cm.UID = "cm"
		svc, pod := pageset.Service(cm, pageset.Template{}, nil), pageset.Pod(cm, pageset.Template{})
		svc.UID, pod.UID = "svc", "pod"
		controller := true
		slice := &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{UID: svc.UID, Controller: &controller}}},
			Endpoints:  []discoveryv1.Endpoint{{TargetRef: &corev1.ObjectReference{UID: pod.UID}}},
		}
		cache := &staticCache{set: pageset.Observed{ConfigMap: cm, Service: svc, Pods: []*corev1.Pod{pod}, Slices: []*discoveryv1.EndpointSlice{slice}}}
		m := New(Config{Cache: cache})
		begin := time.Now()
		assert.Equal(t, pageset.Status{Phase: pageset.Serving, Since: begin}, m.Status(id))

		time.Sleep(time.Minute)
		cm.Annotations[annotations.UsedBy] = ""
		assert.Equal(t, pageset.Starting, m.Status(id).Phase, "it may be deleted")
		time.Sleep(time.Minute)
		cm.Annotations[annotations.UsedBy] = "Ingress/a"
		assert.Equal(t, pageset.Status{Phase: pageset.Serving, Since: begin}, m.Status(id))

		cache.set.Slices = nil
		assert.Equal(t, pageset.Starting, m.Status(id).Phase)
		time.Sleep(time.Minute)
		cache.set.Slices = []*discoveryv1.EndpointSlice{slice}
		assert.Equal(t, pageset.Status{Phase: pageset.Serving, Since: begin.Add(3 * time.Minute)}, m.Status(id))
	})
}

// TestStatusForComparesFullHash: the set's name contains only the beginning of the hash. A user of
// another page, or another installation, must not be shown this one.
func TestStatusForComparesFullHash(t *testing.T) {
	content := page.Page{Bodies: map[string]string{"page.html": "<h1>soon</h1>"}}
	hash := content.Hash()
	id := pageset.ID{Namespace: "shop", Name: page.SetName(hash)}
	cm := pageset.ConfigMap(id, content, "Ingress/a")
	m := New(Config{Cache: &staticCache{set: pageset.Observed{ConfigMap: cm}}, Installation: installation.Installation{ID: installation.Default}})
	assert.Equal(t, pageset.Starting, m.StatusFor(id, hash).Phase)
	assert.True(t, m.Shows(id, hash))

	alike := hash[:len(hash)-1] + "x"
	got := m.StatusFor(id, alike)
	assert.Equal(t, pageset.Conflict, got.Phase)
	assert.Contains(t, got.Message, "shows another page")
	assert.False(t, m.Shows(id, alike))

	installation.Installation{ID: "red"}.Mark(cm)
	got = m.StatusFor(id, hash)
	assert.Equal(t, pageset.Conflict, got.Phase)
	assert.Contains(t, got.Message, `belongs to installation "red"`)
	assert.False(t, m.Shows(id, hash))
}
