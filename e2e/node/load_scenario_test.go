package node

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/e2e/soundness"
	"maintenance-controller.io/e2e/tally"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// scenario is an Ingress, an IngressRoute and a Service under load, on a cluster where routes
// change all the time: Traefik then applies each change after a delay of 0 to 2 s.
type scenario struct {
	*env
	subjects   []*subject
	specs      map[*subject]string
	visitors   *load
	longVisits *longVisits
	begin      time.Time
	endNoise   func() // stops the other changes

	pageVersion int
	switches    []time.Time
	disruptions map[string]int
}

// scenarioRate is the number of visitors per second, apart from long visits.
const scenarioRate = 220

// startScenario deploys the targets and starts the load on the base URL at; on Traefik's if at is empty.
func startScenario(e *env, at string) *scenario {
	s := &scenario{env: e, specs: map[*subject]string{}, disruptions: map[string]int{}}
	e.watchSoundness()
	hosts := []string{e.host("ingress"), e.host("ingressroute"), e.host("service")}
	front := `apiVersion: v1
kind: Service
metadata: {name: front}
spec:
  selector: {app: my-app}
  ports: [{name: web, port: 80, targetPort: 8080}]
`
	e.deploy(hosts, appOf("my-app", "/streaming-app", ""), front, customPage("load", "Version 0", 60),
		ingress("one", hosts[0], "my-app", 80), ingressRoute("two", hosts[1], "name: my-app, port: 80"), ingress("to-front", hosts[2], "front", 80),
		ingress("noise", e.host("noise"), "my-app", 80), ingressRoute("noise", e.host("noise"), "name: my-app, port: 80"))
	for _, host := range hosts {
		e.untilAnswerAt(at, host, fromApp)
	}
	s.subjects = []*subject{e.subject("Ingress", "one", hosts[0]), e.subject("IngressRoute", "two", hosts[1]), e.subject("Service", "front", hosts[2])}
	for _, subject := range s.subjects {
		s.specs[subject] = e.spec(subject.object())
	}
	s.endNoise = e.makeNoise()
	s.begin = time.Now()
	s.visitors, s.longVisits = e.load(scenarioRate, at, hosts...), e.startLongVisits(hosts...)
	s.visitors.await(scenarioRate)
	return s
}

// watchSoundness checks every revision of every target until the test ends: none points at a
// page without a record of its originals, and no page is recorded as an original.
func (e *env) watchSoundness() {
	e.Helper()
	sound, err := soundness.Watch(e.dynamic, e.namespace, func(err error) { e.Error(err) }, target.Kinds()...)
	require.NoError(e, err)
	e.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
		defer cancel()
		assert.NoError(e, sound.Finish(ctx))
		judged, wrong := sound.Violations()
		e.assertNone("unsound revisions", wrong)
		assert.Positive(e, judged, "no revision of a target was checked")
		tally.Report(e.T, "revisions judged", int64(judged))
		tally.Report(e.T, "revisions not sound", int64(len(wrong)))
	})
}

