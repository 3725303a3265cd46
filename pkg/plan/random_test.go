package plan

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/wanted"
)

// randomActor does to a target what people, tools and mishaps do, in any order. It damages
// one copy of the originals at a time: nobody could know what both have lost.
type randomActor struct {
	*scene
	*rand.Rand
	apps    map[string]string // by host: where it leads outside maintenance
	removed []string          // hosts that were removed while they were on the page
	fresh   int
	sealed  bool // a copy cannot be read
	story   []string
}

// TestRandomEventsConverge, every slot gets its app back, and states are true at any time.
func TestRandomEventsConverge(t *testing.T) {
	t.Parallel()
	for seed := range uint64(150) {
		w := &randomActor{scene: newScene(t), Rand: rand.New(rand.NewPCG(seed, 9)), apps: map[string]string{}}
		if seed%2 == 1 {
			w.access = w.doors
		}
		w.insert()
		w.annotate(annotations.DefaultEnabled, "true")
		for range 5 + w.IntN(30) {
			actions := w.actions()
			actions[w.IntN(len(actions))]()
			if w.IntN(2) == 0 {
				w.rest()
			}
		}
		w.annotate(annotations.DefaultEnabled, "false")
		w.rest()
		w.later(annotations.DefaultRestoreTimeout)
		w.rest()
		require.Equal(t, w.wantedByHost(), w.backendByHost(), "seed %d: %s", seed, strings.Join(w.story, ", "))
		left, _ := annotations.DefaultKeys().Remove(w.annotations())
		require.Empty(t, left, "seed %d: %s", seed, strings.Join(w.story, ", "))
		require.Nil(t, w.backup, "seed %d", seed)
	}
}

func (w *randomActor) actions() []func() {
	return []func(){
		w.insert, w.remove, w.putBack, w.shuffle, w.revert, w.toggle, w.otherPage, w.phase, w.damage, w.deleteUnreadCopy, w.setAuto, w.observeAnything, w.observeAnything, w.gate,
		func() { w.memory = Memory{} },
		func() { w.now = w.now.Add(time.Duration(w.IntN(100)) * time.Second) },
		func() { w.installation = []string{"", "blue"}[w.IntN(2)] },
		func() {
			if !w.sealed {
				w.crashAfter(w.IntN(4))
			}
		},
	}
}

// hosts gives the target's hosts in their order.
func (w *randomActor) hosts() (hosts []string) {
	for _, s := range slotsOf(w.T, w.scene) {
		hosts = append(hosts, s.ID.Host)
	}
	return hosts
}

func (w *randomActor) backendByHost() map[string]string {
	all := map[string]string{}
	backends := strings.Fields(w.backends())
	for i, host := range w.hosts() {
		all[host] = backends[i]
	}
	return all
}

func (w *randomActor) wantedByHost() map[string]string {
	all := map[string]string{}
	for _, host := range w.hosts() {
		all[host] = w.apps[host]
	}
	return all
}

// write gives the target these hosts, which lead where to says.
func (w *randomActor) write(what string, hosts []string, to map[string]string) {
	w.story = append(w.story, what)
	rules := []any{}
	for _, host := range hosts {
		rules = append(rules, rule(host, to[host]))
	}
	w.setRules(rules...)
}

func (w *randomActor) insert() {
	w.fresh++
	host := fmt.Sprintf("h%d", w.fresh)
	w.apps[host] = "app-" + host
	to := w.backendByHost()
	to[host] = w.apps[host]
	w.write("insert "+host, append(w.hosts(), host), to)
}

func (w *randomActor) remove() {
	hosts, to := w.hosts(), w.backendByHost()
	if len(hosts) == 0 {
		return
	}
	host := hosts[w.IntN(len(hosts))]
	if to[host] != w.apps[host] {
		w.removed = append(w.removed, host)
	}
	w.write("remove "+host, slices.DeleteFunc(hosts, func(h string) bool { return h == host }), to)
}

// putBack adds a removed host as it was during maintenance.
func (w *randomActor) putBack() {
	if len(w.removed) == 0 {
		return
	}
	host, to := w.removed[0], w.backendByHost()
	w.removed = w.removed[1:]
	to[host] = setA
	w.write("put back "+host, append(w.hosts(), host), to)
}

func (w *randomActor) shuffle() {
	hosts := w.hosts()
	w.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	w.write("shuffle", hosts, w.backendByHost())
}

// revert writes a host's backend back, or another app.
func (w *randomActor) revert() {
	hosts, to := w.hosts(), w.backendByHost()
	if len(hosts) == 0 {
		return
	}
	host := hosts[w.IntN(len(hosts))]
	if w.IntN(2) == 0 {
		w.fresh++
		w.apps[host] = fmt.Sprintf("app-%d", w.fresh)
	}
	to[host] = w.apps[host]
	w.write("revert "+host, hosts, to)
}

func (w *randomActor) toggle() {
	value := []string{"true", "true", "true", "false", "", ""}[w.IntN(6)]
	w.story = append(w.story, "enabled="+value)
	w.annotate(annotations.DefaultEnabled, value)
	w.rest()
}

