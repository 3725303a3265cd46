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

// scene is a target of each kind, with visitors at all of them, on a cluster where
// something that concerns Traefik changes all the time: each change then waits for
// what Traefik makes it wait, from nothing to two seconds.
type scene struct {
	*world
	subjects []*subject
	specs    map[*subject]string
	visitors *load
	lasting  *lasting
	begin    time.Time
	quiet    func() // ends the changes

	pageVersion int
	switches    []time.Time
	troubles    map[string]int
}

// sceneRate is how many visitors come in a second, beside those that last.
const sceneRate = 220

// openScene begins to send visitors there; to Traefik, if empty.
func openScene(w *world, at string) *scene {
	s := &scene{world: w, specs: map[*subject]string{}, troubles: map[string]int{}}
	w.watchSoundness()
	hosts := []string{w.host("ingress"), w.host("ingressroute"), w.host("service")}
	front := `apiVersion: v1
kind: Service
metadata: {name: front}
spec:
  selector: {app: my-app}
  ports: [{name: web, port: 80, targetPort: 8080}]
`
	w.serve(hosts, appOf("my-app", "/lasting-app", ""), front, customPage("load", "Version 0", 60),
		ingress("one", hosts[0], "my-app", 80), ingressRoute("two", hosts[1], "name: my-app, port: 80"), ingress("to-front", hosts[2], "front", 80),
		ingress("noise", w.host("noise"), "my-app", 80), ingressRoute("noise", w.host("noise"), "name: my-app, port: 80"))
	for _, host := range hosts {
		w.arrivesAt(at, host, fromApp)
	}
	s.subjects = []*subject{w.subject("Ingress", "one", hosts[0]), w.subject("IngressRoute", "two", hosts[1]), w.subject("Service", "front", hosts[2])}
	for _, subject := range s.subjects {
		s.specs[subject] = w.spec(subject.object())
	}
	s.quiet = w.makeNoise()
	s.begin = time.Now()
	s.visitors, s.lasting = w.load(sceneRate, at, hosts...), w.linger(hosts...)
	s.visitors.await(sceneRate)
	return s
}

// watchSoundness judges every revision of every target until the test ends: none is on
// a page without its originals, and no page is ever taken for one.
func (w *world) watchSoundness() {
	w.Helper()
	sound, err := soundness.Watch(w.dynamic, w.namespace, func(err error) { w.Error(err) }, target.Kinds()...)
	require.NoError(w, err)
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(w, sound.End(ctx))
		judged, wrong := sound.Judge()
		w.report("revisions that are not sound", wrong)
		assert.Positive(w, judged, "revisions of targets")
		tally.Tell(w.T, "revisions judged", int64(judged))
		tally.Tell(w.T, "revisions not sound", int64(len(wrong)))
	})
}

