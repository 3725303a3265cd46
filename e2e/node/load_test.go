package node

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stretchr/testify/assert"
)

// load is a steady stream of visitors, who ask in all formats, by GET and POST, on
// kept and on fresh connections. They come by the clock, whether or not those before
// them have been answered. It remembers every answer, but not its text.
type load struct {
	w     *world
	at    string // where they ask; Traefik if empty
	hosts []string
	end   func() // no more visitors, and all answers are there
	// kept has their connections. Those of others may lead to a process of a proxy that
	// was replaced before these hosts were there.
	kept *http.Client

	mu      sync.Mutex
	answers []answer
	phases  []phase
	more    chan struct{} // closed and replaced when an answer comes
}

// visitorPatience is how long a visitor waits. No answer is a wrong answer.
const visitorPatience = 10 * time.Second

// phase is a part of a test. An answer belongs to the phase in which it was asked for.
type phase struct {
	name  string
	begin time.Time
	lossy bool // some answers may be wrong
}

// visitors begins a load of some requests a second, spread over the hosts.
func (w *world) visitors(rate int, hosts ...string) *load { return w.load(rate, "", hosts...) }

// callers ask a Service at its ClusterIP, past all ingress controllers, as soon as
// it is reached there: nodes follow one by one.
func (w *world) callers(rate int, service string) *load {
	w.Helper()
	at := "http://" + w.kubectl("get", "service", service, "-o", "jsonpath={.spec.clusterIP}")
	w.arrivesAt(at, service, fromApp)
	return w.load(rate, at, service)
}

func (w *world) load(rate int, at string, hosts ...string) *load {
	return w.loadBy(ask, rate, at, hosts...)
}

// loadBy is a load of visitors who ask in another way than a browser.
func (w *world) loadBy(ask func(context.Context, visit) answer, rate int, at string, hosts ...string) *load {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	l := &load{w: w, at: at, hosts: hosts, kept: client(transport), more: make(chan struct{}), phases: []phase{{name: "before", begin: time.Now()}}}
	var all sync.WaitGroup
	all.Go(func() {
		begin := time.Now()
		for n := 0; ; n++ {
			due := begin.Add(time.Duration(n) * time.Second / time.Duration(rate))
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Until(due)): // at once, if the machine was too busy to be on time
				all.Go(func() {
					patient, leave := context.WithTimeout(context.WithoutCancel(ctx), visitorPatience)
					defer leave()
					l.record(due, ask(patient, l.visit(n)))
				})
			}
		}
	})
	l.end = sync.OnceFunc(func() { cancel(); all.Wait(); transport.CloseIdleConnections() })
	w.Cleanup(l.end)
	return l
}

// visit is the n-th. The remainders have no common divisor, so that all mixtures come.
func (l *load) visit(n int) visit {
	v := visit{method: http.MethodGet, at: l.at, host: l.hosts[n%len(l.hosts)], path: fmt.Sprintf("/%d", n), as: formats[n/2%len(formats)], fresh: n%2 == 0, kept: l.kept}
	if n%5 == 0 {
		v.method = http.MethodPost
	}
	return v
}

func (l *load) record(due time.Time, a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.due, a.body, a.header = due, "", nil
	l.answers = append(l.answers, a)
	close(l.more)
	l.more = make(chan struct{})
}

// phase begins the next part of the test.
func (l *load) phase(name string) { l.next(phase{name: name}) }

// lossyPhase begins a part in which not every answer can be right.
func (l *load) lossyPhase(name string) { l.next(phase{name: name, lossy: true}) }

func (l *load) next(p phase) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.begin = time.Now()
	l.phases = append(l.phases, p)
}

// await returns when n more visitors have their answer.
func (l *load) await(n int) {
	l.w.Helper()
	l.awaitSince(time.Now(), n)
}

// awaitSince returns when n visitors have their answer who came after a time that
// is not in the past.
func (l *load) awaitSince(begin time.Time, n int) {
	l.w.Helper()
	patient := time.NewTimer(patience)
	defer patient.Stop()
	l.mu.Lock()
	looked, seen := len(l.answers), 0
	l.mu.Unlock()
	for {
		l.mu.Lock()
		more := l.more
		for ; looked < len(l.answers); looked++ {
			if l.answers[looked].started.After(begin) {
				seen++
			}
		}
		l.mu.Unlock()
		if seen >= n {
			return
		}
		select {
		case <-more:
		case <-patient.C:
			l.w.Fatalf("visitors: %d of %d answers came", seen, n)
		}
	}
}

