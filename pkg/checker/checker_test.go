package checker_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/apis/v1alpha1"
	"maintenance-controller.io/pkg/checker"
)

const namespace = "shop"

const onlyWeb = `{services: [{name: web, critical: true}]}`

// TestDownAndUp: a critical service counts as down after spec.for, and as up after spec.recoverFor.
// The status shows at once that it is down, and an Event when it counts.
func TestDownAndUp(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("web", 2)
		w.apply("mine", `{for: 5s, recoverFor: 20s, services: [{name: web, critical: true}]}`)
		w.pass(time.Second)
		assert.Equal(t, "Available=True(AllUp) Degraded=False(AllUp)", w.conditions("mine"))
		assert.Equal(t, "1/1", w.get("mine").Status.ReadyServices)
		assert.Equal(t, checker.Up, w.registry.Verdict(namespace, "mine").State)
		assert.Empty(t, w.newEvents())

		w.service("web", 0)
		w.pass(time.Second)
		s := w.get("mine").Status.Services[0]
		assert.False(t, s.Ready)
		assert.Equal(t, v1alpha1.Up, s.State)
		assert.Equal(t, "has no endpoints: its selector matches no Pod", s.Message)
		w.pass(3 * time.Second)
		assert.Equal(t, checker.Up, w.registry.Verdict(namespace, "mine").State)
		w.pass(2 * time.Second)
		assert.Equal(t, "Available=False(CriticalServiceDown) Degraded=True(ServiceDown)", w.conditions("mine"))
		v := w.registry.Verdict(namespace, "mine")
		assert.Equal(t, checker.Down, v.State)
		assert.Equal(t, 20*time.Second, v.RecoverFor)
		assert.Equal(t, []string{"Service shop/web has no endpoints: its selector matches no Pod"}, v.Causes)
		assert.Equal(t, []string{"Warning CriticalServiceDown Service shop/web has no endpoints: its selector matches no Pod; it has not been ready for 5s"}, w.newEvents())

		w.service("web", 1)
		w.pass(time.Second)
		assert.Equal(t, "is ready again, and counts as up once it has stayed ready for 20s", w.get("mine").Status.Services[0].Message)
		w.pass(18 * time.Second)
		assert.Equal(t, checker.Down, w.registry.Verdict(namespace, "mine").State)
		w.pass(2 * time.Second)
		assert.Equal(t, checker.Up, w.registry.Verdict(namespace, "mine").State)
		assert.Equal(t, "Available=True(AllUp) Degraded=False(AllUp)", w.conditions("mine"))
		assert.Equal(t, []string{"Normal CriticalServiceUp Service shop/web has been ready for 20s"}, w.newEvents())
	})
}

// TestUnchangedStatusIsNotWritten: the status is not written for changes of endpoints that it does
// not show, nor by the next process.
func TestUnchangedStatusIsNotWritten(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("web", 2)
		w.service("db", 0)
		w.apply("mine", `{services: [{name: web, critical: true}, {name: db}]}`)
		w.pass(time.Minute)
		before := w.writes()
		assert.LessOrEqual(t, before, 2, "the first state, and that db counts as down")
		w.pass(24 * time.Hour)
		w.service("web", 2)
		w.pass(time.Hour)
		w.stop()
		w.start()
		w.pass(time.Hour)
		assert.Equal(t, before, w.writes())
		assert.Equal(t, "Available=True(AllUp) Degraded=True(ServiceDown)", w.conditions("mine"))
	})
}

// TestWritesAreRateLimited: endpoints that come and go cause at most one write a second, and the
// last change is visible within a second.
func TestWritesAreRateLimited(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("web", 1)
		w.apply("mine", onlyWeb)
		w.pass(10 * time.Second)
		before := w.writes()
		for i := range 100 {
			w.service("web", 1+i%7)
			w.pass(100 * time.Millisecond)
		}
		w.service("web", 9)
		w.pass(time.Second)
		assert.LessOrEqual(t, w.writes()-before, 12)
		assert.GreaterOrEqual(t, w.writes()-before, 9)
		assert.EqualValues(t, 9, w.get("mine").Status.Services[0].ReadyEndpoints)
	})
}

