package quiet

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// bound is how long a controller may take to come to rest: longer than it takes a
// backoff to grow beyond the Window.
const bound = 45 * time.Second

// Room is where controllers are left alone, many at a time and while other tests go on:
// so that resting costs none of them any time.
type Room struct {
	wg       sync.WaitGroup
	mu       sync.Mutex
	rested   int
	restless []string
}

// Leave leaves a controller alone that has been at work in a test, until it rests. Then
// it is stopped.
func (r *Room) Leave(test string, c *Counter, stop func()) {
	r.wg.Go(func() {
		defer stop()
		r.note(test, Until(c, bound))
	})
}

func (r *Room) note(test string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rested++; err != nil {
		r.restless = append(r.restless, fmt.Sprintf("%s: %v", test, err))
	}
}

// Until waits until the controller rests. Its error lists what it sends instead.
func Until(c *Counter, bound time.Duration) error {
	deadline := time.Now().Add(bound)
	for {
		rests, sent, again := c.Look()
		if rests {
			return nil
		}
		if len(sent) > 0 && time.Now().After(deadline) {
			return fmt.Errorf("a controller that was left alone for %s still sends requests, %d in the last %s: %s", bound, len(sent), Window, tally(sent))
		}
		<-time.After(again)
	}
}

// Empty waits until everybody has been judged. It tells how many there were, and who
// did not come to rest.
func (r *Room) Empty() (rested int, restless []string) {
	r.wg.Wait()
	slices.Sort(r.restless)
	return r.rested, r.restless
}

// tally counts what is the same.
func tally(sent []string) string {
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
