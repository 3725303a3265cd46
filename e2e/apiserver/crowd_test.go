package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/ownership"
	"maintenance-controller.io/pkg/target"
)

// TestManyHands: targets go in and out of maintenance at random, and meanwhile
// random hands write them, one release after the other. Each target has a twin that
// is never in maintenance and gets the same releases by the same hands. In the end
// both are the same: spec, labels, annotations, and who owns which field of the spec.
func TestManyHands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	seed, each, releases := seedOfHands(), 2, 5
	if *long {
		each, releases = 4, 50
	}
	t.Logf("-hands-seed=%d", seed)
	w.start()
	var all sync.WaitGroup
	var members []*crowded
	for i := range each * len(target.Kinds()) {
		k := target.Kinds()[i%len(target.Kinds())]
		m := &crowded{world: w, kind: k, name: fmt.Sprintf("target-%d", i), random: rand.New(rand.NewPCG(seed, uint64(i)))}
		members = append(members, m)
		all.Go(func() { m.writtenAndToggled(releases) })
	}
	all.Wait()
	toggles := 0
	for _, m := range members {
		toggles += m.toggles
		m.endsAsItsTwin()
	}
	w.untilClean()
	tally.Tell(t, "toggles", int64(toggles))
	tally.Tell(t, "writes of other hands", int64(len(members)*releases))
	assert.Greater(t, toggles, 2*len(members))
}

// crowded is a target that random hands write, beside its twin.
type crowded struct {
	*world
	kind    target.Kind
	name    string
	random  *rand.Rand
	toggles int
	last    string // what was written last, and by whom
}

func (m *crowded) twin() string { return m.name + "-twin" }

// writtenAndToggled writes the releases, while somebody else switches on and off.
func (m *crowded) writtenAndToggled(releases int) {
	m.write(0)
	for _, name := range []string{m.name, m.twin()} {
		m.unknown(m.kind, name)
	}
	ctx, done := context.WithCancel(m.Context())
	var toggling sync.WaitGroup
	random := rand.New(rand.NewPCG(m.random.Uint64(), 0)) // its own: the writing draws meanwhile
	toggling.Go(func() { m.toggle(ctx, random) })
	for n := range releases {
		m.write(n + 1)
	}
	done()
	toggling.Wait()
}

// toggle switches at a random pace: sometimes maintenance settles, and sometimes it
// does not even begin.
func (m *crowded) toggle(ctx context.Context, random *rand.Rand) {
	for on := true; ctx.Err() == nil; on = !on {
		for name, value := range map[string]string{m.name: "true", m.twin(): "false"} {
			want := map[string]any{annotations.DefaultEnabled: nil}
			if on {
				want[annotations.DefaultEnabled] = value
			}
			if err := m.patched(m.kind.Resource, name, want); err != nil {
				m.Errorf("%s: %v", name, err)
			}
		}
		m.toggles++
		select {
		case <-ctx.Done():
		case <-after(time.Duration(random.IntN(400)) * time.Millisecond):
		}
	}
}

// write has a random hand write a release, or strip all annotations, or turn the
// order around, or add labels that no release knows, here and with the twin.
func (m *crowded) write(n int) {
	m.Helper()
	all := hands()
	all["helm upgrade"] = hand{write: helmTakingOver}
	names := make([]string, 0, len(all)+2)
	for name := range all {
		names = append(names, name)
	}
	if n > 0 {
		names = append(names, "who strips all annotations", "who reorders", "who adds labels")
	}
	slices.Sort(names)
	m.last = names[m.random.IntN(len(names))]
	for _, name := range []string{m.name, m.twin()} {
		switch m.last {
		case "who strips all annotations":
			m.edit(m.kind.Resource, name, func(u *unstructured.Unstructured) { u.SetAnnotations(nil) })
		case "who reorders":
			m.edit(m.kind.Resource, name, func(u *unstructured.Unstructured) {
				where := places[m.kind.Name][0]
				slices.Reverse(u.Object["spec"].(map[string]any)[where.list].([]any))
			})
		case "who adds labels":
			patch := fmt.Sprintf(`{"metadata":{"labels":{"color":"blue-%d"}}}`, n)
			if m.kind.Name == "Service" {
				patch = fmt.Sprintf(`{"spec":{"selector":{"color":"blue-%d"}}}`, n)
			}
			m.patch(m.kind.Resource, name, types.MergePatchType, patch)
		default:
			all[m.last].write(m.world, m.release(name, n))
		}
	}
	m.Logf("%s: release %d by %s", m.name, n, m.last)
}

// release is a manifest in which each backend, with its port, is another one.
func (m *crowded) release(name string, n int) *unstructured.Unstructured {
	text := func(s string) string { return fmt.Sprintf("%s-%d", s, n) }
	u := m.parse(strings.NewReplacer(
		"name: app,", text("name: app")+",", "name: api,", text("name: api")+",", "name: fallback,", text("name: fallback")+",", "name: canary", text("name: canary"),
		"name: mirror", text("name: mirror"), "name: static", text("name: static"), "number: 80", fmt.Sprintf("number: %d", 8000+n), "name: http}", text("name: http")+"}", "name: web}}}", text("name: web")+"}}}",
		"port: 8443", fmt.Sprintf("port: %d", 9000+n), "port: web,", text("port: web")+",", "tier: web", text("tier: web"),
		"app: shop, tier", text("app: shop")+", tier", "targetPort: 8080", fmt.Sprintf("targetPort: %d", 8000+n), "targetPort: https", text("targetPort: https"), "targetPort: 5353", fmt.Sprintf("targetPort: %d", 5000+n),
	).Replace(manifests[m.kind.Name](name)))
	u.SetLabels(map[string]string{"app": "shop", "release": text("release")})
	return u
}

// helmTakingOver upgrades a release that may hold an object of somebody else's.
func helmTakingOver(w *world, want *unstructured.Unstructured) {
	w.Helper()
	w.tool(binaries.Helm(), nil, "upgrade", "--install", "--take-ownership", "--namespace="+w.namespace, want.GetName(), w.chartOf(want))
}

// endsAsItsTwin switches both off for good, and compares.
func (m *crowded) endsAsItsTwin() {
	m.Helper()
	for _, name := range []string{m.name, m.twin()} {
		m.off(m.kind.Resource, name)
	}
	u := m.until(m.kind.Resource, m.name, "restored, and nothing the controller's", func(u *unstructured.Unstructured) bool {
		return restored(u) && !ownership.Owns(u.GetManagedFields())
	})
	twin := m.get(m.kind.Resource, m.twin())
	require.NotNil(m, twin)
	// Who was first to annotate is different with the twin: the switch is turned
	// while the hands write.
	twin.SetManagedFields(ofSpec(m, twin))
	u.SetManagedFields(ofSpec(m, u))
	assert.Equal(m, m.shape(twin), m.shape(u), "%s, last written by %s", m.name, m.last)
}

// ofSpec gives who owns which field of the spec.
func ofSpec(t require.TestingT, u *unstructured.Unstructured) []metav1.ManagedFieldsEntry {
	var entries []metav1.ManagedFieldsEntry
	for _, e := range u.GetManagedFields() {
		fields := map[string]any{}
		require.NoError(t, json.Unmarshal(e.FieldsV1.Raw, &fields))
		if fields["f:spec"] == nil {
			continue
		}
		raw, err := json.Marshal(fields["f:spec"])
		require.NoError(t, err)
		e.FieldsV1 = &metav1.FieldsV1{Raw: raw}
		entries = append(entries, e)
	}
	return entries
}
