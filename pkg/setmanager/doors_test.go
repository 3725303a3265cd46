package setmanager

import (
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/page"
	"maintenance-controller.io/pkg/pageset"
)

// egressCache says whether the egress of Pods is restricted.
type egressCache struct {
	Cache
	restricted bool
}

func (i egressCache) EgressRestricted(string, map[string]string) bool { return i.restricted }

func setOf(settings access.Settings) *corev1.ConfigMap {
	p := page.Page{Bodies: map[string]string{"page.html": "<h1>soon</h1>"}}
	if settings.Any() {
		p.Access = settings.Encode()
	}
	return pageset.ConfigMap(pageset.ID{Namespace: "shop", Name: page.SetName(p.Hash())}, p, "Ingress/a")
}

// TestEgressPolicy: page Pods get an egress rule to the apps behind their doors only where another
// policy restricts their egress: elsewhere the rule itself would restrict it.
func TestEgressPolicy(t *testing.T) {
	t.Parallel()
	doors := access.Settings{ReadOnly: true, Doors: []access.Door{{Name: "d1", Scheme: access.Auto, Host: "a.shop.svc", Port: 80}}}
	for name, tc := range map[string]struct {
		settings access.Settings
		isolated bool
		out      bool
	}{
		"doors, kept in":        {doors, true, true},
		"doors":                 {doors, false, false},
		"the page, kept in":     {access.Settings{}, true, false},
		"the page, not kept in": {access.Settings{}, false, false},
	} {
		m := New(Config{Cache: egressCache{restricted: tc.isolated}})
		assert.Equal(t, tc.out, len(m.policy(setOf(tc.settings)).Spec.Egress) > 0, name)
	}
}

// TestSetsWithDoors: only claimed sets of the namespace are listed.
func TestSetsWithDoors(t *testing.T) {
	t.Parallel()
	c := newClaims()
	c.Set(a, Claim{Sets: []pageset.ID{set1, set2}})
	c.provide(set1, page.Page{Access: "{}"})
	c.provide(set2, page.Page{})
	assert.Equal(t, []pageset.ID{set1}, c.WithDoors("shop"))
	assert.Equal(t, []pageset.ID{set1}, c.WithDoors(""))
	assert.Empty(t, c.WithDoors("other"))
	c.Set(a, Claim{})
	assert.Empty(t, c.WithDoors(""))
}
