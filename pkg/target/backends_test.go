package target_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// backendsAreKnown: visitors of an object with slots go somewhere, and while they are on a
// page, the originals say where.
func backendsAreKnown(t require.TestingT, e example) {
	e.objects(t, func(_ *rand.Rand, object map[string]any, slots []swap.Slot) {
		before := swap.Backends(slots, swap.Record{})
		require.NotEmpty(t, before)
		for _, b := range before {
			require.NotEmpty(t, b.Name)
			require.GreaterOrEqual(t, b.Weight, int64(0))
		}
		swapped, record := swapTo(t, e.kind, object, swap.Record{}, setA)
		there, err := e.kind.Slots(swapped)
		require.NoError(t, err)
		after := swap.Backends(there, record)
		require.Equal(t, before, after, "those of the originals")
		for _, b := range after {
			require.False(t, page.IsSetName(b.Name), "a page is nobody's backend")
		}
	})
}

func TestBackendsOfEachKind(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		kind target.Kind
		give string
		want []swap.Backend
	}{
		"an Ingress, by number and by name": {
			target.Ingress(), `{"spec":{"defaultBackend":{"service":{"name":"a","port":{"number":80}}},
				"rules":[{"http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"b","port":{"name":"web"}}}}]}}]}}`,
			[]swap.Backend{{Namespace: "shop", Name: "a", Port: "80", Weight: 1}, {Namespace: "shop", Name: "b", Port: "web", Weight: 1}},
		},
		"an Ingress to a resource": {
			target.Ingress(), `{"spec":{"defaultBackend":{"resource":{"apiGroup":"k8s.example.com","kind":"Bucket","name":"static"}}}}`,
			[]swap.Backend{{Namespace: "shop", Name: "static", Weight: 1, Unjudged: "it is of kind Bucket, not a Service"}},
		},
		"several paths to one Service": {
			target.Ingress(), `{"spec":{"rules":[{"http":{"paths":[
				{"path":"/a","pathType":"Prefix","backend":{"service":{"name":"a","port":{"number":80}}}},
				{"path":"/b","pathType":"Prefix","backend":{"service":{"name":"a","port":{"number":80}}}}]}}]}}`,
			[]swap.Backend{{Namespace: "shop", Name: "a", Port: "80", Weight: 1}},
		},
		"an IngressRoute, with weights, another namespace and a TraefikService": {
			target.IngressRoute(), `{"spec":{"routes":[{"match":"Host(` + "`a`" + `)","services":[{"name":"a","port":80,"weight":3},
				{"name":"b","port":"web","namespace":"other","weight":0},{"name":"c@file","kind":"TraefikService"}]}]}}`,
			[]swap.Backend{
				{Namespace: "shop", Name: "a", Port: "80", Weight: 3}, {Namespace: "other", Name: "b", Port: "web", Weight: 0},
				{Namespace: "shop", Name: "c@file", Weight: 1, Unjudged: "it is of kind TraefikService, not a Service"},
			},
		},
		"an HTTPRoute, without its mirrors": {
			target.HTTPRoute(), `{"spec":{"parentRefs":[{"name":"gw"}],"rules":[{"backendRefs":[{"group":"","kind":"Service","name":"a","port":80,"weight":9},{"group":"multicluster.x-k8s.io","kind":"ServiceImport","name":"b","port":80}],
				"filters":[{"type":"RequestMirror","requestMirror":{"backendRef":{"name":"shadow","port":80}}}]}]}}`,
			[]swap.Backend{{Namespace: "shop", Name: "a", Port: "80", Weight: 9}, {Namespace: "shop", Name: "b", Port: "80", Weight: 1, Unjudged: "it is of kind ServiceImport, not a Service"}},
		},
		"a Service is its own": {
			target.Service(), `{"spec":{"selector":{"app":"a"},"ports":[{"port":80},{"port":81}]}}`,
			[]swap.Backend{{Namespace: "shop", Name: "my-app", Weight: 1}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			object := decoded(t, tc.give)
			object["metadata"] = map[string]any{"namespace": "shop", "name": "my-app"}
			slots, err := tc.kind.Slots(object)
			require.NoError(t, err)
			assert.Equal(t, tc.want, swap.Backends(slots, swap.Record{}))
		})
	}
}