// makeNoise changes an Ingress and an IngressRoute of nobody's, so that both of
// Traefik's providers always have something to do.
func (w *world) makeNoise() (end func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	var all sync.WaitGroup
	all.Go(func() {
		const often = 700 * time.Millisecond
		tick := time.NewTicker(often)
		defer tick.Stop()
		host := w.host("noise")
		for n := 0; ; n++ {
			for resource, patch := range map[schema.GroupVersionResource]string{
				ingresses:     fmt.Sprintf(`{"spec": {"rules": [{"host": %q, "http": {"paths": [{"path": "/%d", "pathType": "Prefix", "backend": {"service": {"name": "my-app", "port": {"number": 80}}}}]}}]}}`, host, n),
				ingressRoutes: fmt.Sprintf(`{"spec": {"routes": [{"kind": "Rule", "match": "Host(%[1]s%[2]s%[1]s) && PathPrefix(%[1]s/%[3]d%[1]s)", "services": [{"name": "my-app", "port": 80}]}]}}`, "`", host, n),
			} {
				if _, err := w.dynamic.Resource(resource).Namespace(w.namespace).Patch(ctx, "noise", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil && ctx.Err() == nil {
					w.Errorf("noise: %v", err)
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
	w.Cleanup(end)
	return end
}

// annotate all targets at once.
func (s *scene) annotate(changes ...string) {
	s.Helper()
	args := []string{"annotate"}
	for _, subject := range s.subjects {
		args = append(args, subject.object())
		subject.switches()
	}
	s.switches = append(s.switches, time.Now())
	s.kubectl(append(args, changes...)...)
}

func (s *scene) on() {
	s.Helper()
	s.annotate(annotations.DefaultEnabled+"=true", annotations.DefaultCustomPage+"=load")
}

func (s *scene) off() {
	s.Helper()
	s.annotate(annotations.DefaultEnabled+"-", annotations.DefaultCustomPage+"-")
}

// changePage makes another version of the page, and waits until it is shown.
func (s *scene) changePage() {
	s.Helper()
	old := s.subjects[0].await("shows the page", onPage).set
	for _, subject := range s.subjects {
		subject.changes()
	}
	s.pageVersion++
	s.apply(customPage("load", fmt.Sprintf("Version %d", s.pageVersion), 60))
	s.all("shows the new page", func(r revision) bool { return r.active && r.set != "" && r.set != old })
}

// all waits until each target is as it should be, and then until visitors have come
// who can count on that.
func (s *scene) all(what string, ok func(revision) bool) {
	s.Helper()
	var settled time.Time
	for _, subject := range s.subjects {
		subject.await(what, ok)
		if at := subject.settled(); at.After(settled) {
			settled = at
		}
	}
	const more = sceneRate / 2
	s.visitors.awaitSince(settled, more)
}

func onPage(r revision) bool    { return r.set != "" }
func offPage(r revision) bool   { return r.set == "" }
func showsPage(r revision) bool { return r.active && r.set != "" }
func isClean(r revision) bool   { return r.clean && r.set == "" }

// trouble is what happens to the product while visitors come.
type trouble struct {
	name string
	when moment
	make func(*scene)
}

type moment int

const (
	switchingOn moment = iota
	shown
	switchingOff
)

var troubles = []trouble{
	{"pods-deleted", shown, (*scene).deletePods},
	{"leader-killed", switchingOn, (*scene).killLeader},
	{"all-killed", switchingOff, (*scene).killAll},
	{"restarted", switchingOn, (*scene).restart},
}

// deletePods deletes the Pods of the page, the second one when the first has been
// replaced.
func (s *scene) deletePods() {
	s.Helper()
	set := s.subjects[0].await("shows the page", onPage).set
	for _, p := range s.untilPods(set, "two ready Pods", ready) {
		s.kubectl("delete", "pod", p.Name, "--wait=false")
		s.watch(s.namespace, pods, inSet(set), "another Pod", func(all map[string]*unstructured.Unstructured) bool {
			return len(slices.DeleteFunc(slices.Collect(maps.Values(all)), func(u *unstructured.Unstructured) bool { return !ready(pod(u)) })) == 2
		})
	}
}

// killLeader kills the leader when the first target is swapped. The other replica
// takes over.
func (s *scene) killLeader() {
	s.Helper()
	leader := s.leader()
	kill := s.aim(leader)
	s.subjects[0].await("is swapped", onPage)
	kill()
	s.untilNextLeader(leader)
}

// killAll kills both replicas when the first target is restored. They are started
// again where they were.
func (s *scene) killAll() {
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

// restart stops the replicas in order and starts others, one by one.
func (s *scene) restart() {
	s.Helper()
	s.kubectl("-n", ownNamespace, "rollout", "restart", "deployment/maintenance-controller")
	s.kubectl("-n", ownNamespace, "rollout", "status", "deployment/maintenance-controller", fmt.Sprintf("--timeout=%s", patience))
}

// round switches maintenance on and off, and makes trouble meanwhile.
func (s *scene) round(changes int, t *trouble) {
	s.Helper()
	at := func(m moment) {
		if t != nil && t.when == m {
			t.make(s)
			s.troubles[t.name]++
		}
	}
	s.on()
	at(switchingOn)
	s.all("shows the page", showsPage)
	for range changes {
		s.changePage()
	}
	at(shown)
	s.off()
	at(switchingOff)
	s.all("is restored", isClean)
}

// outcome of a scene. As JSON it is one line, for a table.
type outcome struct {
	Seconds     float64        `json:"seconds"`
	Requests    int            `json:"requests"`
	PerSecond   float64        `json:"requestsPerSecond"`
	App         int            `json:"fromApp"`
	Page        int            `json:"fromPage"`
	Judged      int            `json:"judged"`              // answers of which it was certain who had to give them
	Changing    int            `json:"duringChangesOfPage"` // answers of which it was certain that a page had to give them, of one set or the next
	Wrong       int            `json:"wrong"`
	Downloads   int            `json:"downloadsAcrossSwitches"`
	WebSockets  int            `json:"webSocketsAcrossSwitches"`
	Switches    int            `json:"switches"` // of all targets at once, on or off
	PageChanges int            `json:"pageChanges"`
	Troubles    map[string]int `json:"troubles"`
	P50         float64        `json:"p50ms"` // until the answer, from when the visitor was due
	P99         float64        `json:"p99ms"`
	Slowest     float64        `json:"slowestMs"`

	wrong []string
}

// close ends the visits and judges all of them.
func (s *scene) close() outcome {
	s.Helper()
	s.quiet()
	s.lasting.end()
	s.visitors.end()
	took := time.Since(s.begin)
	answers := s.visitors.answers
	o := outcome{Seconds: took.Seconds(), Requests: len(answers), PerSecond: float64(len(answers)) / took.Seconds(),
		Switches: len(s.switches), PageChanges: s.pageVersion, Troubles: s.troubles, wrong: s.visitors.holes()}
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
	cut, lived := s.lasting.judge(s.switches)
	o.wrong, o.Downloads, o.WebSockets = append(o.wrong, cut...), lived["download"], lived["WebSocket"]
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
