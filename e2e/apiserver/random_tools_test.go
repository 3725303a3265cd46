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

// TestRandomTools: targets are toggled at random while random tools write one release after
// the other. Each target has a twin that is never in maintenance and gets the same releases
// by the same tools. In the end both are equal: spec, labels, annotations, and who owns
// which field of the spec.
func TestRandomTools(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	seed, each, releases := randomSeed(), 2, 5
	if *long {
		each, releases = 4, 50
	}
	t.Logf("-tools-seed=%d", seed)
	env.startController()
	var all sync.WaitGroup
	var members []*twinnedTarget
	for i := range each * len(target.Kinds()) {
		k := target.Kinds()[i%len(target.Kinds())]
		m := &twinnedTarget{testEnv: env, kind: k, name: fmt.Sprintf("target-%d", i), random: rand.New(rand.NewPCG(seed, uint64(i)))}
		members = append(members, m)
		all.Go(func() { m.releaseWhileToggling(releases) })
	}
	all.Wait()
	toggles := 0
	for _, m := range members {
		toggles += m.toggles
		m.requireSameAsTwin()
	}
	env.waitForCleanup()
	tally.Report(t, "toggles", int64(toggles))
	tally.Report(t, "writes of other tools", int64(len(members)*releases))
	assert.Greater(t, toggles, 2*len(members))
}

// twinnedTarget is a target with a twin, both written by random tools.
type twinnedTarget struct {
	*testEnv
	kind     target.Kind
	name     string
	random   *rand.Rand
	toggles  int
	lastTool string // the last writer
}

func (m *twinnedTarget) twin() string { return m.name + "-twin" }

// releaseWhileToggling writes the releases while maintenance is toggled.
func (m *twinnedTarget) releaseWhileToggling(releases int) {
	m.write(0)
	for _, name := range []string{m.name, m.twin()} {
		m.addUnmanagedFields(m.kind, name)
	}
	ctx, done := context.WithCancel(m.Context())
	var toggling sync.WaitGroup
	random := rand.New(rand.NewPCG(m.random.Uint64(), 0)) // of its own, because both goroutines draw numbers
	toggling.Go(func() { m.toggle(ctx, random) })
	for n := range releases {
		m.write(n + 1)
	}
	done()
	toggling.Wait()
}

// toggle switches maintenance at random intervals: sometimes it settles, and sometimes it
// does not even start.
func (m *twinnedTarget) toggle(ctx context.Context, random *rand.Rand) {
	for on := true; ctx.Err() == nil; on = !on {
		for name, value := range map[string]string{m.name: "true", m.twin(): "false"} {
			want := map[string]any{annotations.DefaultEnabled: nil}
			if on {
				want[annotations.DefaultEnabled] = value
			}
			if err := m.tryAnnotate(m.kind.Resource, name, want); err != nil {
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

// write lets a random tool write a release, or removes all annotations, reverses a list, or
// adds labels that are in no release. It does the same to the twin.
func (m *twinnedTarget) write(n int) {
	m.Helper()
	all := tools()
	all["helm upgrade"] = tool{write: helmTakeOwnership}
	names := make([]string, 0, len(all)+2)
	for name := range all {
		names = append(names, name)
	}
	if n > 0 {
		names = append(names, "strip annotations", "reverse a list", "add labels")
	}
	slices.Sort(names)
	m.lastTool = names[m.random.IntN(len(names))]
	for _, name := range []string{m.name, m.twin()} {
		switch m.lastTool {
		case "strip annotations":
			m.edit(m.kind.Resource, name, func(u *unstructured.Unstructured) { u.SetAnnotations(nil) })
		case "reverse a list":
			m.edit(m.kind.Resource, name, func(u *unstructured.Unstructured) {
				where := editableLists[m.kind.Name][0]
				slices.Reverse(u.Object["spec"].(map[string]any)[where.list].([]any))
			})
		case "add labels":
			patch := fmt.Sprintf(`{"metadata":{"labels":{"color":"blue-%d"}}}`, n)
			if m.kind.Name == "Service" {
				patch = fmt.Sprintf(`{"spec":{"selector":{"color":"blue-%d"}}}`, n)
			}
			m.patch(m.kind.Resource, name, types.MergePatchType, patch)
		default:
			all[m.lastTool].write(m.testEnv, m.release(name, n))
		}
	}
	m.Logf("%s: release %d by %s", m.name, n, m.lastTool)
}

// release returns a manifest in which all backends and ports are new.
func (m *twinnedTarget) release(name string, n int) *unstructured.Unstructured {
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

// helmTakeOwnership upgrades a release that may contain an object of another manager.
func helmTakeOwnership(env *testEnv, want *unstructured.Unstructured) {
	env.Helper()
	env.mustRun(binaries.Helm(), nil, "upgrade", "--install", "--take-ownership", "--namespace="+env.namespace, want.GetName(), env.chartOf(want))
}

// requireSameAsTwin ends maintenance and compares.
func (m *twinnedTarget) requireSameAsTwin() {
	m.Helper()
	for _, name := range []string{m.name, m.twin()} {
		m.disable(m.kind.Resource, name)
	}
	u := m.waitFor(m.kind.Resource, m.name, "restored, without fields of the controller", func(u *unstructured.Unstructured) bool {
		return restored(u) && !ownership.ControllerOwnsAny(u.GetManagedFields())
	})
	twin := m.get(m.kind.Resource, m.twin())
	require.NotNil(m, twin)
	// The first writer of the annotations differs from the twin's, because maintenance was
	// toggled while the tools wrote.
	twin.SetManagedFields(ownersOfSpec(m, twin))
	u.SetManagedFields(ownersOfSpec(m, u))
	assert.Equal(m, m.authoredState(twin), m.authoredState(u), "%s, last written by %s", m.name, m.lastTool)
}

// ownersOfSpec returns who owns which field of the spec.
func ownersOfSpec(t require.TestingT, u *unstructured.Unstructured) []metav1.ManagedFieldsEntry {
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