// wrong says how many answers so far came from nobody.
func (l *load) wrong() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.answers {
		if a.from == nobody {
			n++
		}
	}
	return n
}

// awaitWrong returns when an answer has come from nobody.
func (l *load) awaitWrong() {
	l.w.Helper()
	patient := time.NewTimer(patience)
	defer patient.Stop()
	for {
		l.mu.Lock()
		more := l.more
		l.mu.Unlock()
		if l.wrong() > 0 {
			return
		}
		select {
		case <-more:
		case <-patient.C:
			l.w.Fatalf("visitors: none has had a wrong answer")
		}
	}
}

// stop ends the load, prints the counts, and fails the test for every wrong answer.
func (l *load) stop() {
	l.w.Helper()
	l.end()
	l.w.report("wrong answers", l.holes())
	l.w.Log(l.counts())
}

// report fails the test if something is wrong, and shows the first of it.
func (w *world) report(what string, wrong []string) {
	w.Helper()
	const shown = 10
	assert.Empty(w, wrong[:min(len(wrong), shown)], "the first of %d %s", len(wrong), what)
}

// holes are the answers that came from nobody, of a load that has ended: they sort
// the answers by the time at which they were asked for.
func (l *load) holes() (wrong []string) {
	slices.SortFunc(l.answers, func(a, b answer) int { return a.started.Compare(b.started) })
	for _, p := range l.phases {
		for _, a := range l.during(p.name) {
			if a.from == nobody && !p.lossy {
				wrong = append(wrong, fmt.Sprintf("%s into %q: %s: %s", a.started.Sub(p.begin).Round(time.Millisecond), p.name, a, a.wrong))
			}
		}
	}
	return wrong
}

// arrives waits until the way of this load leads there and nowhere else: each way
// follows in its own time, and for a moment both ends of a switch may be led to.
func (l *load) arrives(ok func(answer) bool) {
	l.w.Helper()
	const inARow = 10
	for _, host := range l.hosts {
		for n := 0; n < inARow; n++ {
			l.w.arrivesAt(l.at, host, func(a answer) bool {
				if !ok(a) {
					n = 0
				}
				return ok(a)
			})
		}
	}
}

// during are the answers of a phase.
func (l *load) during(name string) []answer {
	i := slices.IndexFunc(l.phases, func(p phase) bool { return p.name == name })
	return slices.DeleteFunc(slices.Clone(l.answers), func(a answer) bool {
		return a.started.Before(l.phases[i].begin) || i+1 < len(l.phases) && !a.started.Before(l.phases[i+1].begin)
	})
}

// only fails unless all answers of a phase, and there must be some, are of a kind.
// It is for a load that has stopped.
func (l *load) only(name string, ok ...func(answer) bool) {
	l.w.Helper()
	answers := l.during(name)
	assert.NotEmpty(l.w, answers, "answers in %q", name)
	others := map[string]int{}
	for _, a := range answers {
		if a.from != nobody && !slices.ContainsFunc(ok, func(ok func(answer) bool) bool { return ok(a) }) {
			others[a.from]++
		}
	}
	assert.Empty(l.w, others, "answers in %q that are not what they should be", name)
}

// counts says who answered how often in each phase.
func (l *load) counts() string {
	var out strings.Builder
	var slowest answer
	for _, p := range l.phases {
		n := map[string]int{}
		for _, a := range l.during(p.name) {
			if a.waited() > slowest.waited() {
				slowest = a
			}
			who := a.from
			if who == nobody {
				who = fmt.Sprintf("wrong (%d)", a.status)
			}
			n[who]++
		}
		fmt.Fprintf(&out, "\n  %-28s", p.name)
		for _, who := range slices.Sorted(maps.Keys(n)) {
			fmt.Fprintf(&out, " %6d %s", n[who], who)
		}
	}
	return fmt.Sprintf("%d answers, the slowest %s%s", len(l.answers), slowest, out.String())
}
