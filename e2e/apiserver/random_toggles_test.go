package apiserver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/backup"
	"maintenance-controller.io/pkg/target"
)

// toggler toggles many targets of all kinds at random, and changes their pages.
type toggler struct {
	*proxiedController
	random  *rand.Rand
	targets []*toggledTarget
	pages   map[string]string // the current HTML of each page
	steps   int
}

// toggledTarget is a target, and what was last requested for it.
type toggledTarget struct {
	target.Ref
	resource schemaGVR
	spec     string // as it was created
	on       bool
	page     string // empty for the default page
}

// newToggler creates the targets: of five, two are Ingresses, two are IngressRoutes and one
// is a Service.
func newToggler(p *proxiedController, seed uint64, size int) *toggler {
	p.Helper()
	p.Logf("seed %d", seed)
	f := &toggler{proxiedController: p, random: rand.New(rand.NewPCG(seed, seed)), pages: map[string]string{}}
	for _, name := range []string{"spring", "autumn"} {
		f.pages[name] = "<h1>" + name + "</h1>"
		f.apply(customPage(name, "page.html", f.pages[name]))
	}
	kinds := []target.Kind{target.Ingress(), target.Ingress(), target.IngressRoute(), target.IngressRoute(), target.Service()}
	for i := range size {
		k, name := kinds[i%len(kinds)], fmt.Sprintf("app-%d", i)
		f.apply(manifests[k.Name](name))
		f.targets = append(f.targets, &toggledTarget{
			Ref: target.Ref{Kind: k.Name, Namespace: f.namespace, Name: name}, resource: k.Resource,
			spec: spec(f, f.get(k.Resource, name)),
		})
	}
	return f
}

// toggle requests a change of a target, or changes a page, a hundred times per second.
func (f *toggler) toggle(lasts time.Duration) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), lasts)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		f.step()
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// toggleUntil toggles for this time, and longer until each of these faults has occurred.
func (f *toggler) toggleUntil(lasts time.Duration, faults ...string) {
	f.Helper()
	missing := func(name string) bool { return f.proxy.Counts().Faults[name] == 0 }
	f.toggleWhile(lasts, func() bool { return slices.ContainsFunc(faults, missing) })
}

// toggleUntilAnswered toggles for this time, and longer until the API server has answered a call
// with this status.
func (f *toggler) toggleUntilAnswered(lasts time.Duration, status int) {
	f.Helper()
	f.toggleWhile(lasts, func() bool { return f.proxy.Counts().Answers[status] == 0 })
}

// toggleWhile toggles for this time, and longer while something is missing.
func (f *toggler) toggleWhile(lasts time.Duration, missing func() bool) {
	f.Helper()
	deadline := time.Now().Add(waitTimeout)
	for f.toggle(lasts); missing() && time.Now().Before(deadline); {
		f.toggle(100 * time.Millisecond)
	}
}

func (f *toggler) step() {
	f.Helper()
	f.steps++
	if f.random.IntN(50) == 0 {
		f.changePage()
		return
	}
	m := f.targets[f.random.IntN(len(f.targets))]
	m.on, m.page = f.random.IntN(2) == 0, []string{"", "spring", "autumn"}[f.random.IntN(3)]
	f.request(m)
}

func (f *toggler) request(m *toggledTarget) {
	f.Helper()
	want := map[string]any{annotations.DefaultEnabled: nil, annotations.DefaultCustomPage: nil}
	if m.on {
		want[annotations.DefaultEnabled] = "true"
	}
	if m.page != "" {
		want[annotations.DefaultCustomPage] = m.page
	}
	require.NoError(f, f.tryAnnotate(m.resource, m.Name, want))
}

func (f *toggler) changePage() {
	f.Helper()
	name := []string{"spring", "autumn"}[f.random.IntN(2)]
	f.pages[name] = fmt.Sprintf("<h1>%s %d</h1>", name, f.steps)
	patch := fmt.Appendf(nil, `{"data": {"page.html": %q}}`, f.pages[name])
	_, err := f.client.CoreV1().ConfigMaps(f.namespace).Patch(f.Context(), "page-"+name, types.MergePatchType, patch, metav1.PatchOptions{})
	require.NoError(f, err)
}

// allOff requests the end of all maintenance.
func (f *toggler) allOff() {
	f.Helper()
	for _, m := range f.targets {
		m.on, m.page = false, ""
		f.request(m)
	}
}

// waitUntilAsRequested waits until each target is as its annotations say, and the
// controller's objects are just those that this needs. It returns how many targets are in
// maintenance.
func (f *toggler) waitUntilAsRequested() (on int) {
	f.Helper()
	sets, backups, origins := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, m := range f.targets {
		if !m.on {
			u := f.waitFor(m.resource, m.Name, "restored", restored)
			assert.Equal(f, m.spec, spec(f, u), "%s: the spec, byte by byte", m.Ref)
			continue
		}
		on++
		set := defaultSet()
		if m.page != "" {
			set = setOfPage(f.pages[m.page])
		}
		f.waitFor(m.resource, m.Name, "active on "+set, func(u *unstructured.Unstructured) bool {
			return state(annotations.Active)(u) && onPage(len(pageSetsOf(u)), annotations.Active)(u) && len(pageSetsOf(u)) > 0 && namesSet(set)(u)
		})
		sets[set], backups[backup.Name(m.Ref)] = true, true
		if m.Kind == target.Service().Name {
			origins[originOf(m.Name)] = true
		}
	}
	f.waitForOnly(configMaps, annotations.ComponentSet, sets)
	f.waitForOnly(configMaps, annotations.ComponentBackup, backups)
	f.waitForOnly(services, annotations.ComponentOrigin, origins)
	f.waitForOnly(services, annotations.ComponentSet, sets)
	f.waitForOnly(budgets, annotations.ComponentSet, sets)
	return on
}

// waitForOnly waits until the controller's objects are just these.
func (f *toggler) waitForOnly(gvr schemaGVR, component string, want map[string]bool) {
	f.Helper()
	for name := range want {
		f.waitFor(gvr, name, "needed, so it exists", exists)
	}
	for _, u := range f.list(gvr, annotations.ComponentLabel+"="+component) {
		if !want[u.GetName()] {
			f.waitFor(gvr, u.GetName(), "deletion, since nobody needs it", absent)
		}
	}
}

// reportLost counts targets that were not restored and objects of the controller that still
// exist when all maintenance should have ended. It only reports them, for the table of the
// long runs: waitUntilAsRequested and waitForCleanup fail.
func (f *toggler) reportLost() {
	f.Helper()
	lost := 0
	for _, m := range f.targets {
		u, err := f.dynamic.Resource(m.resource).Namespace(f.namespace).Get(f.Context(), m.Name, metav1.GetOptions{})
		if err != nil || spec(panickingT{}, u) != m.spec {
			lost++
		}
	}
	for _, gvr := range []schemaGVR{configMaps, services, pods, budgets} {
		list, err := f.dynamic.Resource(gvr).Namespace(f.namespace).List(f.Context(), metav1.ListOptions{LabelSelector: annotations.ManagedByLabel + "=" + annotations.ManagedBy})
		if err != nil {
			f.Errorf("could not count all objects: %v", err)
			continue
		}
		lost += len(list.Items)
	}
	tally.Report(f.T, "objects lost or left over", int64(lost))
}

// formatCounts lists faults and their numbers.
func formatCounts(counts map[string]int) string {
	var parts []string
	for name, n := range counts {
		parts = append(parts, fmt.Sprintf("%s %d", name, n))
	}
	return strings.Join(parts, ", ")
}
