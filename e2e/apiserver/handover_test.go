package apiserver

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/program"
	"maintenance-controller.io/e2e/quiet"
	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/target"
)

// replica is the program in one version, one of two that take turns.
type replica struct {
	*proxied
	address string
}

func (w *world) replica(build program.Build) *replica {
	w.Helper()
	r := &replica{proxied: w.proxied(), address: freeAddress(w)}
	r.build = build
	// The image of the page Pods is the version's own.
	r.flags = slices.DeleteFunc(r.flags, func(flag string) bool {
		return flag == "--page-image="+imageServes || build.Commit != "" && (flag == theInstallation || strings.HasPrefix(flag, "--targets="))
	})
	if build.Commit != "" { // which knows of no installations, and of no other kinds
		r.flags = append(r.flags, "--targets=Ingress,IngressRoute,Service")
	}
	r.flags = append(r.flags, "--leader-elect=true", "--lease-duration=3s", "--lease-renew-deadline=2s", "--lease-retry-period=300ms", "--listen="+r.address)
	return r
}

func (r *replica) image(u *unstructured.Unstructured) bool {
	containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "containers")
	return len(containers) == 1 && containers[0].(map[string]any)["image"] == "maintenance-controller:"+r.build.Version
}

// earlier is a commit from before the record of a target's originals, and what keeps
// it, were last changed.
const earlier = "687dd674360bbbcdbf30d5fd6649e8c3b2684c4d"

// TestTwoVersionsHandOver: while targets are in maintenance, two versions of the
// program take the lead from each other, by an orderly stop and by SIGKILL in turns.
// Each time the Pods roll once, new before old; the targets are not written at all;
// and whoever stands by writes nothing.
func TestTwoVersionsHandOver(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]program.Build{
		"that differ in the image of their page Pods alone": {Version: "v1"},
		"of which one is built from an earlier commit":      {Version: "v1", Commit: earlier},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			has, err := program.Has(first.Commit)
			require.NoError(t, err)
			if first.Commit != "" && !has {
				t.Skipf("commit %s is not there: clone with the whole history", first.Commit)
			}
			takeTurns(t, first, program.Build{Version: "v2"})
		})
	}
}

// laterRecord is the tree with a record of the next format version, which reads the
// ones before it.
func laterRecord(t *testing.T) program.Build {
	t.Helper()
	root, err := binaries.Root()
	require.NoError(t, err)
	file := filepath.Join(root, "pkg", "swap", "record.go")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for give, want := range map[string]string{"const Version = 1\n": "const Version = 2\n", "r.Version != Version": "r.Version < 1 || r.Version > Version"} {
		require.Equal(t, 1, bytes.Count(text, []byte(give)), give)
		text = bytes.Replace(text, []byte(give), []byte(want), 1)
	}
	edited, overlay := filepath.Join(t.TempDir(), "record.go"), filepath.Join(t.TempDir(), "overlay.json")
	require.NoError(t, os.WriteFile(edited, text, 0o600))
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {file: edited}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(overlay, replace, 0o600))
	return program.Build{Version: "later", Overlay: overlay}
}

