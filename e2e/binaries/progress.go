package binaries

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"
)

// How often progress is shown: on a terminal, where the table is drawn anew, and in a
// log, which gets a line.
const (
	drawEvery = time.Second
	logEvery  = 30 * time.Second
)

// board shows how far the parts of an order are.
type board struct {
	screen *screen
	cores  int

	mu    sync.Mutex // guards what follows
	begun time.Time
	rows  []row
}

// row is the state of a part.
type row struct {
	name     string
	cost     time.Duration
	stage    stage
	fetched  int // modules that were downloaded
	compiled int // packages
	total    int // packages to compile, at most; 0 is unknown
	begun    time.Time
	took     time.Duration // of a part that is built
}

type stage int

const (
	waiting stage = iota
	building
	built
)

func newBoard(s *screen, parts []part, cores int) *board {
	b := &board{screen: s, cores: cores, begun: time.Now()}
	for _, p := range parts {
		b.rows = append(b.rows, row{name: p.name, cost: p.cost})
	}
	return b
}

// announce says in a log what is to be built.
func (b *board) announce() {
	if len(b.rows) > 1 {
		b.screen.log("to build, once: %s; about %s", strings.TrimPrefix(rest(b.rows), ": "), coarse(left(b.rows, 0, b.cores)))
	}
}

// fetch downloads what a part needs. Packages that an earlier part compiles are known
// and not counted again.
func (b *board) fetch(ctx context.Context, i int, p part, known map[string]bool) {
	for _, compile := range p.compiles {
		packages, err := compile.fetch(ctx, func(line string) { b.saw(i, line) })
		if err != nil {
			return
		}
		b.mu.Lock()
		for _, name := range packages {
			if !known[name] {
				known[name] = true
				b.rows[i].total++
			}
		}
		b.mu.Unlock()
	}
}

// saw notes a line that a build has said.
func (b *board) saw(i int, line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if isFetched(line) {
		b.rows[i].fetched++
	} else {
		b.rows[i].compiled++
	}
}

func (b *board) begin(i int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := &b.rows[i]
	r.stage, r.begun = building, time.Now()
}

func (b *board) end(i int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := &b.rows[i]
	r.stage, r.took = built, time.Since(r.begun)
	b.screen.log("%s: %s; %s%s", r.name, r.state(time.Now()), summary(b.rows, time.Since(b.begun), b.cores), rest(b.rows))
}

// times are those of the parts that are built.
func (b *board) times() []Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []Time
	for _, r := range b.rows {
		if r.stage == built {
			all = append(all, Time{Part: r.name, Took: r.took})
		}
	}
	return all
}

// show shows progress until stop is called.
func (b *board) show() (stop func()) {
	every := logEvery
	if b.screen.terminal() {
		every = drawEvery
	}
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				b.draw()
			}
		}
	}()
	return func() {
		close(done)
		<-stopped
		b.draw()
		b.screen.keep()
	}
}

func (b *board) draw() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.screen.draw(table(b.rows, now.Sub(b.begun), b.cores, now))
	for _, r := range b.rows {
		if r.stage == building {
			b.screen.log("%s: %s; %s", r.name, r.state(now), summary(b.rows, now.Sub(b.begun), b.cores))
		}
	}
}

// table has a line for each part, and one for all.
func table(rows []row, elapsed time.Duration, cores int, now time.Time) []string {
	width := 0
	for _, r := range rows {
		width = max(width, len(r.name))
	}
	var lines []string
	for _, r := range rows {
		lines = append(lines, fmt.Sprintf("  %-*s  %s", width, r.name, r.state(now)))
	}
	return append(lines, "  "+summary(rows, elapsed, cores))
}

// state says in words how far a part is.
func (r row) state(now time.Time) string {
	switch {
	case r.stage == built:
		return "done in " + r.took.Round(time.Second).String()
	case r.stage == building && r.total > 0:
		return fmt.Sprintf("%d of %d packages compiled, %s", min(r.compiled, r.total), r.total, now.Sub(r.begun).Round(time.Second))
	case r.stage == building:
		return fmt.Sprintf("%d packages compiled, %s", r.compiled, now.Sub(r.begun).Round(time.Second))
	case r.total > 0:
		return fmt.Sprintf("waits, %d modules downloaded", r.fetched)
	case r.fetched > 0:
		return fmt.Sprintf("downloads modules, %d so far", r.fetched)
	default:
		return "waits"
	}
}

// fraction is how much of a part is done, 0 to 1. Linking comes after the last package.
func (r row) fraction() float64 {
	switch {
	case r.stage == built:
		return 1
	case r.stage == building && r.total > 0:
		return min(0.95, float64(r.compiled)/float64(r.total))
	default:
		return 0
	}
}

// summary says how far all parts are.
func summary(rows []row, elapsed time.Duration, cores int) string {
	all, done := work(rows)
	if done == all {
		return fmt.Sprintf("all done in %s", elapsed.Round(time.Second))
	}
	return fmt.Sprintf("%.0f%% of all after %s, about %s left", 100*done.Seconds()/all.Seconds(), elapsed.Round(time.Second), coarse(left(rows, elapsed, cores)))
}

// rest names the parts that are not built yet.
func rest(rows []row) string {
	var open []string
	for _, r := range rows {
		if r.stage != built {
			open = append(open, r.name)
		}
	}
	if len(open) == 0 {
		return ""
	}
	return ": " + strings.Join(open, ", ")
}

func work(rows []row) (all, done time.Duration) {
	for _, r := range rows {
		all += r.cost
		done += time.Duration(r.fraction() * float64(r.cost))
	}
	return all, done
}

// left estimates the time that the rest takes: at first by the parts' costs, which are
// for two cores, and then by how fast this machine has been so far.
func left(rows []row, elapsed time.Duration, cores int) time.Duration {
	const trial = 15 * time.Second // of the costs
	all, done := work(rows)
	if done < trial {
		return (all - done) * 2 / time.Duration(min(cores, 4))
	}
	return time.Duration(float64(all-done) / float64(done) * float64(elapsed))
}

// coarse rounds an estimate to what it is worth.
func coarse(d time.Duration) string {
	if d <= 90*time.Second {
		return fmt.Sprintf("%d s", (d+9*time.Second).Truncate(10*time.Second)/time.Second)
	}
	return fmt.Sprintf("%d min", (d+30*time.Second)/time.Minute)
}
