package cli

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"maintenance-controller.io/pkg/annotations"
)

// manages is a manager's entry in managedFields for annotations.
func manages(manager string, operation metav1.ManagedFieldsOperationType, keys ...string) metav1.ManagedFieldsEntry {
	text := ""
	for _, key := range keys {
		text += fmt.Sprintf(`,"f:%s":{}`, key)
	}
	return metav1.ManagedFieldsEntry{Manager: manager, Operation: operation, FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:metadata":{"f:annotations":{".":{}` + text + `}}}`)}}
}

func has(all map[string]string, managers ...metav1.ManagedFieldsEntry) annotated {
	return annotated{keys: annotations.DefaultKeys(), all: all, managers: managers}
}

// after returns the annotations after changes.
func (a annotated) after(c changes) map[string]string {
	all := maps.Clone(a.all)
	if all == nil {
		all = map[string]string{}
	}
	for key, value := range c {
		if text, ok := value.(string); ok {
			all[key] = text
		} else {
			delete(all, key)
		}
	}
	return all
}

const (
	enabled = annotations.DefaultEnabled
	page    = annotations.DefaultCustomPage
	reason  = annotations.Reason
	whose   = annotations.By
	until   = annotations.Until
	lease   = annotations.Lease
)

func given(text string) *string { return &text }

func TestTurnOn(t *testing.T) {
	evening := time.Date(2026, 1, 31, 18, 0, 0, 0, time.FixedZone("", 3600))
	ours := manages(FieldManager, metav1.ManagedFieldsOperationUpdate, page)
	for name, tc := range map[string]struct {
		now  annotated
		give details
		want map[string]string
	}{
		"no details":                     {has(nil), details{by: "ana"}, map[string]string{enabled: "true", whose: "ana"}},
		"no name":                        {has(nil), details{}, map[string]string{enabled: "true"}},
		"all details":                    {has(nil), details{by: "ana", page: given("spring"), reason: given("move"), until: &evening}, map[string]string{enabled: "true", whose: "ana", page: "spring", reason: "move", until: "2026-01-31T17:00:00Z"}},
		"false before":                   {has(map[string]string{enabled: "false", "a": "b"}), details{by: "ana"}, map[string]string{enabled: "true", whose: "ana", "a": "b"}},
		"leftovers are removed":          {has(map[string]string{until: "2020-01-01T00:00:00Z", reason: "old", whose: "old", lease: "x"}), details{by: "ana"}, map[string]string{enabled: "true", whose: "ana"}},
		"a leftover that is given again": {has(map[string]string{reason: "move", whose: "ana"}), details{by: "ana", reason: given("move")}, map[string]string{enabled: "true", whose: "ana", reason: "move"}},
		"a page that others own":         {has(map[string]string{page: "spring"}, manages("helm", "Apply", page)), details{by: "ana"}, map[string]string{enabled: "true", whose: "ana", page: "spring"}},
		"a page of earlier maintenance":  {has(map[string]string{page: "spring"}, ours), details{by: "ana"}, map[string]string{enabled: "true", whose: "ana"}},
		"the default page":               {has(map[string]string{page: "spring"}), details{by: "ana", page: given("default")}, map[string]string{enabled: "true", whose: "ana"}},
		"already on":                     {has(map[string]string{enabled: "true", whose: "bob", until: "u", reason: "r", page: "spring"}, ours), details{by: "ana"}, map[string]string{enabled: "true", whose: "bob", until: "u", reason: "r", page: "spring"}},
		"already on, with a reason":      {has(map[string]string{enabled: "true", whose: "bob", until: "u", reason: "r"}), details{by: "ana", reason: given("new")}, map[string]string{enabled: "true", whose: "ana", until: "u", reason: "new"}},
		"already on, with a name":        {has(map[string]string{enabled: "true", whose: "bob"}), details{by: "ana", byGiven: true}, map[string]string{enabled: "true", whose: "ana"}},
		"the end is removed":             {has(map[string]string{enabled: "true", until: "u", whose: "ana"}), details{by: "ana", until: &time.Time{}}, map[string]string{enabled: "true", whose: "ana"}},
		"the reason is removed":          {has(map[string]string{enabled: "true", reason: "r", whose: "ana"}), details{by: "ana", reason: given("")}, map[string]string{enabled: "true", whose: "ana"}},
		"on by a command":                {has(map[string]string{enabled: "true", lease: "a,b", whose: "ci", reason: "migrate"}), details{by: "ana"}, map[string]string{enabled: "true", whose: "ana"}},
	} {
		got := tc.now.turnOn(tc.give)
		assert.Equal(t, tc.want, tc.now.after(got), name)
		again := has(tc.now.after(got), tc.now.managers...)
		assert.Empty(t, again.turnOn(tc.give), "%s: a second time changes nothing", name)
	}
}

// TestTurnOnAfterTheEnd: maintenance whose end has passed is off, and starts anew.
func TestTurnOnAfterTheEnd(t *testing.T) {
	w := has(map[string]string{enabled: "true", until: "2026-01-31T17:00:00Z", reason: "old", whose: "bob"})
	assert.Empty(t, w.turnOn(details{by: "ana"}), "the time is not known")
	w.now = time.Date(2026, 1, 31, 16, 59, 59, 0, time.UTC)
	assert.Empty(t, w.turnOn(details{by: "ana"}), "the end has not passed yet")
	w.now = w.now.Add(time.Second)
	assert.Equal(t, map[string]string{enabled: "true", whose: "ana"}, w.after(w.turnOn(details{by: "ana"})))
}

func TestTurnOff(t *testing.T) {
	all := map[string]string{enabled: "true", until: "u", reason: "r", whose: "b", lease: "l", page: "spring", "a": "b"}
	assert.Equal(t, map[string]string{"a": "b", page: "spring"}, has(all).after(has(all).turnOff()), "a page that others own stays")
	ours := has(all, manages(FieldManager, metav1.ManagedFieldsOperationUpdate, page, enabled))
	assert.Equal(t, map[string]string{"a": "b"}, ours.after(ours.turnOff()), "a page that only on has set is removed")
	shared := has(all, manages(FieldManager, metav1.ManagedFieldsOperationUpdate, page), manages("helm", metav1.ManagedFieldsOperationApply, page))
	assert.Equal(t, "spring", shared.after(shared.turnOff())[page])
	assert.Empty(t, has(map[string]string{reason: "r", enabled: "false"}).turnOff(), "nothing changes if it is off")

	itself := map[string]string{annotations.Auto: annotations.AutoBackends, annotations.Cause: `{"cause":"down","since":"2026-01-31T18:00:00Z"}`}
	assert.Equal(t, changes{enabled: "false"}, has(itself).turnOff(), "automatic maintenance is off while the annotation says so")
	assert.Empty(t, has(map[string]string{annotations.Auto: annotations.AutoBackends}).turnOff())
}

func TestAddAndRemoveLease(t *testing.T) {
	c, held := has(nil).addLease("one", details{by: "ci", reason: given("migrate")})
	require.True(t, held)
	one := has(has(nil).after(c))
	assert.Equal(t, map[string]string{enabled: "true", lease: "one", whose: "ci", reason: "migrate"}, one.all)

	c, held = one.addLease("two", details{by: "other", reason: given("other")})
	require.True(t, held)
	both := has(one.after(c))
	assert.Equal(t, map[string]string{enabled: "true", lease: "one,two", whose: "ci", reason: "migrate"}, both.all, "the details of the first command are shown")

	two := has(both.after(both.removeLease("one")))
	assert.Equal(t, "two", two.all[lease])
	assert.Empty(t, two.after(two.removeLease("two")), "the last ends it")
	assert.Empty(t, two.removeLease("one"), "a second time changes nothing")

	_, held = has(map[string]string{enabled: "true"}).addLease("one", details{})
	assert.False(t, held, "a command cannot end a person's maintenance")
	off := has(map[string]string{lease: "one"})
	assert.Empty(t, off.removeLease("one"), "it is off already")
}

// TestACommandNeverEndsAPersonsMaintenance: whatever commands and people do in any order, a
// command never ends maintenance that a person started, and the last command ends
// maintenance that commands started.
func TestACommandNeverEndsAPersonsMaintenance(t *testing.T) {
	for seed := range uint64(3000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		now := has(map[string]string{})
		holders := map[string]bool{}
		persons := false // whether a person has it on
		for step := range 12 {
			name := fmt.Sprint("run-", rnd.IntN(3))
			switch rnd.IntN(4) {
			case 0:
				c, held := now.addLease(name, details{by: "ci"})
				require.Equal(t, !persons, held, "seed %d step %d", seed, step)
				holders[name] = held
				now = has(now.after(c))
			case 1:
				now = has(now.after(now.removeLease(name)))
				delete(holders, name)
			case 2:
				now, persons = has(now.after(now.turnOn(details{by: "ana"}))), true
				clear(holders)
			case 3:
				now, persons = has(now.after(now.turnOff())), false
				clear(holders)
			}
			maps.DeleteFunc(holders, func(_ string, held bool) bool { return !held })
			require.Equal(t, persons || len(holders) > 0, now.on(), "seed %d step %d: %v, held by %v", seed, step, now.all, holders)
		}
	}
}

func TestAppliers(t *testing.T) {
	status := manages("gitops-status", metav1.ManagedFieldsOperationApply, enabled)
	status.Subresource = "status"
	w := has(nil,
		manages("argocd-controller", metav1.ManagedFieldsOperationApply, enabled), manages("kubectl-annotate", metav1.ManagedFieldsOperationUpdate, enabled),
		manages("flux", metav1.ManagedFieldsOperationApply, page), status, metav1.ManagedFieldsEntry{Manager: "none", Operation: metav1.ManagedFieldsOperationApply})
	assert.Equal(t, []string{"argocd-controller"}, w.appliers(enabled))
	assert.Empty(t, w.appliers("maintenance/enable"))
	w.managers[0].FieldsV1.Raw = []byte(`{"f:metadata":"odd"}`)
	assert.Empty(t, w.appliers(enabled))
}
