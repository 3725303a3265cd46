package backup

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/validation"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/companion"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

func TestNamesAreValidAndUnique(t *testing.T) {
	seen := map[string]bool{}
	long := strings.Repeat("a", 250)
	for _, ref := range []target.Ref{
		{Kind: "Ingress", Name: "a"}, {Kind: "IngressRoute", Name: "a"}, {Kind: "Ingress", Name: "a.b"}, {Kind: "Service", Name: "a"},
		{Kind: "Ingress", Name: long}, {Kind: "IngressRoute", Name: long}, {Kind: "Ingress", Name: long + "b"},
	} {
		name := Name(ref)
		assert.Empty(t, validation.IsDNS1123Subdomain(name), name)
		assert.False(t, seen[name], "%s twice", name)
		seen[name] = true
	}
}

func TestBuildAndParse(t *testing.T) {
	ref := target.Ref{Kind: "Ingress", Namespace: "shop", Name: "my-app"}
	want := plan.Backup{Set: "maintenance-0123456789abcdef", Record: swap.Record{Version: swap.Version, Page: "spring", Slots: []swap.Original{{ID: swap.ID{Host: "a"}, Value: []byte(`{"x":1}`)}}}}
	cm := build(companion.Owner{Ref: ref, APIVersion: "networking.k8s.io/v1", UID: "uid"}, want)
	gotRef, got, err := Parse(cm)
	require.NoError(t, err)
	assert.Equal(t, ref, gotRef)
	assert.Equal(t, want, got)
	assert.True(t, ours(cm, ref))
	assert.False(t, ours(cm, target.Ref{Kind: "IngressRoute", Namespace: "shop", Name: "my-app"}))
	assert.NotContains(t, cm.Data, "uid", "a recreated target must keep its backup")
	assert.Nil(t, cm.OwnerReferences[0].Controller)
	assert.False(t, *cm.OwnerReferences[0].BlockOwnerDeletion)

	cm.Data[keyOriginals] = "{"
	gotRef, _, err = Parse(cm)
	assert.ErrorContains(t, err, cm.Name)
	assert.Equal(t, ref, gotRef, "its target is known all the same")
	delete(cm.Labels, annotations.ManagedByLabel)
	assert.True(t, ours(cm, ref), "its owner tells if somebody removed its labels")
	cm.OwnerReferences = nil
	assert.False(t, ours(cm, ref))
}
