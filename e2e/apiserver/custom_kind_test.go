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

// tunnel is a kind that the project does not have. This is all that a kind needs.
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

// TestCustomKind: the controller puts a new kind in maintenance without any other code that
// knows the kind.
func TestCustomKind(t *testing.T) {
	t.Parallel()
	require.NoError(t, plane.Apply(t.Context(), []byte(tunnelCRD)))
	env := newTestEnv(t)
	k := tunnel()
	env.waitFor(k.Resource, "my-app", "the kind to be served", absent)
	env.apply(aTunnel)
	before := spec(t, env.get(k.Resource, "my-app"))
	env.startController(func(c *controllerConfig, _ *restConfig) { c.Kinds = append(c.Kinds, k) })
	env.enable(k.Resource, "my-app")
	u := env.waitFor(k.Resource, "my-app", "active", state(annotations.Active))
	set := u.GetAnnotations()[annotations.PageSet]
	to, _, _ := unstructured.NestedString(u.Object, "spec", "to")
	assert.Equal(t, set, to)
	env.waitFor(configMaps, set, "its user in used-by", usedBy("Tunnel/my-app"))
	env.get(configMaps, backup.Name(target.Ref{Kind: k.Name, Name: "my-app"}))
	env.edit(k.Resource, "my-app", func(u *unstructured.Unstructured) {
		require.NoError(t, unstructured.SetNestedField(u.Object, "app", "spec", "to"))
	})
	env.waitFor(k.Resource, "my-app", "the page again", func(u *unstructured.Unstructured) bool {
		to, _, _ := unstructured.NestedString(u.Object, "spec", "to")
		return to == set
	})
	env.disable(k.Resource, "my-app")
	u = env.waitFor(k.Resource, "my-app", "removal of the controller's annotations", func(u *unstructured.Unstructured) bool { return !annotations.HasWritten(u.GetAnnotations()) })
	assert.Equal(t, before, spec(t, u))
	env.waitForCleanup()
}
