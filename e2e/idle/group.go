package idle

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// timeout is how long a controller may take to become idle. It is longer than a backoff
// takes to grow beyond the Window.
const timeout = 45 * time.Second

// Group watches many controllers at once while other tests go on, so that the check
// delays none of them.
type Group struct {
	wg      sync.WaitGroup
	mu      sync.Mutex
	checked int
	busy    []string
}

// Watch waits in the background until the controller of a test is idle, and then stops it.
func (g *Group) Watch(test string, c *Counter, stop func()) {
	g.wg.Go(func() {
		defer stop()
		g.note(test, Wait(c, timeout))
	})
}

func (g *Group) note(test string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.checked++; err != nil {
		g.busy = append(g.busy, fmt.Sprintf("%s: %v", test, err))
	}
}

// Wait waits until the controller is idle. Its error lists the requests that it still sends.
func Wait(c *Counter, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		idle, sent, again := c.Check()
		if idle {
			return nil
		}
		if len(sent) > 0 && time.Now().After(deadline) {
			return fmt.Errorf("the controller had nothing to do for %s and still sends requests, %d in the last %s: %s", timeout, len(sent), Window, summary(sent))
		}
		<-time.After(again)
	}
}

// Wait waits until every controller has been checked. It returns how many there were, and
// those that did not become idle.
func (g *Group) Wait() (checked int, busy []string) {
	g.wg.Wait()
	slices.Sort(g.busy)
	return g.checked, g.busy
}

// summary counts equal requests.
func summary(sent []string) string {
	times := map[string]int{}
	var order []string
	for _, what := range sent {
		if times[what]++; times[what] == 1 {
			order = append(order, what)
		}
	}
	for i, what := range order {
		order[i] = fmt.Sprintf("%d× %s", times[what], what)
	}
	return strings.Join(order, ", ")
}