// TestRestartResumesFromStatus: a service that counted as down still does, with the same time, and
// neither the status nor Events say otherwise in between.
func TestRestartResumesFromStatus(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("web", 0)
		w.apply("mine", onlyWeb)
		w.pass(time.Minute)
		before := w.get("mine").Status
		assert.Equal(t, v1alpha1.Down, before.Services[0].State)
		assert.Len(t, w.newEvents(), 1)
		w.stop()
		w.start()
		assert.Equal(t, checker.Down, w.registry.Verdict(namespace, "mine").State)
		w.pass(time.Minute)
		assert.Equal(t, before, w.get("mine").Status)
		assert.Empty(t, w.newEvents())
	})
}

// TestInvalidSpecs: specs that pass the schema but cannot be watched are reported, and nothing is
// revealed about Services of other namespaces.
func TestInvalidSpecs(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("web", 1)
		w.apply("mine", `{services: [{name: web, namespace: other, critical: true}, {name: web}, {name: web, namespace: shop}]}`)
		w.pass(2 * time.Second)
		assert.Equal(t, "Available=Unknown(InvalidService) Degraded=True(InvalidService)", w.conditions("mine"))
		s := w.get("mine").Status
		assert.Equal(t, "is in another namespace than the checker, which takes --checkers-across-namespaces", s.Services[0].Message)
		assert.Equal(t, "is listed twice: list it once", s.Services[2].Message)
		assert.Equal(t, checker.Unknown, w.registry.Verdict(namespace, "mine").State, "a typo sends nobody to a page, nor back")
		all, known := w.registry.Services()
		assert.True(t, known)
		require.Len(t, all, 1)
		assert.Equal(t, "shop", all[0].Namespace)
		assert.Len(t, w.newEvents(), 2)
		w.pass(time.Hour)
		assert.Empty(t, w.newEvents(), "once")

		// Another CRD of this name, with other fields.
		w.apply("odd", `{services: web, for: 7}`)
		w.pass(2 * time.Second)
		assert.Equal(t, "Available=Unknown(InvalidService) Degraded=True(InvalidService)", w.conditions("odd"))
		assert.Contains(t, w.get("odd").Status.Conditions[0].Message, "spec cannot be read")
		w.apply("odd", `{}`)
		w.pass(2 * time.Second)
		assert.Equal(t, "0/0", w.get("odd").Status.ReadyServices)
		w.apply("odd", `{for: -5s, services: [{name: web, minReady: -1}, {name: ""}]}`)
		w.pass(2 * time.Second)
		assert.Equal(t, "1/2", w.get("odd").Status.ReadyServices)
	})
}

// TestServiceNamedTwice: the schema accepts a Service that is listed with and without its namespace.
// The first entry is judged all the same, and the second neither resets it nor causes writes.
func TestServiceNamedTwice(t *testing.T) {
	inWorld(t, func(w *world) {
		w.service("web", 1)
		w.apply("mine", `{for: 5s, services: [{name: web, critical: true}, {name: web, namespace: shop}]}`)
		w.pass(time.Minute)
		w.newEvents()
		w.service("web", 0)
		w.pass(4 * time.Second)
		assert.Equal(t, checker.Up, w.registry.Verdict(namespace, "mine").State)
		w.pass(2 * time.Second)
		assert.Equal(t, checker.Down, w.registry.Verdict(namespace, "mine").State)
		before, told := w.writes(), w.newEvents()
		require.Len(t, told, 1)
		assert.Contains(t, told[0], "CriticalServiceDown")
		w.pass(10 * time.Minute)
		assert.Equal(t, before, w.writes(), "at rest")
		status := w.get("mine").Status
		assert.Equal(t, []v1alpha1.ServiceState{v1alpha1.Down, v1alpha1.Unknown}, []v1alpha1.ServiceState{status.Services[0].State, status.Services[1].State})

		w.stop()
		w.start()
		assert.Equal(t, checker.Down, w.registry.Verdict(namespace, "mine").State)
		w.pass(10 * time.Minute)
		assert.Equal(t, before, w.writes(), "nor by the next process")
		assert.Equal(t, status, w.get("mine").Status)
		assert.NotContains(t, strings.Join(w.newEvents(), "\n"), "CriticalServiceDown", "it was reported before")
	})
}

// TestAcrossNamespaces: with the flag, Services of other namespaces are watched.
func TestAcrossNamespaces(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply("mine", `{services: [{name: web, namespace: other}, {name: web, namespace: third}]}`)
		w.pass(20 * time.Second)
		s := w.get("mine").Status
		assert.Equal(t, "does not exist", s.Services[0].Message)
		assert.Equal(t, "is in a namespace that --watch-namespaces does not include", s.Services[1].Message)
	}, func(c *checker.Config) { c.AcrossNamespaces, c.Namespaces = true, []string{namespace, "other"} })
}

