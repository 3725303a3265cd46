package apiserver

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/e2e/program"
	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/annotations"
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
		return flag == "--page-image="+imageServes || flag == theInstallation && build.Commit != "" // which knows of none
	})
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

func takeTurns(t *testing.T, first, second program.Build) {
	t.Helper()
	rounds := 3
	if *long {
		rounds = 12
	}
	w := newWorld(t)
	w.wantNoHoles()
	w.apply(ingress("my-app"), service("my-app"))
	leads, standsBy := w.replica(first), w.replica(second)
	leads.restart()
	for _, gvr := range []schemaGVR{ingresses, services} {
		w.on(gvr, "my-app")
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
