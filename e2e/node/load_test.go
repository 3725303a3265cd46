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

// load is a steady stream of visitors, who ask in all formats, by GET and POST, on kept and
// on fresh connections. They arrive at a fixed rate, whether or not earlier ones have been
// answered. It records every answer without its body.
type load struct {
	env   *env
	at    string // base URL that they ask; Traefik's if empty
	hosts []string
	end   func() // stops new visitors and waits for all answers
	// kept is their own client: a connection of another load may lead to a proxy process that
	// was replaced before these hosts existed.
	kept *http.Client

	mu      sync.Mutex
	answers []answer
	phases  []phase
	more    chan struct{} // closed and replaced when an answer comes
}

// answerTimeout is how long a visitor waits. No answer by then is a wrong answer.
const answerTimeout = 10 * time.Second

// phase is a part of a test. An answer belongs to the phase in which its request was sent.
type phase struct {
	name  string
	begin time.Time
	lossy bool // wrong answers are allowed
}

// visitors starts a load of rate requests per second, spread over the hosts.
func (e *env) visitors(rate int, hosts ...string) *load { return e.load(rate, "", hosts...) }

// callers starts a load on a Service's ClusterIP, without an ingress controller. It first
// waits until the app answers there: each node learns of a Service in its own time.
func (e *env) callers(rate int, service string) *load {
	e.Helper()
	at := "http://" + e.kubectl("get", "service", service, "-o", "jsonpath={.spec.clusterIP}")
	e.untilAnswerAt(at, service, fromApp)
	return e.load(rate, at, service)
}

// load starts a load of rate requests per second on the base URL at; on Traefik's if at is empty.
func (e *env) load(rate int, at string, hosts ...string) *load {
	return e.loadBy(ask, rate, at, hosts...)
}

// loadBy is load with another function that makes the requests.
func (e *env) loadBy(ask func(context.Context, visit) answer, rate int, at string, hosts ...string) *load {
	ctx, cancel := context.WithCancel(context.WithoutCancel(e.Context()))
	transport := &http.Transport{MaxIdleConnsPerHost: 100}
	l := &load{env: e, at: at, hosts: hosts, kept: client(transport), more: make(chan struct{}), phases: []phase{{name: "before", begin: time.Now()}}}
	var all sync.WaitGroup
	all.Go(func() {
		begin := time.Now()
		for n := 0; ; n++ {
			due := begin.Add(time.Duration(n) * time.Second / time.Duration(rate))
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Until(due)): // at once if the machine was too busy to be on time
				all.Go(func() {
					limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
					defer cancel()
					l.record(due, ask(limited, l.visit(n)))
				})
			}
		}
	})
	l.end = sync.OnceFunc(func() { cancel(); all.Wait(); transport.CloseIdleConnections() })
	e.Cleanup(l.end)
	return l
}

// visit returns the n-th visit. The divisors are chosen so that all combinations occur.
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

// phase starts the next phase.
func (l *load) phase(name string) { l.next(phase{name: name}) }

// lossyPhase starts a phase in which wrong answers are allowed.
func (l *load) lossyPhase(name string) { l.next(phase{name: name, lossy: true}) }

func (l *load) next(p phase) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.begin = time.Now()
	l.phases = append(l.phases, p)
}

// await waits until n more visitors have been answered.
func (l *load) await(n int) {
	l.env.Helper()
	l.awaitSince(time.Now(), n)
}

// awaitSince waits until n visitors have been answered who asked after begin, which must not
// be in the past.
func (l *load) awaitSince(begin time.Time, n int) {
	l.env.Helper()
	timeout := time.NewTimer(waitTimeout)
	defer timeout.Stop()
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
		case <-timeout.C:
			l.env.Fatalf("only %d of %d visitors were answered within %s", seen, n, waitTimeout)
		}
	}
}

// wrong counts the wrong answers so far.
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

// awaitWrong waits for a wrong answer.
func (l *load) awaitWrong() {
	l.env.Helper()
	timeout := time.NewTimer(waitTimeout)
	defer timeout.Stop()
	for {
		l.mu.Lock()
		more := l.more
		l.mu.Unlock()
		if l.wrong() > 0 {
			return
		}
		select {
		case <-more:
		case <-timeout.C:
			l.env.Fatalf("no wrong answer within %s", waitTimeout)
		}
	}
}

// stop ends the load, logs the counts, and fails the test if an answer was wrong.
func (l *load) stop() {
	l.env.Helper()
	l.end()
	l.env.assertNone("wrong answers", l.wrongAnswers())
	l.env.Log(l.counts())
}

// assertNone fails the test if there are faults, and shows the first ones.
func (e *env) assertNone(what string, wrong []string) {
	e.Helper()
	const shown = 10
	assert.Empty(e, wrong[:min(len(wrong), shown)], "these are the first of %d %s", len(wrong), what)
}

// wrongAnswers describes the wrong answers outside of lossy phases. The load must have ended:
// this sorts its answers by the time of their requests.
func (l *load) wrongAnswers() (wrong []string) {
	slices.SortFunc(l.answers, func(a, b answer) int { return a.started.Compare(b.started) })
	for _, p := range l.phases {
		for _, a := range l.answersIn(p.name) {
			if a.from == nobody && !p.lossy {
				wrong = append(wrong, fmt.Sprintf("%s into %q: %s: %s", a.started.Sub(p.begin).Round(time.Millisecond), p.name, a, a.wrong))
			}
		}
	}
	return wrong
}

// untilAnswer waits until several answers in a row are ok for each host: during a switch,
// answers of the app and of the page may alternate for a moment.
func (l *load) untilAnswer(ok func(answer) bool) {
	l.env.Helper()
	const inARow = 10
	for _, host := range l.hosts {
		for n := 0; n < inARow; n++ {
			l.env.untilAnswerAt(l.at, host, func(a answer) bool {
				if !ok(a) {
					n = 0
				}
				return ok(a)
			})
		}
	}
}

// answersIn returns the answers of a phase.
func (l *load) answersIn(name string) []answer {
	i := slices.IndexFunc(l.phases, func(p phase) bool { return p.name == name })
	return slices.DeleteFunc(slices.Clone(l.answers), func(a answer) bool {
		return a.started.Before(l.phases[i].begin) || i+1 < len(l.phases) && !a.started.Before(l.phases[i+1].begin)
	})
}

// assertOnly fails the test unless the phase has answers and each is ok for one of the
// functions. Wrong answers are left to stop. The load must have stopped.
func (l *load) assertOnly(name string, ok ...func(answer) bool) {
	l.env.Helper()
	answers := l.answersIn(name)
	assert.NotEmpty(l.env, answers, "no answers in %q", name)
	others := map[string]int{}
	for _, a := range answers {
		if a.from != nobody && !slices.ContainsFunc(ok, func(ok func(answer) bool) bool { return ok(a) }) {
			others[a.from]++
		}
	}
	assert.Empty(l.env, others, "unexpected answers in %q, by who gave them", name)
}

// counts describes who answered how often in each phase.
func (l *load) counts() string {
	var out strings.Builder
	var slowest answer
	for _, p := range l.phases {
		n := map[string]int{}
		for _, a := range l.answersIn(p.name) {
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
