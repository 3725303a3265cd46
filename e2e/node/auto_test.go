package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// lingering is an app whose Pods, when they are to end, go on serving for longer than any
// wait of a test, and whom Traefik reaches by ClusterIP: nodes send visitors to Pods that
// terminate if there are no others, whereas Traefik itself has "no available server" then.
func lingering(name string) string {
	manifest := appOf(name, "/sample-app", `traefik.ingress.kubernetes.io/service.nativelb: "true"`)
	manifest = strings.Replace(manifest, "terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 660", 1)
	return strings.Replace(manifest, "readinessProbe:", "lifecycle: {preStop: {sleep: {seconds: 600}}}\n          readinessProbe:", 1)
}

// TestTheAppGoesAndComesBack under load, without anybody's hand: an app that is scaled to
// nothing is followed by the page, which serves already, and comes back when it is ready.
// Pods that serve until their visitors are led elsewhere leave no gap; how long one is that
// others leave is told.
func TestTheAppGoesAndComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	names := []string{"in-peace", "at-once"}
	loads := map[string]*load{}
	w.serve(nil, lingering("in-peace"), app("at-once"), ingress("in-peace", w.host("in-peace"), "in-peace", 80), ingress("at-once", w.host("at-once"), "at-once", 80))
	w.kubectl("annotate", "ingress", "--all", annotations.Auto+"="+annotations.AutoBackends)
	w.podsOf(defaultSet())
	for _, name := range names {
		w.arrives(w.host(name), fromApp)
		loads[name] = w.visitors(50, w.host(name))
		loads[name].await(50)
	}

	lingers := types.UID(w.kubectl("get", "pod", "--selector=app=in-peace", "-o", "jsonpath={.items[*].metadata.uid}"))
	loads["in-peace"].phase("goes")
	loads["at-once"].lossyPhase("goes")
	w.kubectl("scale", "deployment", "--all", "--replicas=0")
	for _, name := range names {
		u := w.until(target.Ingress().Resource, name, "maintenance by itself", inState(annotations.Active))
		assert.Equal(t, fmt.Sprintf("by itself, since Service %s/%s has no ready endpoint", w.namespace, name), u.GetAnnotations()[annotations.Message])
		loads[name].arrives(fromPage)
		loads[name].phase("page")
		loads[name].await(50)
		loads[name].phase("comes back")
	}
	// Nobody is there any more, and nobody may be once the Service has others.
	w.kill(w.processes(lingers, "/sample-app"))
	w.kubectl("scale", "deployment", "--all", "--replicas=1")
	for _, name := range names {
		w.until(target.Ingress().Resource, name, "restored", restored)
		loads[name].arrives(fromApp)
		loads[name].phase("app again")
		loads[name].await(50)
	}

	// The gate: off while there is nobody, and then up.
	name, l := "at-once", loads["at-once"]
	l.phase("switching on")
	w.kubectl("annotate", "ingress/"+name, annotations.DefaultEnabled+"=true", annotations.RestoreWhen+"="+annotations.RestoreReady)
	w.until(target.Ingress().Resource, name, "active", inState(annotations.Active))
	l.arrives(fromPage)
	l.phase("nobody behind the page")
	w.kubectl("scale", "deployment/"+name, "--replicas=0")
	w.kubectl("wait", "--for=delete", "pod", "--selector=app="+name, fmt.Sprintf("--timeout=%s", patience))
	w.kubectl("annotate", "ingress/"+name, annotations.DefaultEnabled+"=false", "--overwrite")
	w.until(target.Ingress().Resource, name, "restoring", inState(annotations.Restoring))
	l.await(100)
	l.phase("up")
	w.kubectl("scale", "deployment/"+name, "--replicas=1")
	w.until(target.Ingress().Resource, name, "restored", restored)
	l.arrives(fromApp)
	l.phase("app at last")
	l.await(50)

	for _, name := range names {
		l := loads[name]
		l.stop()
		l.only("goes", fromApp, from(defaultSet()))
		l.only("page", from(defaultSet()))
		l.only("comes back", fromApp, from(defaultSet()))
		l.only("app again", fromApp)
		gap, wrong := l.gap("goes")
		tally.Tell(t, "ms from the last answer of an app that goes "+name+" to the first page", gap.Milliseconds())
		tally.Tell(t, "wrong answers while an app goes "+name, int64(wrong))
	}
	l.only("nobody behind the page", from(defaultSet()))
	l.only("up", fromApp, from(defaultSet()))
	l.only("app at last", fromApp)
}

// gap is how long in a phase visitors met neither: from the last answer of the app before
// the first page to that; and how many of them met nobody.
func (l *load) gap(name string) (gap time.Duration, wrong int) {
	var last, first time.Time
	for _, a := range l.during(name) {
		switch {
		case a.from == nobody:
			wrong++
		case fromApp(a) && first.IsZero():
			last = a.started
		case fromPage(a) && first.IsZero():
			first = a.started
		}
	}
	if first.IsZero() || last.IsZero() {
		return 0, wrong
	}
	return first.Sub(last), wrong
}

func inState(want string) func(*unstructured.Unstructured) bool {
	return func(u *unstructured.Unstructured) bool {
		return u != nil && u.GetAnnotations()[annotations.State] == want
	}
}