// TestALaterVersionIsRolledBack while targets are in maintenance: the record that it
// has written cannot be read, and nothing of it is lost. Visitors keep the page, people
// are told, and when the later version is back all goes on.
func TestALaterVersionIsRolledBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), service("my-app"))
	now, later := program.Build{}, laterRecord(t)
	p := w.proxied()
	runs := func(b program.Build) {
		p.build = b
		p.restart()
	}
	both := func(what string, ok condition) {
		t.Helper()
		for _, gvr := range []schemaGVR{ingresses, services} {
			w.until(gvr, "my-app", what, ok)
		}
	}
	ofFormat := func(version string) condition {
		return func(u *unstructured.Unstructured) bool {
			return strings.HasPrefix(u.GetAnnotations()[annotations.Original], `{"v":`+version+`,`)
		}
	}
	runs(now)
	w.on(ingresses, "my-app")
	w.until(ingresses, "my-app", "active", and(state(annotations.Active), ofFormat("1")))
	runs(later)
	w.on(services, "my-app")
	both("the later record", and(state(annotations.Active), ofFormat("2")))
	before := w.records()

	runs(now)
	both("blocked", state(annotations.Blocked))
	assert.Contains(t, w.get(ingresses, "my-app").GetAnnotations()[annotations.Message], "format version 2")
	w.off(services, "my-app")
	w.untilEvent("my-app", string(plan.BackendLost))
	w.edit(ingresses, "my-app", func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{"looked": "at"}) })
	assert.NoError(t, quiet.Until(p.calls, patience), "and nothing more is sent")
	assert.Equal(t, before, w.records())
	for _, gvr := range []schemaGVR{ingresses, services} {
		assert.NotEmpty(t, setsOf(w.get(gvr, "my-app")), "visitors keep the page")
	}

	runs(later)
	w.until(services, "my-app", "restored", and(restored, leadsToApp(service("my-app"))))
	w.until(ingresses, "my-app", "active", and(state(annotations.Active), ofFormat("2")))
	w.off(ingresses, "my-app")
	w.until(ingresses, "my-app", "restored", specIs(ingress("my-app")))
	w.untilClean()
}

// records are both copies of the originals of all targets.
func (w *world) records() map[string]string {
	w.Helper()
	all := map[string]string{}
	for _, k := range target.Kinds() {
		for _, u := range w.list(k.Resource, "") {
			if text := u.GetAnnotations()[annotations.Original]; text != "" {
				all[k.Name+" "+u.GetName()] = text
			}
		}
	}
	for _, cm := range w.list(configMaps, annotations.ComponentLabel+"="+annotations.ComponentBackup) {
		all[cm.GetName()], _, _ = unstructured.NestedString(cm.Object, "data", "originals")
	}
	return all
}

// wholePage is a page in every format: nothing of it is a version's own.
const wholePage = `
apiVersion: v1
kind: ConfigMap
metadata: {name: page-whole, labels: {` + annotations.CustomPageLabel + `: whole}}
data: {status: "503", retry-after: "60", content-security-policy: default-src 'none', page.html: <h1>soon</h1>, page.json: '{}', page.xml: <soon/>, page.txt: soon}
`

func takeTurns(t *testing.T, first, second program.Build) {
	t.Helper()
	rounds := 3
	if *long {
		rounds = 12
	}
	w := newWorld(t)
	w.wantNoHoles()
	w.apply(ingress("my-app"), service("my-app"), wholePage)
	leads, standsBy := w.replica(first), w.replica(second)
	leads.restart()
	for _, gvr := range []schemaGVR{ingresses, services} {
		w.annotate(gvr, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "whole"})
	}
	for _, gvr := range []schemaGVR{ingresses, services} {
		w.until(gvr, "my-app", "active", state(annotations.Active))
	}
	w.untilPods(2, leads.image)
	started := w.countPods()
	seen := []func() int{
		w.watchRevisions(ingresses, "my-app", func(*unstructured.Unstructured) {}),
		w.watchRevisions(services, "my-app", func(*unstructured.Unstructured) {}),
	}
	for round := range rounds {
		before := writes(standsBy.proxy.Counts())
		standsBy.restart()
		untilMetric(t, standsBy.address, "maintenance_leader 0")
		assert.Equal(t, before, writes(standsBy.proxy.Counts()), "it stands by")
		if round%2 == 0 {
			require.Equal(t, 0, leads.program().Stop())
		} else {
			leads.kill()
		}
		leads, standsBy = standsBy, leads
		w.untilPods(2, leads.image)
	}
	assert.Equal(t, 2*(rounds+1), started(), "each handover rolls the Pods once")
	for _, revisions := range seen {
		assert.Equal(t, 1, revisions(), "the targets are as they were at the first look")
	}
	for _, gvr := range []schemaGVR{ingresses, services} {
		w.off(gvr, "my-app")
	}
	w.until(ingresses, "my-app", "restored", specIs(ingress("my-app")))
	w.until(services, "my-app", "restored", and(restored, leadsToApp(service("my-app"))))
	w.untilClean()
	tally.Tell(t, "handovers", int64(rounds))
}
