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
	"maintenance-controller.io/e2e/controllerproc"
	"maintenance-controller.io/e2e/idle"
	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/target"
)

// replica is one of two replicas of different versions.
type replica struct {
	*proxiedController
	address string
}

func (env *testEnv) newReplica(build controllerproc.Build) *replica {
	env.Helper()
	r := &replica{proxiedController: env.newProxied(), address: freeAddress(env)}
	r.build = build
	// The image of the page Pods is that of the version.
	r.flags = slices.DeleteFunc(r.flags, func(flag string) bool {
		return flag == "--page-image="+servingImage || build.Commit != "" && (flag == installationFlag || strings.HasPrefix(flag, "--targets="))
	})
	if build.Commit != "" { // it has neither installations nor other kinds
		r.flags = append(r.flags, "--targets=Ingress,IngressRoute,Service")
	}
	r.flags = append(r.flags, "--leader-elect=true", "--lease-duration=15s", "--lease-renew-deadline=10s", "--lease-retry-period=300ms", "--listen="+r.address)
	return r
}

func (r *replica) image(u *unstructured.Unstructured) bool {
	containers, _, _ := unstructured.NestedSlice(u.Object, "spec", "containers")
	return len(containers) == 1 && containers[0].(map[string]any)["image"] == "maintenance-controller:"+r.build.Version
}

// earlier is a commit from before the last change to the record of originals and the code
// that keeps it.
const earlier = "687dd674360bbbcdbf30d5fd6649e8c3b2684c4d"

// TestTwoVersionsTakeTurns: during maintenance two versions of the program take the lead
// from each other, by SIGTERM and SIGKILL in turns. Each time the Pods are replaced once,
// new before old. The targets are not written, and the standby writes nothing.
func TestTwoVersionsTakeTurns(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]controllerproc.Build{
		"another image of the page Pods": {Version: "v1"},
		"an earlier commit":              {Version: "v1", Commit: earlier},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			has, err := controllerproc.HasCommit(first.Commit)
			require.NoError(t, err)
			if first.Commit != "" && !has {
				t.Skipf("commit %s is missing: clone with the full history", first.Commit)
			}
			takeTurns(t, first, controllerproc.Build{Version: "v2"})
		})
	}
}

// laterRecord is the tree with the next format version of the record, which can also read
// earlier ones.
func laterRecord(t *testing.T) controllerproc.Build {
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
	return controllerproc.Build{Version: "later", Overlay: overlay}
}

// TestRollbackFromALaterVersion during maintenance: the earlier version cannot read the
// later version's record, and keeps it. Visitors keep the page, and the state says why.
// When the later version is back, everything goes on.
func TestRollbackFromALaterVersion(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), service("my-app"))
	now, later := controllerproc.Build{}, laterRecord(t)
	p := env.newProxied()
	runs := func(b controllerproc.Build) {
		p.build = b
		p.restart()
	}
	both := func(what string, ok condition) {
		t.Helper()
		for _, gvr := range []schemaGVR{ingresses, services} {
			env.waitFor(gvr, "my-app", what, ok)
		}
	}
	ofFormat := func(version string) condition {
		return func(u *unstructured.Unstructured) bool {
			return strings.HasPrefix(u.GetAnnotations()[annotations.Original], `{"v":`+version+`,`)
		}
	}
	runs(now)
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", and(state(annotations.Active), ofFormat("1")))
	runs(later)
	env.enable(services, "my-app")
	both("the later record", and(state(annotations.Active), ofFormat("2")))
	before := env.recordsOfOriginals()

	runs(now)
	both("blocked", state(annotations.Blocked))
	assert.Contains(t, env.get(ingresses, "my-app").GetAnnotations()[annotations.Message], "format version 2")
	env.disable(services, "my-app")
	env.waitForEvent("my-app", string(plan.BackendLost))
	env.edit(ingresses, "my-app", func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{"looked": "at"}) })
	assert.NoError(t, idle.Wait(p.requests, waitTimeout), "and it sends nothing more")
	assert.Equal(t, before, env.recordsOfOriginals())
	for _, gvr := range []schemaGVR{ingresses, services} {
		assert.NotEmpty(t, pageSetsOf(env.get(gvr, "my-app")), "visitors keep the page")
	}

	runs(later)
	env.waitFor(services, "my-app", "restored", and(restored, leadsToApp(service("my-app"))))
	env.waitFor(ingresses, "my-app", "active", and(state(annotations.Active), ofFormat("2")))
	env.disable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "restored", restoredTo(ingress("my-app")))
	env.waitForCleanup()
}

// recordsOfOriginals returns both copies of the originals of all targets.
func (env *testEnv) recordsOfOriginals() map[string]string {
	env.Helper()
	all := map[string]string{}
	for _, k := range target.Kinds() {
		for _, u := range env.list(k.Resource, "") {
			if text := u.GetAnnotations()[annotations.Original]; text != "" {
				all[k.Name+" "+u.GetName()] = text
			}
		}
	}
	for _, cm := range env.list(configMaps, annotations.ComponentLabel+"="+annotations.ComponentBackup) {
		all[cm.GetName()], _, _ = unstructured.NestedString(cm.Object, "data", "originals")
	}
	return all
}

// wholePage has every format, so no part of it comes from a version's default page.
const wholePage = `
apiVersion: v1
kind: ConfigMap
metadata: {name: page-whole, labels: {` + annotations.CustomPageLabel + `: whole}}
data: {status: "503", retry-after: "60", content-security-policy: default-src 'none', page.html: <h1>soon</h1>, page.json: '{}', page.xml: <soon/>, page.txt: soon}
`

func takeTurns(t *testing.T, first, second controllerproc.Build) {
	t.Helper()
	rounds := 3
	if *long {
		rounds = 12
	}
	env := newTestEnv(t)
	env.requireNoGaps()
	env.apply(ingress("my-app"), service("my-app"), wholePage)
	leads, standsBy := env.newReplica(first), env.newReplica(second)
	leads.restart()
	for _, gvr := range []schemaGVR{ingresses, services} {
		env.annotate(gvr, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "whole"})
	}
	for _, gvr := range []schemaGVR{ingresses, services} {
		env.waitFor(gvr, "my-app", "active", state(annotations.Active))
	}
	env.waitForPods(2, leads.image)
	started := env.countPods()
	seen := []func() int{
		env.watchRevisions(ingresses, "my-app", func(*unstructured.Unstructured) {}),
		env.watchRevisions(services, "my-app", func(*unstructured.Unstructured) {}),
	}
	for round := range rounds {
		before := writes(standsBy.proxy.Counts())
		standsBy.restart()
		waitForMetric(t, standsBy.address, "maintenance_leader 0")
		assert.Equal(t, before, writes(standsBy.proxy.Counts()), "it stands by")
		if round%2 == 0 {
			require.Equal(t, 0, leads.process().Stop())
		} else {
			leads.kill()
		}
		leads, standsBy = standsBy, leads
		env.waitForPods(2, leads.image)
	}
	assert.Equal(t, 2*(rounds+1), started(), "each handover replaces the Pods once")
	for _, revisions := range seen {
		assert.Equal(t, 1, revisions(), "the targets are never written")
	}
	for _, gvr := range []schemaGVR{ingresses, services} {
		env.disable(gvr, "my-app")
	}
	env.waitFor(ingresses, "my-app", "restored", restoredTo(ingress("my-app")))
	env.waitFor(services, "my-app", "restored", and(restored, leadsToApp(service("my-app"))))
	env.waitForCleanup()
	tally.Report(t, "handovers", int64(rounds))
}
