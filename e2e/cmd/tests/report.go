package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// every is how long nothing is said at most.
const every = 30 * time.Second

// event is a line of `go test -json`, see `go doc test2json`.
type event struct {
	Time                          time.Time
	Action, Package, Test, Output string
}

// test is a top-level test of a package that runs, or waits for its turn.
type test struct {
	name   string
	parts  map[string]bool     // it and those of its parts that have not ended: whether they run
	at     time.Time           // of the last event
	took   time.Duration       // that it has worked until then
	output map[string][]string // of it and of each of its parts
	order  []string            // of the names in output
}

// pack is a package whose tests run.
type pack struct {
	tests  map[string]*test
	output strings.Builder // beside its tests
	kept   bool            // go has kept the result of an earlier run
	times  []string
}

// report is what is shown of the tests.
type report struct {
	out, times io.Writer
	tests      map[string]int // how many tests each package has
	all, done  int            // tests
	running    map[string]*pack
	said       time.Time
}

func newReport(out, times io.Writer, tests map[string]int) *report {
	r := &report{out: out, times: times, tests: tests, running: map[string]*pack{}, said: time.Now()}
	for _, n := range tests {
		r.all += n
	}
	return r
}

// follow shows the events up to their end.
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
				r.say(string(line)) // what is no event
				continue
			}
			r.take(e)
		case now := <-tick.C:
			if now.Sub(r.said) >= every {
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
		p = &pack{tests: map[string]*test{}}
		r.running[e.Package] = p
	}
	if e.Test != "" {
		r.done += p.take(e, r.say)
		return
	}
	switch e.Action {
	case "output":
		p.kept = p.kept || strings.Contains(e.Output, "(cached)")
		p.output.WriteString(e.Output)
	case "pass":
		r.say(lastLine(p.output.String()))
		r.finish(e.Package)
	case "skip": // it has no tests
		r.finish(e.Package)
	case "fail":
		p.tell(r.say)
		r.finish(e.Package)
	}
}

// finish forgets a package, and notes the times of its tests if they have run.
func (r *report) finish(name string) {
	p := r.running[name]
	delete(r.running, name)
	r.done -= len(p.times)
	r.done += r.tests[name]
	if p.kept {
		return
	}
	for _, line := range p.times {
		fmt.Fprintf(r.times, "%s %s\n", line, name)
	}
}

// take takes an event of a test, or of a part of one. It says how many tests have
// ended by it.
func (p *pack) take(e event, say func(string)) int {
	top, _, part := strings.Cut(e.Test, "/")
	t := p.tests[top]
	if t == nil {
		t = &test{name: top, at: e.Time, parts: map[string]bool{}, output: map[string][]string{}}
		p.tests[top] = t
	}
	t.see(e)
	switch {
	case e.Action == "output":
		t.add(e.Test, e.Output)
	case part:
	case e.Action == "pass", e.Action == "skip", e.Action == "fail":
		if e.Action == "fail" {
			t.tell(say)
		}
		p.times = append(p.times, fmt.Sprintf("%.1f %s", t.took.Seconds(), top))
		delete(p.tests, top)
		return 1
	}
	return 0
}

// see counts the time of a test until an event: not what it waited for its turn, nor
// what it waited for parts that all did.
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

// waits says whether nothing of the test runs. While it has parts, it does nothing but
// wait for them.
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

// lasts is how long the test has worked by now.
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

// tell says all of a test, each of its parts for itself.
func (t *test) tell(say func(string)) {
	for _, name := range t.order {
		say(strings.Join(t.output[name], ""))
	}
}

// tell says what a package that has failed said, and what tests said that it did
// not come to the end of.
func (p *pack) tell(say func(string)) {
	for _, t := range p.tests {
		t.tell(say)
	}
	say(p.output.String())
}

// end tells what was cut off.
func (r *report) end() {
	for _, p := range r.running {
		p.tell(r.say)
	}
}

// progress says what is left, and what runs for how long.
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
		runs = []string{"go compiles"}
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
