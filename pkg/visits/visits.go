// Package visits polls the page Pods that have doors: who was let through, and what keeps people who
// should get through from the app.
package visits

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"
	"k8s.io/utils/clock"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/pageset"
)

// PollInterval is the time between two polls. It is well above requestTimeout.
const PollInterval = 15 * time.Second

const requestTimeout = 3 * time.Second

// Set is a page set with doors that is in use.
type Set struct {
	ID       pageset.ID      // namespace and name
	Settings access.Settings // as the page set's ConfigMap has them
	Pods     []string        // IP addresses of the ready Pods
}

// Config configures a Poller. All fields but Ask are required.
type Config struct {
	// Sets lists the page sets to poll. If it is empty, no request is sent.
	Sets func() []Set
	// Ask polls a Pod by its IP address; nil asks over HTTP.
	Ask func(ctx context.Context, pod string) (access.Summary, error)
	// OnReport is called with each page set whose report has changed, and, with growing intervals,
	// with one that still cannot reach an app, because the app may have moved. It must only enqueue.
	OnReport func(pageset.ID, Report)
	Log      *zap.Logger
	Clock    clock.WithTicker
}

// Poller polls page Pods and keeps the last reports.
type Poller struct {
	Config
	mu        sync.Mutex
	histories map[pageset.ID]*history
	reports   map[pageset.ID]Report
}

// New returns a Poller that has not polled yet.
func New(c Config) *Poller {
	if c.Ask == nil {
		c.Ask = ask(client())
	}
	return &Poller{Config: c, histories: map[pageset.ID]*history{}, reports: map[pageset.ID]Report{}}
}

// Run polls until ctx ends.
func (w *Poller) Run(ctx context.Context) {
	tick := w.Clock.NewTicker(PollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C():
			w.poll(ctx)
		}
	}
}

// poll polls all page sets once, concurrently, and forgets those that no longer exist.
func (w *Poller) poll(ctx context.Context) {
	sets := w.Sets()
	there := map[pageset.ID]bool{}
	var all sync.WaitGroup
	const atOnce = 16
	free := make(chan struct{}, atOnce)
	for _, set := range sets {
		there[set.ID] = true
		all.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			w.pollSet(ctx, set)
		})
	}
	all.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.histories {
		if !there[id] {
			delete(w.histories, id)
			delete(w.reports, id)
		}
	}
}

// pollSet polls the Pods of a page set. If none answers, the last report stays.
func (w *Poller) pollSet(ctx context.Context, set Set) {
	var said []access.Summary
	for _, pod := range set.Pods {
		summary, err := w.Ask(ctx, pod)
		if err != nil {
			w.Log.Debug("page Pod did not report who was let through", zap.Stringer("set", set.ID), zap.String("pod", pod), zap.Error(err))
			continue
		}
		if summary.PageSet == set.ID.Name {
			said = append(said, summary)
		}
	}
	if len(said) == 0 {
		return
	}
	w.mu.Lock()
	if w.histories[set.ID] == nil {
		w.histories[set.ID] = &history{}
	}
	now := w.histories[set.ID].report(set.Settings, said)
	before, heard := w.reports[set.ID]
	w.reports[set.ID] = now
	tell := !heard || !now.same(before)
	if tell {
		w.histories[set.ID].reset()
	} else {
		tell = w.histories[set.ID].due() && len(now.Unreachable()) > 0
	}
	w.mu.Unlock()
	if tell {
		w.OnReport(set.ID, now)
	}
}

// Report returns the last report of a page set; false if there is none yet.
func (w *Poller) Report(id pageset.ID) (Report, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.reports[id]
	return r, ok
}

// ProblemCounts returns, by reason, how many page sets have a problem. Every reason has an entry.
func (w *Poller) ProblemCounts() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts := map[string]int{}
	for _, reason := range Reasons() {
		counts[string(reason)] = 0
		for _, r := range w.reports {
			for _, t := range r.Problems {
				if t.Reason == reason {
					counts[string(reason)]++
					break
				}
			}
		}
	}
	return counts
}

// client returns a client that opens a connection for each request, since Pods come and go. It
// follows no redirects.
func client() *http.Client {
	return &http.Client{
		Timeout: requestTimeout, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask polls a page Pod on its metrics port.
func ask(client *http.Client) func(context.Context, string) (access.Summary, error) {
	return func(ctx context.Context, pod string) (s access.Summary, err error) {
		return read(ctx, client, "http://"+net.JoinHostPort(pod, strconv.Itoa(pageset.MetricsPort))+access.SummaryPath)
	}
}

func read(ctx context.Context, client *http.Client, url string) (s access.Summary, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return s, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return s, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("unexpected status %s", resp.Status)
	}
	return s, json.NewDecoder(io.LimitReader(resp.Body, access.MaxSummary)).Decode(&s)
}
