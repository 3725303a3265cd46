package apiserver

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

const tunnelCRD = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: tunnels.test.maintenance-controller.io}
spec:
  group: test.maintenance-controller.io
  scope: Namespaced
  names: {kind: Tunnel, plural: tunnels, singular: tunnel}
  versions:
    - name: v1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`

const aTunnel = `
apiVersion: test.maintenance-controller.io/v1
kind: Tunnel
metadata: {name: my-app}
spec: {to: app, more: {than: "this program knows"}}
`

// tunnel is a kind that this project does not know: all that it takes is this.
func tunnel() target.Kind {
	return target.Kind{
		Name: "Tunnel", Custom: true,
		Resource: schema.GroupVersionResource{Group: "test.maintenance-controller.io", Version: "v1", Resource: "tunnels"},
		Classes:  func(map[string]any, func(string, string) (string, bool)) ([]string, bool) { return nil, false },
		Slots: func(object map[string]any) ([]swap.Slot, error) {
			to, _, err := unstructured.NestedString(object, "spec", "to")
			s := swap.Slot{
				ID: swap.ID{Type: "to"}, Path: []any{"spec", "to"}, Value: to, Page: func(set string, _ any) any { return set },
				Check: func(value any) error {
					if to, ok := value.(string); !ok || page.IsSetName(to) {
						return errors.New("no end of a tunnel")
					}
					return nil
				},
			}
			if page.IsSetName(to) {
				s.PageSet = to
			}
			return []swap.Slot{s}, err
		},
	}
}

// TestAMadeUpKind is put in maintenance by the same controller: a new kind costs
// its own file, and nothing else knows of it.
func TestAMadeUpKind(t *testing.T) {
	t.Parallel()
	require.NoError(t, plane.Apply(t.Context(), []byte(tunnelCRD)))
	w := newWorld(t)
	k := tunnel()
	w.until(k.Resource, "my-app", "the kind being served", absent)
	w.apply(aTunnel)
	before := spec(t, w.get(k.Resource, "my-app"))
	w.start(func(c *controllerConfig, _ *restConfig) { c.Kinds = append(c.Kinds, k) })
	w.on(k.Resource, "my-app")
	u := w.until(k.Resource, "my-app", "active", state(annotations.Active))
	set := u.GetAnnotations()[annotations.PageSet]
	to, _, _ := unstructured.NestedString(u.Object, "spec", "to")
	assert.Equal(t, set, to)
	w.until(configMaps, set, "its user", usedBy("Tunnel/my-app"))
	w.get(configMaps, backup.Name(target.Ref{Kind: k.Name, Name: "my-app"}))
	w.edit(k.Resource, "my-app", func(u *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(u.Object, "app", "spec", "to"))
	})
	w.until(k.Resource, "my-app", "the page again", func(u *unstructured.Unstructured) bool {
		to, _, _ := unstructured.NestedString(u.Object, "spec", "to")
		return to == set
	})
	w.off(k.Resource, "my-app")
	u = w.until(k.Resource, "my-app", "the end of our annotations", func(u *unstructured.Unstructured) bool { return !annotations.HasWritten(u.GetAnnotations()) })
	assert.Equal(t, before, spec(t, u))
	w.untilClean()
}
