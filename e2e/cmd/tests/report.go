package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// progressInterval is the longest time without output.
const progressInterval = 30 * time.Second

// event is a line of `go test -json`: see `go doc test2json`.
type event struct {
	Time                          time.Time
	Action, Package, Test, Output string
}

// test is a top-level test that runs or waits for its turn.
type test struct {
	name   string
	parts  map[string]bool     // the test and its subtests that have not ended; true for those that run
	at     time.Time           // the time of its last event
	took   time.Duration       // how long it had worked by then
	output map[string][]string // the lines of the test and of each subtest
	order  []string            // the order of the names in output
}

// pack is a package whose tests run.
type pack struct {
	name   string
	tests  map[string]*test
	output strings.Builder // output that belongs to no test
	cached bool            // go shows the cached result of an earlier run
	times  []string        // a line for each test that has ended
}

// report shows the progress and results of tests.
type report struct {
	out, times io.Writer
	tests      map[string]int // number of tests by package
	all, done  int            // number of tests
	running    map[string]*pack
	said       time.Time // the time of the last output
}

func newReport(out, times io.Writer, tests map[string]int) *report {
	r := &report{out: out, times: times, tests: tests, running: map[string]*pack{}, said: time.Now()}
	for _, n := range tests {
		r.all += n
	}
	return r
}

// follow reads events until the channel is closed.
func (r *report) follow(lines <-chan []byte) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case line, more := <-lines:
			if !more {
				r.end()
				return
			}
			var e event
			if json.Unmarshal(line, &e) != nil {
				r.say(string(line)) // not an event
				continue
			}
			r.take(e)
		case now := <-tick.C:
			if now.Sub(r.said) >= progressInterval {
				r.progress(now)
			}
		}
	}
}

func (r *report) say(text string) {
	fmt.Fprint(r.out, text)
	r.said = time.Now()
}

func (r *report) take(e event) {
	if strings.HasPrefix(e.Action, "build-") {
		r.say(e.Output)
		return
	}
	p := r.running[e.Package]
	if p == nil {
		p = &pack{name: e.Package, tests: map[string]*test{}}
		r.running[e.Package] = p
	}
	if e.Test != "" {
		r.done += p.take(e, r.say)
		return
	}
	switch e.Action {
	case "output":
		p.cached = p.cached || strings.Contains(e.Output, "(cached)")
		p.output.WriteString(e.Output)
	case "pass":
		r.say(lastLine(p.output.String()))
		r.finish(e.Package)
	case "skip": // the package has no tests
		r.finish(e.Package)
	case "fail":
		p.tell(r.say)
		p.giveUp(e.Time)
		r.finish(e.Package)
	}
}

// finish removes a package, and writes the results of its tests unless they are cached.
func (r *report) finish(name string) {
	p := r.running[name]
	delete(r.running, name)
	r.done -= len(p.times)
	r.done += r.tests[name]
	if p.cached {
		return
	}
	for _, line := range p.times {
		fmt.Fprintln(r.times, line)
	}
}

// take handles an event of a test or subtest. It returns the number of top-level tests that ended
// with it.
func (p *pack) take(e event, say func(string)) int {
	top, _, subtest := strings.Cut(e.Test, "/")
	t := p.tests[top]
	if t == nil {
		t = &test{name: top, at: e.Time, parts: map[string]bool{}, output: map[string][]string{}}
		p.tests[top] = t
	}
	t.see(e)
	switch {
	case e.Action == "output":
		t.add(e.Test, e.Output)
	case subtest:
	case e.Action == "pass", e.Action == "skip", e.Action == "fail":
		outcome := ""
		if e.Action == "fail" {
			t.tell(say)
			outcome = " failed"
		}
		p.note(t, outcome)
		return 1
	}
	return 0
}

// note adds the result of a test and removes it.
func (p *pack) note(t *test, outcome string) {
	p.times = append(p.times, fmt.Sprintf("%.1f %s %s%s", t.took.Seconds(), t.name, p.name, outcome))
	delete(p.tests, t.name)
}

// giveUp notes the tests that ran when the package failed, at the end of -timeout or in a panic.
func (p *pack) giveUp(now time.Time) {
	for _, t := range p.tests {
		if !t.waits() {
			t.took = t.lasts(now)
			p.note(t, " unfinished")
		}
	}
}

// see adds the time until an event to the test's duration, unless the test, or all of its subtests,
// waited for their turn.
func (t *test) see(e event) {
	if !t.waits() {
		t.took += e.Time.Sub(t.at)
	}
	t.at = e.Time
	switch e.Action {
	case "run", "cont":
		t.parts[e.Test] = true
	case "pause":
		t.parts[e.Test] = false
	case "pass", "skip", "fail":
		delete(t.parts, e.Test)
	}
}

// waits reports whether neither the test nor a subtest runs. A test with open subtests only waits
// for them.
func (t *test) waits() bool {
	waiting := false
	for name, runs := range t.parts {
		if runs && (name != t.name || len(t.parts) == 1) {
			return false
		}
		waiting = waiting || !runs
	}
	return waiting
}

// lasts returns how long the test has worked by now.
func (t *test) lasts(now time.Time) time.Duration {
	if t.waits() {
		return t.took
	}
	return t.took + now.Sub(t.at)
}

func (t *test) add(name, text string) {
	if t.output[name] == nil {
		t.order = append(t.order, name)
	}
	t.output[name] = append(t.output[name], text)
}

// tell prints the output of a test, grouped by subtest.
func (t *test) tell(say func(string)) {
	for _, name := range t.order {
		say(strings.Join(t.output[name], ""))
	}
}

// tell prints the output of a failed package and of its tests that did not end.
func (p *pack) tell(say func(string)) {
	for _, t := range p.tests {
		t.tell(say)
	}
	say(p.output.String())
}

// end prints the output of packages that did not end.
func (r *report) end() {
	for _, p := range r.running {
		p.tell(r.say)
	}
}

// progress prints how many tests are left, and which run for how long.
func (r *report) progress(now time.Time) {
	var runs []string
	for _, p := range r.running {
		for _, t := range p.tests {
			if !t.waits() {
				runs = append(runs, fmt.Sprintf("%s %.0fs", t.name, t.lasts(now).Seconds()))
			}
		}
	}
	slices.Sort(runs)
	const shown = 6
	if more := len(runs) - shown; more > 0 {
		runs = append(runs[:shown], fmt.Sprintf("%d more", more))
	}
	if len(runs) == 0 {
		runs = []string{"compiling"}
	}
	left := ""
	if r.all > 0 {
		left = fmt.Sprintf("%d of %d tests left: ", max(r.all-r.done, 0), r.all)
	}
	r.say(fmt.Sprintf("   … %s%s\n", left, strings.Join(runs, ", ")))
}

func lastLine(text string) string {
	all := slices.Collect(strings.Lines(text))
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}