// TestSpecEditedEverySecond: a list that is edited all the time is followed, and nothing remains of
// removed entries.
func TestSpecEditedEverySecond(t *testing.T) {
	inWorld(t, func(w *world) {
		for i := range 600 {
			w.apply("mine", fmt.Sprintf(`{services: [{name: a-%d, critical: true}, {name: b-%d}]}`, i, i%3))
			w.pass(time.Second)
		}
		w.pass(20 * time.Second)
		s := w.get("mine").Status
		assert.Equal(t, "a-599", s.Services[0].Name)
		assert.EqualValues(t, 600, s.ObservedGeneration)
		all, _ := w.registry.Services()
		assert.Len(t, all, 2)
		v := w.registry.Verdict(namespace, "mine")
		assert.Equal(t, []string{"Service shop/a-599 does not exist"}, v.Causes)
	})
}

// TestVerdictOfAMissingChecker: a caller that asked before it was known is notified once it is.
func TestVerdictOfAMissingChecker(t *testing.T) {
	inWorld(t, func(w *world) {
		w.served.crd.Store(false)
		w.stop()
		w.start()
		var told atomic.Int32
		w.registry.OnChange(func(string, string) { told.Add(1) })
		assert.Equal(t, checker.Unknown, w.registry.Verdict(namespace, "never").State)
		w.pass(time.Hour)
		assert.Zero(t, told.Load())
		w.served.crd.Store(true)
		w.pass(time.Minute)
		assert.Equal(t, int32(1), told.Load())
		assert.Equal(t, checker.Deleted, w.registry.Verdict(namespace, "never").State)
		w.pass(time.Hour)
		assert.Equal(t, int32(1), told.Load())
	})
}

// TestDeletedChecker: a deletion counts once the CRD has been served for a while after it. If the
// CRD is deleted too, the verdict is Unknown.
func TestDeletedChecker(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply("mine", `{recoverFor: 30s, services: [{name: web, critical: true}]}`)
		w.pass(20 * time.Second)
		assert.Equal(t, checker.Down, w.registry.Verdict(namespace, "mine").State)
		var mu sync.Mutex
		told := 0
		w.registry.OnChange(func(_, name string) {
			mu.Lock()
			defer mu.Unlock()
			if name == "mine" {
				told++
			}
		})
		w.remove("mine")
		w.pass(time.Second)
		assert.Equal(t, checker.Verdict{RecoverFor: 30 * time.Second}, w.registry.Verdict(namespace, "mine"))
		w.pass(20 * time.Second)
		v := w.registry.Verdict(namespace, "mine")
		assert.Equal(t, checker.Deleted, v.State)
		assert.Equal(t, 30*time.Second, v.RecoverFor)
		assert.NotZero(t, v.Since)
		mu.Lock()
		assert.Equal(t, 2, told, "when it was deleted, and when that was confirmed")
		mu.Unlock()
		w.pass(time.Hour)
		assert.Equal(t, v, w.registry.Verdict(namespace, "mine"))
		assert.Equal(t, checker.Deleted, w.registry.Verdict(namespace, "typo").State)

		// With its CRD: the API server deletes the objects first.
		w.apply("mine", onlyWeb)
		w.pass(20 * time.Second)
		assert.Equal(t, checker.Down, w.registry.Verdict(namespace, "mine").State)
		w.remove("mine")
		w.pass(2 * time.Second)
		w.served.crd.Store(false)
		w.pass(time.Hour)
		assert.Equal(t, checker.Unknown, w.registry.Verdict(namespace, "mine").State)
		assert.Equal(t, checker.Unknown, w.registry.Verdict(namespace, "typo").State)
		w.served.crd.Store(true)
		w.apply("mine", onlyWeb)
		w.pass(30 * time.Second)
		assert.Equal(t, checker.Down, w.registry.Verdict(namespace, "mine").State)
	})
}

// TestWithoutCRD: nothing fails, every verdict is Unknown, and the HTTP API lists no services.
func TestWithoutCRD(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		defer func() { w.stop() }()
		all, known := w.registry.Services()
		assert.Empty(t, all)
		assert.True(t, known)
		assert.Equal(t, checker.Unknown, w.registry.Verdict(namespace, "mine").State)
		assert.Zero(t, w.writes())
	})
}
