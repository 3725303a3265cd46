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

// manages is a manager's entry of the fields of annotations.
func manages(manager string, operation metav1.ManagedFieldsOperationType, keys ...string) metav1.ManagedFieldsEntry {
	text := ""
	for _, key := range keys {
		text += fmt.Sprintf(`,"f:%s":{}`, key)
	}
	return metav1.ManagedFieldsEntry{Manager: manager, Operation: operation, FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:metadata":{"f:annotations":{".":{}` + text + `}}}`)}}
}

func has(all map[string]string, managers ...metav1.ManagedFieldsEntry) written {
	return written{keys: annotations.DefaultKeys(), all: all, managers: managers}
}

// after gives the annotations as they are once changes are written.
func (w written) after(c changes) map[string]string {
	all := maps.Clone(w.all)
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

func said(text string) *string { return &text }

func TestBegin(t *testing.T) {
	evening := time.Date(2026, 1, 31, 18, 0, 0, 0, time.FixedZone("", 3600))
	ours := manages(Manager, metav1.ManagedFieldsOperationUpdate, page)
	for name, tc := range map[string]struct {
		there written
		ask   ask
		want  map[string]string
	}{
		"nothing is said":       {has(nil), ask{by: "ana"}, map[string]string{enabled: "true", whose: "ana"}},
		"nobody says who":       {has(nil), ask{}, map[string]string{enabled: "true"}},
		"all is said":           {has(nil), ask{by: "ana", page: said("spring"), reason: said("move"), until: &evening}, map[string]string{enabled: "true", whose: "ana", page: "spring", reason: "move", until: "2026-01-31T17:00:00Z"}},
		"false before":          {has(map[string]string{enabled: "false", "a": "b"}), ask{by: "ana"}, map[string]string{enabled: "true", whose: "ana", "a": "b"}},
		"what is left goes":     {has(map[string]string{until: "2020-01-01T00:00:00Z", reason: "old", whose: "old", lease: "x"}), ask{by: "ana"}, map[string]string{enabled: "true", whose: "ana"}},
		"left, and said again":  {has(map[string]string{reason: "move", whose: "ana"}), ask{by: "ana", reason: said("move")}, map[string]string{enabled: "true", whose: "ana", reason: "move"}},
		"the app's own page":    {has(map[string]string{page: "spring"}, manages("helm", "Apply", page)), ask{by: "ana"}, map[string]string{enabled: "true", whose: "ana", page: "spring"}},
		"a page of an earlier":  {has(map[string]string{page: "spring"}, ours), ask{by: "ana"}, map[string]string{enabled: "true", whose: "ana"}},
		"the default page":      {has(map[string]string{page: "spring"}), ask{by: "ana", page: said("default")}, map[string]string{enabled: "true", whose: "ana"}},
		"on already":            {has(map[string]string{enabled: "true", whose: "bob", until: "u", reason: "r", page: "spring"}, ours), ask{by: "ana"}, map[string]string{enabled: "true", whose: "bob", until: "u", reason: "r", page: "spring"}},
		"on already, says more": {has(map[string]string{enabled: "true", whose: "bob", until: "u", reason: "r"}), ask{by: "ana", reason: said("new")}, map[string]string{enabled: "true", whose: "ana", until: "u", reason: "new"}},
		"on already, who":       {has(map[string]string{enabled: "true", whose: "bob"}), ask{by: "ana", byGiven: true}, map[string]string{enabled: "true", whose: "ana"}},
		"an end is taken off":   {has(map[string]string{enabled: "true", until: "u", whose: "ana"}), ask{by: "ana", until: &time.Time{}}, map[string]string{enabled: "true", whose: "ana"}},
		"a reason is taken off": {has(map[string]string{enabled: "true", reason: "r", whose: "ana"}), ask{by: "ana", reason: said("")}, map[string]string{enabled: "true", whose: "ana"}},
		"of a command":          {has(map[string]string{enabled: "true", lease: "a,b", whose: "ci", reason: "migrate"}), ask{by: "ana"}, map[string]string{enabled: "true", whose: "ana"}},
	} {
		got := tc.there.begin(tc.ask)
		assert.Equal(t, tc.want, tc.there.after(got), name)
		again := has(tc.there.after(got), tc.there.managers...)
		assert.Empty(t, again.begin(tc.ask), "%s: again there is nothing to write", name)
	}
}

// What has an end that is past is off, and begins anew.
func TestBeginAfterItsEnd(t *testing.T) {
	w := has(map[string]string{enabled: "true", until: "2026-01-31T17:00:00Z", reason: "old", whose: "bob"})
	assert.Empty(t, w.begin(ask{by: "ana"}), "the time is not known")
	w.at = time.Date(2026, 1, 31, 16, 59, 59, 0, time.UTC)
	assert.Empty(t, w.begin(ask{by: "ana"}), "the end is to come")
	w.at = w.at.Add(time.Second)
	assert.Equal(t, map[string]string{enabled: "true", whose: "ana"}, w.after(w.begin(ask{by: "ana"})))
}

func TestEnd(t *testing.T) {
	all := map[string]string{enabled: "true", until: "u", reason: "r", whose: "b", lease: "l", page: "spring", "a": "b"}
	assert.Equal(t, map[string]string{"a": "b", page: "spring"}, has(all).after(has(all).finish()), "a page of the app's own stays")
	ours := has(all, manages(Manager, metav1.ManagedFieldsOperationUpdate, page, enabled))
	assert.Equal(t, map[string]string{"a": "b"}, ours.after(ours.finish()), "one that was named with on goes")
	shared := has(all, manages(Manager, metav1.ManagedFieldsOperationUpdate, page), manages("helm", metav1.ManagedFieldsOperationApply, page))
	assert.Equal(t, "spring", shared.after(shared.finish())[page])
	assert.Empty(t, has(map[string]string{reason: "r", enabled: "false"}).finish(), "what is off is left as it is")

	itself := map[string]string{annotations.Auto: annotations.AutoBackends, annotations.Cause: `{"cause":"down","since":"2026-01-31T18:00:00Z"}`}
	assert.Equal(t, changes{enabled: "false"}, has(itself).finish(), "what began by itself is off while the annotation says so")
	assert.Empty(t, has(map[string]string{annotations.Auto: annotations.AutoBackends}).finish())
}

func TestHoldAndRelease(t *testing.T) {
	c, held := has(nil).hold("one", ask{by: "ci", reason: said("migrate")})
	require.True(t, held)
	one := has(has(nil).after(c))
	assert.Equal(t, map[string]string{enabled: "true", lease: "one", whose: "ci", reason: "migrate"}, one.all)

	c, held = one.hold("two", ask{by: "other", reason: said("other")})
	require.True(t, held)
	both := has(one.after(c))
	assert.Equal(t, map[string]string{enabled: "true", lease: "one,two", whose: "ci", reason: "migrate"}, both.all, "who came first is shown")

	two := has(both.after(both.release("one")))
	assert.Equal(t, "two", two.all[lease])
	assert.Empty(t, two.after(two.release("two")), "the last ends it")
	assert.Empty(t, two.release("one"), "once is enough")

	_, held = has(map[string]string{enabled: "true"}).hold("one", ask{})
	assert.False(t, held, "what a person has put in maintenance has no end by a command")
	off := has(map[string]string{lease: "one"})
	assert.Empty(t, off.release("one"), "it is off already")
}

// Whatever commands and people do in whatever order, a command never ends what a person
// has begun, and the last command ends what commands have begun.
func TestACommandNeverEndsAPersonsMaintenance(t *testing.T) {
	for seed := range uint64(3000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		now := has(map[string]string{})
		holders := map[string]bool{}
		persons := false // a person has it on
		for step := range 12 {
			name := fmt.Sprint("run-", rnd.IntN(3))
			switch rnd.IntN(4) {
			case 0:
				c, held := now.hold(name, ask{by: "ci"})
				require.Equal(t, !persons, held, "seed %d step %d", seed, step)
				holders[name] = held
				now = has(now.after(c))
			case 1:
				now = has(now.after(now.release(name)))
				delete(holders, name)
			case 2:
				now, persons = has(now.after(now.begin(ask{by: "ana"}))), true
				clear(holders)
			case 3:
				now, persons = has(now.after(now.finish())), false
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