// makeNoise keeps changing an Ingress and an IngressRoute without visitors, so that both of
// Traefik's providers always have changes to apply.
func (e *env) makeNoise() (end func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(e.Context()))
	var all sync.WaitGroup
	all.Go(func() {
		const often = 700 * time.Millisecond
		tick := time.NewTicker(often)
		defer tick.Stop()
		host := e.host("noise")
		for n := 0; ; n++ {
			for resource, patch := range map[schema.GroupVersionResource]string{
				ingresses:     fmt.Sprintf(`{"spec": {"rules": [{"host": %q, "http": {"paths": [{"path": "/%d", "pathType": "Prefix", "backend": {"service": {"name": "my-app", "port": {"number": 80}}}}]}}]}}`, host, n),
				ingressRoutes: fmt.Sprintf(`{"spec": {"routes": [{"kind": "Rule", "match": "Host(%[1]s%[2]s%[1]s) && PathPrefix(%[1]s/%[3]d%[1]s)", "services": [{"name": "my-app", "port": 80}]}]}}`, "`", host, n),
			} {
				if _, err := e.dynamic.Resource(resource).Namespace(e.namespace).Patch(ctx, "noise", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil && ctx.Err() == nil {
					e.Errorf("noise: %v", err)
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	end = sync.OnceFunc(func() { cancel(); all.Wait() })
	e.Cleanup(end)
	return end
}

// annotate annotates all targets with one command.
func (s *scenario) annotate(changes ...string) {
	s.Helper()
	args := []string{"annotate"}
	for _, subject := range s.subjects {
		args = append(args, subject.object())
		subject.expectAppOrPage()
	}
	s.switches = append(s.switches, time.Now())
	s.kubectl(append(args, changes...)...)
}

func (s *scenario) on() {
	s.Helper()
	s.annotate(annotations.DefaultEnabled+"=true", annotations.DefaultCustomPage+"=load")
}

func (s *scenario) off() {
	s.Helper()
	s.annotate(annotations.DefaultEnabled+"-", annotations.DefaultCustomPage+"-")
}

// changePage applies a new version of the page and waits until visitors get it.
func (s *scenario) changePage() {
	s.Helper()
	old := s.subjects[0].await("shows the page", onPage).set
	for _, subject := range s.subjects {
		subject.expectAnyPage()
	}
	s.pageVersion++
	s.apply(customPage("load", fmt.Sprintf("Version %d", s.pageVersion), 60))
	s.untilAll("shows the new page", func(r revision) bool { return r.active && r.set != "" && r.set != old })
}

// untilAll waits until each target is ok, and then for visitors whose answers must follow from
// that.
func (s *scenario) untilAll(what string, ok func(revision) bool) {
	s.Helper()
	var settled time.Time
	for _, subject := range s.subjects {
		subject.await(what, ok)
		if at := subject.settled(); at.After(settled) {
			settled = at
		}
	}
	const more = scenarioRate / 2
	s.visitors.awaitSince(settled, more)
}

func onPage(r revision) bool    { return r.set != "" }
func offPage(r revision) bool   { return r.set == "" }
func showsPage(r revision) bool { return r.active && r.set != "" }
func isClean(r revision) bool   { return r.clean && r.set == "" }

// disruption is something that happens to the product under load.
type disruption struct {
	name string
	when moment
	do   func(*scenario)
}

type moment int

const (
	switchingOn moment = iota
	shown
	switchingOff
)

var disruptions = []disruption{
	{"pods-deleted", shown, (*scenario).deletePods},
	{"leader-killed", switchingOn, (*scenario).killLeader},
	{"all-killed", switchingOff, (*scenario).killAll},
	{"restarted", switchingOn, (*scenario).restart},
}

// deletePods deletes both page Pods, the second one once the first has been replaced.
func (s *scenario) deletePods() {
	s.Helper()
	set := s.subjects[0].await("shows the page", onPage).set
	for _, p := range s.untilPods(set, "two ready Pods", ready) {
		s.kubectl("delete", "pod", p.Name, "--wait=false")
		s.watch(s.namespace, pods, inSet(set), "a replacement for the Pod", func(all map[string]*unstructured.Unstructured) bool {
			return len(slices.DeleteFunc(slices.Collect(maps.Values(all)), func(u *unstructured.Unstructured) bool { return !ready(pod(u)) })) == 2
		})
	}
}

// killLeader kills the leader when the first target is swapped, and waits until the other
// replica leads.
func (s *scenario) killLeader() {
	s.Helper()
	leader := s.leader()
	kill := s.prepareKill(leader)
	s.subjects[0].await("is swapped", onPage)
	kill()
	s.untilNextLeader(leader)
}

// killAll kills the processes of both replicas when the first target is restored. The kubelet
// restarts them.
func (s *scenario) killAll() {
	s.Helper()
	s.untilBothReplicas()
	list, err := s.client.CoreV1().Pods(ownNamespace).List(s.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=maintenance-controller"})
	require.NoError(s, err)
	var pids []int
	for _, p := range list.Items {
		if p.DeletionTimestamp == nil {
			pids = append(pids, s.processes(p.UID, "/maintenance-controller")...)
		}
	}
	s.subjects[0].await("is restored", offPage)
	s.kill(pids)
}

// restart replaces the replicas one by one, by a rollout.
func (s *scenario) restart() {
	s.Helper()
	s.kubectl("-n", ownNamespace, "rollout", "restart", "deployment/maintenance-controller")
	s.kubectl("-n", ownNamespace, "rollout", "status", "deployment/maintenance-controller", fmt.Sprintf("--timeout=%s", waitTimeout))
}

// round switches maintenance on and off, with changes of the page and a disruption; d may be nil.
func (s *scenario) round(changes int, d *disruption) {
	s.Helper()
	at := func(m moment) {
		if d != nil && d.when == m {
			d.do(s)
			s.disruptions[d.name]++
		}
	}
	s.on()
	at(switchingOn)
	s.untilAll("shows the page", showsPage)
	for range changes {
		s.changePage()
	}
	at(shown)
	s.off()
	at(switchingOff)
	s.untilAll("is restored", isClean)
}

// outcome is the result of a scenario. Its JSON is one line.
type outcome struct {
	Seconds     float64        `json:"seconds"`
	Requests    int            `json:"requests"`
	PerSecond   float64        `json:"requestsPerSecond"`
	App         int            `json:"fromApp"`
	Page        int            `json:"fromPage"`
	Judged      int            `json:"judged"`              // right answers when only one page set, or only the app, could answer
	Changing    int            `json:"duringChangesOfPage"` // right answers while the page changed, when either page set could answer
	Wrong       int            `json:"wrong"`
	Downloads   int            `json:"downloadsAcrossSwitches"`
	WebSockets  int            `json:"webSocketsAcrossSwitches"`
	Switches    int            `json:"switches"` // of all targets at once; on and off count separately
	PageChanges int            `json:"pageChanges"`
	Disruptions map[string]int `json:"disruptions"`
	P50         float64        `json:"p50ms"` // milliseconds from when the request was due to its answer
	P99         float64        `json:"p99ms"`
	Slowest     float64        `json:"slowestMs"`

	wrong []string
}

// finish stops the load and judges all answers and visits.
func (s *scenario) finish() outcome {
	s.Helper()
	s.endNoise()
	s.longVisits.end()
	s.visitors.end()
	took := time.Since(s.begin)
	answers := s.visitors.answers
	o := outcome{Seconds: took.Seconds(), Requests: len(answers), PerSecond: float64(len(answers)) / took.Seconds(),
		Switches: len(s.switches), PageChanges: s.pageVersion, Disruptions: s.disruptions, wrong: s.visitors.wrongAnswers()}
	var waits []time.Duration
	for _, a := range answers {
		waits = append(waits, a.waited())
		switch a.from {
		case anApp:
			o.App++
		case nobody:
		default:
			o.Page++
		}
	}
	slices.Sort(waits)
	part := func(percent int) float64 { return waits[(len(waits)-1)*percent/100].Seconds() * 1000 }
	o.P50, o.P99, o.Slowest = part(50), part(99), part(100)
	for _, subject := range s.subjects {
		v := subject.judge(answers)
		o.wrong, o.Judged, o.Changing = append(o.wrong, v.wrong...), o.Judged+v.right, o.Changing+v.changing
	}
	cut, survived := s.longVisits.judge(s.switches)
	o.wrong, o.Downloads, o.WebSockets = append(o.wrong, cut...), survived["download"], survived["WebSocket"]
	o.Wrong = len(o.wrong)
	return o
}

func (o outcome) String() string {
	text, err := json.Marshal(o)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
