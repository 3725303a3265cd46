package setmanager

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/target"
)

var (
	a    = target.Ref{Kind: "Ingress", Namespace: "shop", Name: "a"}
	b    = target.Ref{Kind: "IngressRoute", Namespace: "shop", Name: "a"}
	set1 = pageset.ID{Namespace: "shop", Name: "maintenance-0000000000000001"}
	set2 = pageset.ID{Namespace: "shop", Name: "maintenance-0000000000000002"}
)

func TestClaims(t *testing.T) {
	c := newClaims()
	changed, ok := c.Set(a, Claim{Sets: []pageset.ID{set1}})
	assert.True(t, ok)
	assert.Equal(t, []pageset.ID{set1}, changed)
	changed, _ = c.Set(a, Claim{Sets: []pageset.ID{set1}})
	assert.Empty(t, changed, "the same again is no change")
	changed, _ = c.Set(b, Claim{Sets: []pageset.ID{set1}})
	assert.Equal(t, []pageset.ID{set1}, changed)
	assert.ElementsMatch(t, []target.Ref{a, b}, c.Users(set1))

	changed, _ = c.Set(a, Claim{Sets: []pageset.ID{set2}})
	assert.ElementsMatch(t, []pageset.ID{set1, set2}, changed, "one gained, one lost")
	assert.Equal(t, []target.Ref{b}, c.Users(set1))
	changed, _ = c.Set(b, Claim{})
	assert.Equal(t, []pageset.ID{set1}, changed)
	assert.Empty(t, c.Users(set1))
}

// TestNoClaimWhileCollecting: this is why no page set in use is ever deleted.
func TestNoClaimWhileCollecting(t *testing.T) {
	c := newClaims()
	assert.True(t, c.startCollecting(set1))
	_, ok := c.Set(a, Claim{Sets: []pageset.ID{set2, set1}})
	assert.False(t, ok)
	assert.Empty(t, c.Users(set2), "all or nothing")
	c.stopCollecting(set1)
	_, ok = c.Set(a, Claim{Sets: []pageset.ID{set1}})
	assert.True(t, ok)
	assert.False(t, c.startCollecting(set1), "a claimed set is not deleted")
}

func TestPageIsKeptWhileClaimed(t *testing.T) {
	c := newClaims()
	p := page.Page{Bodies: map[string]string{"page.html": "x"}}
	c.provide(set1, p)
	_, ok := c.page(set1)
	assert.False(t, ok, "it is not claimed")
	c.Set(a, Claim{Sets: []pageset.ID{set1}})
	c.provide(set1, p)
	c.provide(set1, page.Page{})
	got, ok := c.page(set1)
	assert.True(t, ok)
	assert.Equal(t, p, got)
	c.Set(a, Claim{})
	_, ok = c.page(set1)
	assert.False(t, ok)
}
