// Command bench compares maintenance-page with nginx on one machine: both serve the same
// bodies and headers, and take turns under load.
//
//	bench --page-binary bin/maintenance-page --page-dir DIR --page-set maintenance-…
//
// With --proxy it compares a bypass port of maintenance-page with nginx's proxy_pass, in front
// of one app.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

type settings struct {
	binary, pageDir, pageSet string
	rounds                   int
	duration                 time.Duration
	connections              []int
	proxy                    bool
}

func main() {
	var s settings
	flag.StringVar(&s.binary, "page-binary", "", "path of maintenance-page")
	flag.StringVar(&s.pageDir, "page-dir", "", "folder with the page's files")
	flag.StringVar(&s.pageSet, "page-set", "", "name of the page's page set")
	flag.IntVar(&s.rounds, "rounds", 5, "number of turns for each server")
	flag.DurationVar(&s.duration, "duration", 5*time.Second, "duration of a turn")
	flag.BoolVar(&s.proxy, "proxy", false, "compare proxies instead of pages")
	connections := flag.String("connections", "64,1000", "numbers of connections to test, separated by commas")
	flag.Parse()
	for c := range strings.SplitSeq(*connections, ",") {
		n, err := strconv.Atoi(c)
		if err != nil {
			fail(fmt.Errorf("--connections: %w", err))
		}
		s.connections = append(s.connections, n)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench(ctx, s); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

func bench(ctx context.Context, s settings) error {
	dir, err := os.MkdirTemp("", "bench-page")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	start := startPages
	if s.proxy {
		start = startProxies
	}
	ours, theirs, stop, err := start(ctx, dir, s)
	defer stop()
	if err != nil {
		return err
	}
	for _, other := range theirs {
		if err := sameAnswers(ctx, ours, other); err != nil {
			return err
		}
	}
	fmt.Printf("%d cores, load %s; %d turns of %s each, wrk with 2 threads on the same machine\n\n", runtime.NumCPU(), load(), s.rounds, s.duration)
	fmt.Printf("%-18s%-14s%14s%12s%12s%14s%16s\n", "server", "connections", "requests/s", "p50", "p99", "memory (RSS)", "CPU per request")
	for _, n := range s.connections {
		results := map[*server][]result{}
		for range s.rounds {
			for _, candidate := range append([]*server{ours}, theirs...) {
				r, err := candidate.load(ctx, n, s.duration)
				if err != nil {
					return err
				}
				results[candidate] = append(results[candidate], r)
			}
		}
		a := median(results[ours])
		a.print(ours.name, n)
		for _, other := range theirs {
			b := median(results[other])
			b.print(other.name, n)
			fmt.Printf("%-18s%-14d%13.2fx%11.2fx%11.2fx%13.2fx%15.2fx\n", "  ours / theirs", n, a.perSecond/b.perSecond,
				float64(a.p50)/float64(b.p50), float64(a.p99)/float64(b.p99), float64(a.rss)/float64(b.rss), float64(a.cpu)/float64(b.cpu))
		}
		fmt.Println()
	}
	return nil
}

// startPages starts maintenance-page, and nginx with the same page.
func startPages(ctx context.Context, dir string, s settings) (ours *server, theirs []*server, stop func(), err error) {
	stop = func() {}
	page, err := startPage(ctx, s)
	if err != nil {
		return nil, nil, stop, err
	}
	stop = page.stop
	nginx, err := startNginx(ctx, dir, s, page)
	if err != nil {
		return nil, nil, stop, err
	}
	return page, []*server{nginx}, func() {
		nginx.stop()
		page.stop()
	}, nil
}

// result is the result of one turn.
type result struct {
	perSecond float64
	p50, p99  time.Duration
	cpu       time.Duration // of the server, per request
	rss       int           // KiB, of all processes of the server after the turn
}

func (r result) print(name string, n int) {
	fmt.Printf("%-18s%-14d%14.0f%12s%12s%10d KiB%16s\n", name, n, r.perSecond, r.p50.Round(10*time.Microsecond), r.p99.Round(10*time.Microsecond), r.rss, r.cpu.Round(10*time.Nanosecond))
}

// median returns the median of each figure, which may come from different turns.
func median(results []result) result {
	middle := func(less func(a, b result) int) result {
		sorted := slices.SortedFunc(slices.Values(results), less)
		return sorted[len(sorted)/2]
	}
	return result{
		perSecond: middle(func(a, b result) int { return int(a.perSecond - b.perSecond) }).perSecond,
		p50:       middle(func(a, b result) int { return int(a.p50 - b.p50) }).p50,
		p99:       middle(func(a, b result) int { return int(a.p99 - b.p99) }).p99,
		cpu:       middle(func(a, b result) int { return int(a.cpu - b.cpu) }).cpu,
		rss:       middle(func(a, b result) int { return a.rss - b.rss }).rss,
	}
}

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:2], " ")
}
