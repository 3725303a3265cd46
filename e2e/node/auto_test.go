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

// slowlyEnding is an app whose Pods keep serving after their deletion for longer than any
// test waits. Traefik reaches it by ClusterIP: if all Pods are terminating, nodes still send
// visitors to them, whereas Traefik itself would answer "no available server".
func slowlyEnding(name string) string {
	manifest := appOf(name, "/sample-app", `traefik.ingress.kubernetes.io/service.nativelb: "true"`)
	manifest = strings.Replace(manifest, "terminationGracePeriodSeconds: 1", "terminationGracePeriodSeconds: 660", 1)
	return strings.Replace(manifest, "readinessProbe:", "lifecycle: {preStop: {sleep: {seconds: 600}}}\n          readinessProbe:", 1)
}

// TestAppScaledToZeroAndBack tests automatic maintenance under load: visitors get the page
// when the app is scaled to zero, and the app when it is ready again. There is no gap if the
// Pods serve until visitors are routed to the page; otherwise the test logs how long it is.
func TestAppScaledToZeroAndBack(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	names := []string{"slow", "fast"}
	loads := map[string]*load{}
	e.deploy(nil, slowlyEnding("slow"), app("fast"), ingress("slow", e.host("slow"), "slow", 80), ingress("fast", e.host("fast"), "fast", 80))
	e.kubectl("annotate", "ingress", "--all", annotations.Auto+"="+annotations.AutoBackends)
	e.readyPods(defaultSet())
	for _, name := range names {
		e.untilAnswer(e.host(name), fromApp)
		loads[name] = e.visitors(50, e.host(name))
		loads[name].await(50)
	}

	lingers := types.UID(e.kubectl("get", "pod", "--selector=app=slow", "-o", "jsonpath={.items[*].metadata.uid}"))
	loads["slow"].phase("scaling to zero")
	loads["fast"].lossyPhase("scaling to zero")
	e.kubectl("scale", "deployment", "--all", "--replicas=0")
	for _, name := range names {
		u := e.until(target.Ingress().Resource, name, "automatic maintenance", inState(annotations.Active))
		assert.Equal(t, fmt.Sprintf("began automatically because Service %s/%s has no ready endpoint", e.namespace, name), u.GetAnnotations()[annotations.Message])
		loads[name].untilAnswer(fromPage)
		loads[name].phase("page")
		loads[name].await(50)
		loads[name].phase("scaling up")
	}
	// Kill the Pods that are still ending: the Service must not need them any more.
	e.kill(e.processes(lingers, "/sample-app"))
	e.kubectl("scale", "deployment", "--all", "--replicas=1")
	for _, name := range names {
		e.until(target.Ingress().Resource, name, "restored", restored)
		loads[name].untilAnswer(fromApp)
		loads[name].phase("app again")
		loads[name].await(50)
	}

	// maintenance/restore-when=ready: switch off while there is no app, then start it.
	name, l := "fast", loads["fast"]
	l.phase("switching on")
	e.kubectl("annotate", "ingress/"+name, annotations.DefaultEnabled+"=true", annotations.RestoreWhen+"="+annotations.RestoreReady)
	e.until(target.Ingress().Resource, name, "active", inState(annotations.Active))
	l.untilAnswer(fromPage)
	l.phase("no app behind the page")
	e.kubectl("scale", "deployment/"+name, "--replicas=0")
	e.kubectl("wait", "--for=delete", "pod", "--selector=app="+name, fmt.Sprintf("--timeout=%s", waitTimeout))
	e.kubectl("annotate", "ingress/"+name, annotations.DefaultEnabled+"=false", "--overwrite")
	e.until(target.Ingress().Resource, name, "restoring", inState(annotations.Restoring))
	l.await(100)
	l.phase("app starting")
	e.kubectl("scale", "deployment/"+name, "--replicas=1")
	e.until(target.Ingress().Resource, name, "restored", restored)
	l.untilAnswer(fromApp)
	l.phase("app restored")
	l.await(50)

	for _, name := range names {
		l := loads[name]
		l.stop()
		l.assertOnly("scaling to zero", fromApp, from(defaultSet()))
		l.assertOnly("page", from(defaultSet()))
		l.assertOnly("scaling up", fromApp, from(defaultSet()))
		l.assertOnly("app again", fromApp)
		gap, wrong := l.gap("scaling to zero")
		tally.Report(t, "ms between app and page, app ending "+name, gap.Milliseconds())
		tally.Report(t, "wrong answers, app ending "+name, int64(wrong))
	}
	l.assertOnly("no app behind the page", from(defaultSet()))
	l.assertOnly("app starting", fromApp, from(defaultSet()))
	l.assertOnly("app restored", fromApp)
}

// gap returns, for a phase, the time from the app's last answer to the first page, and the
// number of wrong answers.
func (l *load) gap(name string) (gap time.Duration, wrong int) {
	var last, first time.Time
	for _, a := range l.answersIn(name) {
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