// setAuto switches automatic maintenance on or off.
func (w *randomActor) setAuto() {
	value := []string{annotations.AutoBackends, annotations.AutoBackends, ""}[w.IntN(3)]
	w.story = append(w.story, "auto="+value)
	w.annotate(annotations.Auto, value)
}

// observeAnything changes what is observed.
func (w *randomActor) observeAnything() {
	v := wanted.Verdict(w.IntN(4))
	w.auto = wanted.Observed{Verdict: v, Since: w.now, For: time.Second, Recovery: wanted.Recovery, Causes: []string{fmt.Sprint("cause ", w.IntN(3))}}
	w.story = append(w.story, fmt.Sprintf("seen %v", v))
}

// gate decides whether the end of maintenance waits for backends, and which of them are
// ready.
func (w *randomActor) gate() {
	w.annotate(annotations.RestoreWhen, []string{annotations.RestoreReady, annotations.RestoreReady, ""}[w.IntN(3)])
	w.gateBackends = nil
	for i := range w.IntN(3) {
		w.gateBackends = append(w.gateBackends, Backend{Name: fmt.Sprint("Service ", i), Ready: w.IntN(2) == 0, Since: w.now, Why: "has no ready endpoint"})
	}
	w.story = append(w.story, fmt.Sprintf("gate %v", w.gateBackends))
}

func (w *randomActor) otherPage() { w.page.Set = []string{setA, setB}[w.IntN(2)] }

func (w *randomActor) phase() {
	phases := []pageset.Phase{pageset.Serving, pageset.Serving, pageset.Starting, pageset.Blocked, pageset.Absent, pageset.Conflict}
	set := []string{setA, setB}[w.IntN(2)]
	w.sets[set] = pageset.Status{Phase: phases[w.IntN(len(phases))], Message: "why\nnot"}
	w.story = append(w.story, fmt.Sprintf("%s is %v", set, w.sets[set].Phase))
}

// damage deletes one of two good copies, or makes it unreadable.
func (w *randomActor) damage() {
	w.rest()
	if w.sealed || w.backup == nil || w.annotations()[annotations.Original] == "" || !swap.OnPage(slotsOf(w.T, w.scene)) {
		return
	}
	what := w.IntN(4)
	w.story = append(w.story, fmt.Sprintf("damage %d", what))
	switch what {
	case 0:
		w.annotate(annotations.Original, "")
	case 1:
		w.backup = nil
	case 2:
		w.annotate(annotations.Original, `{"v":2}`)
	default:
		w.backup = &Backup{ReadError: "format version 2"}
	}
	w.sealed = what > 1
	w.rest()
}

// deleteUnreadCopy deletes the copy that cannot be read.
func (w *randomActor) deleteUnreadCopy() {
	if !w.sealed {
		return
	}
	w.story = append(w.story, "mend")
	if w.backup != nil && w.backup.ReadError != "" {
		w.backup = nil
	} else {
		w.annotate(annotations.Original, "")
	}
	w.sealed = false
	w.rest()
}

// rest lets some minutes pass, in which everything must settle.
func (w *randomActor) rest() {
	for range 3 {
		w.settle()
		w.later(time.Minute)
	}
	slots := slotsOf(w.T, w.scene)
	if !swap.OnPage(slots) {
		w.sealed = w.sealed && w.on
	}
	if w.state() == "" {
		w.removed, w.sealed = nil, false
	}
	if w.state() == annotations.Restoring {
		require.True(w, !w.on && swap.OnPage(slots), "restoring: %s", strings.Join(w.story, ", "))
	}
	if all := w.annotations(); all[annotations.Auto] != "" && all[annotations.DefaultEnabled] != "false" && len(slots) > 0 && !w.sealed {
		require.Contains(w, w.claims, w.page.Set, "kept ready: %s", strings.Join(w.story, ", "))
	}
	for _, s := range slots {
		require.True(w, s.OnPage() || w.state() != annotations.Active, "active, and %s leads to the app: %s", s.ID, strings.Join(w.story, ", "))
		if w.access != nil && w.state() == annotations.Active && s.PageSet == w.page.Set {
			n := int64(w.door(s.PageSet, w.apps[s.ID.Host]))
			if n > 0 {
				n += 8020
			}
			require.Equal(w, 80+n, portOf(s), "%s is at the door of %s: %s", s.ID, w.apps[s.ID.Host], strings.Join(w.story, ", "))
		}
	}
}

func portOf(s swap.Slot) int64 {
	port, _, _ := unstructured.NestedInt64(s.Value.(map[string]any), "service", "port", "number")
	return port
}

// door gives the door of a page set that leads to an app: in one set every app has one, in
// the other only half of them.
func (w *randomActor) door(set, app string) int {
	sum := crc32.ChecksumIEEE([]byte(set + app))
	if set == setA && sum%2 == 0 {
		return 0
	}
	return 1 + int(sum%90)
}

func (w *randomActor) doors() Access {
	d := swap.Doors{Of: map[string]map[swap.Upstream]int{setA: {}, setB: {}}, Last: map[string]int{setA: 90, setB: 90}}
	for _, app := range w.apps {
		for set, of := range d.Of {
			if n := w.door(set, app); n > 0 {
				of[swap.Upstream{Service: app, Port: "80", TLSPorts: true}] = n
			}
		}
	}
	return Access{Doors: d, Summary: "nobody has been let through yet"}
}
