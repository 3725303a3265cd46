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

// fleet is many targets of all kinds that are toggled at random, and pages that
// change meanwhile.
type fleet struct {
	*proxied
	random  *rand.Rand
	members []*member
	pages   map[string]string // the HTML that each page has now
	steps   int
}

// member is a target with what was asked of it last.
type member struct {
	target.Ref
	resource schemaGVR
	spec     string // as it was made
	on       bool
	page     string // empty for the default page
}

// newFleet makes the targets: of five, two are Ingresses, two IngressRoutes, and one
// is a Service.
func newFleet(p *proxied, seed uint64, size int) *fleet {
	p.Helper()
	p.Logf("seed %d", seed)
	f := &fleet{proxied: p, random: rand.New(rand.NewPCG(seed, seed)), pages: map[string]string{}}
	for _, name := range []string{"spring", "autumn"} {
		f.pages[name] = "<h1>" + name + "</h1>"
		f.apply(customPage(name, "page.html", f.pages[name]))
	}
	kinds := []target.Kind{target.Ingress(), target.Ingress(), target.IngressRoute(), target.IngressRoute(), target.Service()}
	for i := range size {
		k, name := kinds[i%len(kinds)], fmt.Sprintf("app-%d", i)
		f.apply(manifests[k.Name](name))
		f.members = append(f.members, &member{
			Ref: target.Ref{Kind: k.Name, Namespace: f.namespace, Name: name}, resource: k.Resource,
			spec: spec(f, f.get(k.Resource, name)),
		})
	}
	return f
}

// toggle asks something else of a target, or changes a page, a hundred times a second.
func (f *fleet) toggle(lasts time.Duration) {
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

// toggleUntil toggles for some time, and for as long as faults of these names have
// not come.
func (f *fleet) toggleUntil(lasts time.Duration, faults ...string) {
	f.Helper()
	deadline := time.Now().Add(patience)
	missing := func(name string) bool { return f.proxy.Counts().Faults[name] == 0 }
	for f.toggle(lasts); slices.ContainsFunc(faults, missing) && time.Now().Before(deadline); {
		f.toggle(100 * time.Millisecond)
	}
}

func (f *fleet) step() {
	f.Helper()
	f.steps++
	if f.random.IntN(50) == 0 {
		f.changePage()
		return
	}
	m := f.members[f.random.IntN(len(f.members))]
	m.on, m.page = f.random.IntN(2) == 0, []string{"", "spring", "autumn"}[f.random.IntN(3)]
	f.ask(m)
}

func (f *fleet) ask(m *member) {
	f.Helper()
	want := map[string]any{annotations.DefaultEnabled: nil, annotations.DefaultCustomPage: nil}
	if m.on {
		want[annotations.DefaultEnabled] = "true"
	}
	if m.page != "" {
		want[annotations.DefaultCustomPage] = m.page
	}
	require.NoError(f, f.patched(m.resource, m.Name, want))
}

func (f *fleet) changePage() {
	f.Helper()
	name := []string{"spring", "autumn"}[f.random.IntN(2)]
	f.pages[name] = fmt.Sprintf("<h1>%s %d</h1>", name, f.steps)
	patch := fmt.Appendf(nil, `{"data": {"page.html": %q}}`, f.pages[name])
	_, err := f.client.CoreV1().ConfigMaps(f.namespace).Patch(f.Context(), "page-"+name, types.MergePatchType, patch, metav1.PatchOptions{})
	require.NoError(f, err)
}

// allOff asks for the end of all maintenance.
func (f *fleet) allOff() {
	f.Helper()
	for _, m := range f.members {
		m.on, m.page = false, ""
		f.ask(m)
	}
}

// untilAsAsked waits until each target is as its annotations say, and nothing of
// ours is there but what that takes. It gives how many are in maintenance.
func (f *fleet) untilAsAsked() (on int) {
	f.Helper()
	sets, backups, origins := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, m := range f.members {
		if !m.on {
			u := f.until(m.resource, m.Name, "restored", restored)
			assert.Equal(f, m.spec, spec(f, u), "%s: the spec, to the byte", m.Ref)
			continue
		}
		on++
		set := defaultSet()
		if m.page != "" {
			set = setNamed(f.pages[m.page])
		}
		f.until(m.resource, m.Name, "active on "+set, func(u *unstructured.Unstructured) bool {
			return state(annotations.Active)(u) && onSet(len(setsOf(u)), annotations.Active)(u) && len(setsOf(u)) > 0 && onNamed(set)(u)
		})
		sets[set], backups[backup.Name(m.Ref)] = true, true
		if m.Kind == target.Service().Name {
			origins[originOf(m.Name)] = true
		}
	}
	f.untilOnly(configMaps, annotations.ComponentSet, sets)
	f.untilOnly(configMaps, annotations.ComponentBackup, backups)
	f.untilOnly(services, annotations.ComponentOrigin, origins)
	f.untilOnly(services, annotations.ComponentSet, sets)
	f.untilOnly(budgets, annotations.ComponentSet, sets)
	return on
}

// untilOnly waits until the objects of ours are just those: no orphan, none lost.
func (f *fleet) untilOnly(gvr schemaGVR, component string, want map[string]bool) {
	f.Helper()
	for name := range want {
		f.until(gvr, name, "needed", exists)
	}
	for _, u := range f.list(gvr, annotations.ComponentLabel+"="+component) {
		if !want[u.GetName()] {
			f.until(gvr, u.GetName(), "needed by nobody: its end", absent)
		}
	}
}

// tellLost counts, when all maintenance is to have ended, targets that are not as
// they were made, and objects of ours that are there still. That there are none is
// for untilAsAsked and untilClean to want; this is for the table of the long runs.
func (f *fleet) tellLost() {
	f.Helper()
	lost := 0
	for _, m := range f.members {
		u, err := f.dynamic.Resource(m.resource).Namespace(f.namespace).Get(f.Context(), m.Name, metav1.GetOptions{})
		if err != nil || spec(panicking{}, u) != m.spec {
			lost++
		}
	}
	for _, gvr := range []schemaGVR{configMaps, services, pods, budgets} {
		list, err := f.dynamic.Resource(gvr).Namespace(f.namespace).List(f.Context(), metav1.ListOptions{LabelSelector: annotations.ManagedByLabel + "=" + annotations.ManagedBy})
		if err != nil {
			f.Errorf("not every object could be counted: %v", err)
			continue
		}
		lost += len(list.Items)
	}
	tally.Tell(f.T, "objects lost or left over", int64(lost))
}

// told names faults and how often each was put in.
func told(counts map[string]int) string {
	var parts []string
	for name, n := range counts {
		parts = append(parts, fmt.Sprintf("%s %d", name, n))
	}
	return strings.Join(parts, ", ")
}
