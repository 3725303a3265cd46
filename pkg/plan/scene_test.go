package plan

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

const (
	setA = "maintenance-00000000000000aa"
	setB = "maintenance-00000000000000bb"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// scene is a target with everything that a controller would gather. It does what is
// decided: decisions are tested by their results.
type scene struct {
	*testing.T
	kind         target.Kind
	classes      []string
	byClass      map[string]time.Duration
	refused      map[string]string
	access       func() Access // who is let through; nil is nobody
	now          time.Time
	lead         time.Duration
	object       map[string]any
	page         Page
	sets         map[string]pageset.Status
	backup       *Backup
	memory       Memory
	leases       map[string]wanted.Lease
	auto         wanted.Observed // what is observed of the target's app
	gateBackends []Backend       // of the gate
	on           bool            // whether maintenance was wanted last
	// installation is the id of the installation that decides.
	installation string
	events       []Event        // as people see them: a warning once while it lasts
	lastWarnings map[Event]bool // warnings of the previous decision
	claims       []string
	onUpdate     func(sent map[string]any) map[string]any // what the API server stores of an update
	writes       int
}

// uid makes it another object.
func (s *scene) uid(uid types.UID) {
	u := unstructured.Unstructured{Object: runtime.DeepCopyJSON(s.object)}
	u.SetUID(uid)
	s.object = u.Object
}

// answered stores the update of a decision and gives the adjusted decision.
func (s *scene) answered(d Decision) Decision {
	s.writes++
	u := unstructured.Unstructured{Object: runtime.DeepCopyJSON(s.object)}
	u.SetResourceVersion(strconv.Itoa(s.writes))
	s.object = u.Object
	d, err := d.Answered(s.kind, s.object)
	require.NoError(s, err)
	return d
}

func newScene(t *testing.T, hosts ...string) *scene {
	t.Helper()
	var rules []any
	for _, host := range hosts {
		rules = append(rules, rule(host, "app-"+host))
	}
	return &scene{
		T: t, kind: target.Ingress(), now: epoch,
		object: map[string]any{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
			"metadata": map[string]any{"name": "my-app"}, "spec": map[string]any{"rules": rules}},
		page: Page{Set: setA, Name: annotations.DefaultPage},
		sets: map[string]pageset.Status{setA: {Phase: pageset.Serving}, setB: {Phase: pageset.Serving}},
	}
}

func rule(host, service string) map[string]any {
	backend := map[string]any{"service": map[string]any{"name": service, "port": map[string]any{"number": int64(80)}}}
	return map[string]any{"host": host, "http": map[string]any{"paths": []any{map[string]any{"path": "/", "pathType": "Prefix", "backend": backend}}}}
}

func (s *scene) annotations() map[string]string {
	u := unstructured.Unstructured{Object: s.object}
	return u.GetAnnotations()
}

func (s *scene) annotate(key, value string) {
	u := unstructured.Unstructured{Object: runtime.DeepCopyJSON(s.object)}
	all := u.GetAnnotations()
	if all == nil {
		all = map[string]string{}
	}
	all[key] = value
	u.SetAnnotations(all)
	s.object = u.Object
}

func (s *scene) setRules(rules ...any) {
	s.object = runtime.DeepCopyJSON(s.object)
	require.NoError(s, unstructured.SetNestedSlice(s.object, rules, "spec", "rules"))
}

func (s *scene) decide() Decision {
	s.Helper()
	slots, err := s.kind.Slots(s.object)
	require.NoError(s, err)
	request, problems := annotations.DefaultKeys().Parse(s.annotations())
	var gate *Gate
	if request.RestoreWhen != "" {
		gate = &Gate{Backends: s.gateBackends, Timeout: request.RestoreTimeout}
	}
	auto := wanted.Automatic{Observed: s.auto, Kept: wanted.ParseEpisode(s.annotations()[annotations.Cause]), Shown: swap.OnPage(slots), Restoring: s.state() == annotations.Restoring}
	state := State{
		Gate: gate, Now: s.now, Settings: Settings{Lead: s.lead, Settle: 3 * time.Second, SettleByClass: s.byClass}, Request: request, Problems: problems, Keys: annotations.DefaultKeys(), Wanted: wanted.Decide(request, wanted.Facts{Begun: wanted.Begun(s.annotations(), swap.OnPage(slots)), Leases: s.leases, Auto: auto}, s.now),
		Kind: s.kind, Classes: s.classes, RefusedFields: s.refused, Object: s.object, Slots: slots, Page: s.page, Sets: s.sets, Backup: s.backup, Memory: s.memory, Installation: s.installation,
	}
	if s.access != nil {
		state.Access = s.access()
	}
	s.on = state.Wanted.On
	return Decide(state)
}

// step decides once and does what is decided.
func (s *scene) step() Decision {
	s.Helper()
	d := s.decide()
	if d.WriteBackup != nil {
		s.backup = d.WriteBackup
	}
	if d.Update != nil {
		if s.object = d.Update; s.onUpdate != nil {
			s.object = s.onUpdate(d.Update)
		}
		d = s.answered(d)
		require.LessOrEqual(s, annotations.Size(s.annotations()), annotations.MaxTotalSize, "the API server would refuse it")
	}
	if d.DropBackup {
		s.backup = nil
	}
	s.memory, s.claims = d.Memory, d.Claims
	lasts := map[Event]bool{}
	for _, e := range d.Events {
		if !e.Reason.Warning() || !s.lastWarnings[e] {
			s.events = append(s.events, e)
		}
		lasts[e] = e.Reason.Warning()
	}
	s.lastWarnings = lasts
	return d
}

// settle steps until nothing is left to do at this time.
func (s *scene) settle() {
	s.Helper()
	for range 10 {
		if d := s.step(); d.Update == nil && d.WriteBackup == nil && !d.DropBackup {
			return
		}
	}
	s.Fatal("it does not come to rest")
}

func (s *scene) later(d time.Duration) {
	s.Helper()
	s.now = s.now.Add(d)
	s.settle()
}

func (s *scene) backends() string {
	slots, err := target.Ingress().Slots(s.object)
	require.NoError(s, err)
	var names []string
	for _, slot := range slots {
		name, _, _ := unstructured.NestedString(slot.Value.(map[string]any), "service", "name")
		names = append(names, name)
	}
	return strings.Join(names, " ")
}

func (s *scene) eventCount(reason Reason) (n int) {
	for _, e := range s.events {
		if e.Reason == reason {
			n++
		}
	}
	return n
}

func (s *scene) state() string { return s.annotations()[annotations.State] }

// crashAfter does at most this many writes and then forgets what was in memory.
func (s *scene) crashAfter(writes int) {
	s.Helper()
	for writes > 0 {
		d := s.decide()
		do := []func(){}
		if d.WriteBackup != nil {
			do = append(do, func() { s.backup = d.WriteBackup })
		}
		if d.Update != nil {
			do = append(do, func() { s.object = d.Update })
		}
		if d.DropBackup {
			do = append(do, func() { s.backup = nil })
		}
		if len(do) == 0 {
			break
		}
		for _, write := range do[:min(writes, len(do))] {
			write()
			writes--
		}
	}
	s.memory = Memory{}
}
