// Package visits asks the page Pods that have doors who was let through, and what keeps
// those who should be from the app.
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

// Interval between two questions. It is well above how long an answer may take.
const Interval = 15 * time.Second

const patience = 3 * time.Second

// Set is a page set with doors that is in use.
type Set struct {
	ID       pageset.ID
	Settings access.Settings
	Pods     []string // addresses of those that are ready
}

// Config is what a Watch stands on.
type Config struct {
	// Sets lists whom to ask: none where nobody is to be let through, and then nothing is
	// asked.
	Sets func() []Set
	// Ask a Pod by its address; nil asks it over HTTP.
	Ask func(ctx context.Context, pod string) (access.Summary, error)
	// Heard is told of each page set of which something else is said than before, and, ever
	// more seldom, of one that cannot reach an app: it may be elsewhere by now.
	Heard func(pageset.ID, Report)
	Log   *zap.Logger
	Clock clock.WithTicker
}

// Watch asks, and keeps what was said last.
type Watch struct {
	Config
	mu      sync.Mutex
	known   map[pageset.ID]*known
	reports map[pageset.ID]Report
}

// New gives a Watch that has asked nobody.
func New(c Config) *Watch {
	if c.Ask == nil {
		c.Ask = ask(client())
	}
	return &Watch{Config: c, known: map[pageset.ID]*known{}, reports: map[pageset.ID]Report{}}
}

// Run asks until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	tick := w.Clock.NewTicker(Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C():
			w.round(ctx)
		}
	}
}

// round asks all Pods once, side by side, and forgets the page sets that have gone.
func (w *Watch) round(ctx context.Context) {
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
			w.hear(ctx, set)
		})
	}
	all.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.known {
		if !there[id] {
			delete(w.known, id)
			delete(w.reports, id)
		}
	}
}

// hear asks the Pods of a set. If none answers, what was said last stands.
func (w *Watch) hear(ctx context.Context, set Set) {
	var said []access.Summary
	for _, pod := range set.Pods {
		summary, err := w.Ask(ctx, pod)
		if err != nil {
			w.Log.Debug("a page Pod does not say who was let through", zap.Stringer("set", set.ID), zap.String("pod", pod), zap.Error(err))
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
	if w.known[set.ID] == nil {
		w.known[set.ID] = &known{}
	}
	now := w.known[set.ID].report(set.Settings, said)
	before, heard := w.reports[set.ID]
	w.reports[set.ID] = now
	tell := !heard || !now.same(before)
	if tell {
		w.known[set.ID].told()
	} else {
		tell = w.known[set.ID].due() && len(now.Unreachable()) > 0
	}
	w.mu.Unlock()
	if tell {
		w.Heard(set.ID, now)
	}
}

// Of gives what the Pods of a page set said last; false if they have not been asked yet.
func (w *Watch) Of(id pageset.ID) (Report, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.reports[id]
	return r, ok
}

// Troubles counts the page sets that have each trouble.
func (w *Watch) Troubles() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts := map[string]int{}
	for _, reason := range Reasons() {
		counts[string(reason)] = 0
		for _, r := range w.reports {
			for _, t := range r.Troubles {
				if t.Reason == reason {
					counts[string(reason)]++
					break
				}
			}
		}
	}
	return counts
}

// client asks once: each answer is a connection of its own, since Pods come and go.
func client() *http.Client {
	return &http.Client{
		Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask a page Pod on the port of its metrics.
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
		return s, fmt.Errorf("it answers %s", resp.Status)
	}
	return s, json.NewDecoder(io.LimitReader(resp.Body, access.MaxSummary)).Decode(&s)
}
