package target_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/swap"
	"maintenance-controller.io/pkg/target"
)

// TestSuiteFindsFaults proves that the kinds pass because the suite checks them: a made-up
// kind passes, and each fault that is put into it is found.
func TestSuiteFindsFaults(t *testing.T) {
	for name, part := range conformance {
		assert.False(t, fails(part, tunnels(tunnel())), "a kind in order fails in %q", name)
	}
	for fault, spoilt := range map[string]func(*target.Kind){
		"the slots have one identity": func(k *target.Kind) {
			eachSlot(k, func(s *swap.Slot) { s.ID = swap.ID{Type: "exit"} })
		},
		"an index is the identity": func(k *target.Kind) {
			eachSlot(k, func(s *swap.Slot) { s.ID = swap.ID{Type: "exit", N: s.Path[2].(int)} })
		},
		"pages are not recognised": func(k *target.Kind) { eachSlot(k, func(s *swap.Slot) { s.PageSet = "" }) },
		"everything is admitted":   func(k *target.Kind) { eachSlot(k, func(s *swap.Slot) { s.Check = func(any) error { return nil } }) },
		"nothing is admitted": func(k *target.Kind) {
			eachSlot(k, func(s *swap.Slot) { s.Check = func(any) error { return assert.AnError } })
		},
		"the page is another set's": func(k *target.Kind) {
			eachSlot(k, func(s *swap.Slot) { s.Page = func(string, any) any { return exitTo(setB) } })
		},
		"a name is enough for a page": func(k *target.Kind) {
			eachSlot(k, func(s *swap.Slot) { s.Fit = func(any) swap.Fit { return swap.Exact } })
		},
		"a path leads elsewhere": func(k *target.Kind) { eachSlot(k, func(s *swap.Slot) { s.Path = []any{"spec", "exits", 0, "to"} }) },
		"a slot gets another app's door": func(k *target.Kind) {
			eachSlot(k, func(s *swap.Slot) {
				slot := *s
				s.WithDoors = func(d swap.Doors) swap.Slot {
					out := exitThrough(slot, d)
					out.Page = func(set string, _ any) any { return map[string]any{"name": set, "port": int64(8101)} }
					return out
				}
			})
		},
		"another app's door is taken for its own": func(k *target.Kind) {
			eachSlot(k, func(s *swap.Slot) {
				slot := *s
				s.WithDoors = func(d swap.Doors) swap.Slot { d.Exact = ""; return exitThrough(slot, d) }
			})
		},
		"no door leads to any app":       func(k *target.Kind) { eachSlot(k, func(s *swap.Slot) { s.Upstreams = nil }) },
		"nobody knows where visitors go": func(k *target.Kind) { eachSlot(k, func(s *swap.Slot) { s.Backends = nil }) },
		"visitors go where the slot is now": func(k *target.Kind) {
			eachSlot(k, func(s *swap.Slot) {
				here := exitBackends(s.Value)
				s.Backends = func(any) []swap.Backend { return here }
			})
		},
		"the name is another kind's": func(k *target.Kind) { k.Name = "Pipe" },
		"the hosts are not listed":   func(k *target.Kind) { k.Hosts = func(map[string]any) []target.Host { return nil } },
		"a host is listed twice": func(k *target.Kind) {
			hosts := k.Hosts
			k.Hosts = func(object map[string]any) []target.Host { return append(hosts(object), hosts(object)...) }
		},
		"hosts are forgotten": func(k *target.Kind) { k.Hosts = nil },
		"reading writes": func(k *target.Kind) {
			slots := k.Slots
			k.Slots = func(object map[string]any) ([]swap.Slot, error) {
				found, err := slots(object)
				if err == nil {
					object["seen"] = fmt.Sprint(object["seen"], "x")
				}
				return found, err
			}
		},
		"odd objects are not survived": func(k *target.Kind) {
			slots := k.Slots
			k.Slots = func(object map[string]any) ([]swap.Slot, error) {
				_ = object["spec"].(map[string]any)["exits"].([]any)
				return slots(object)
			}
		},
	} {
		kind := tunnel()
		spoilt(&kind)
		found := false
		for _, part := range conformance {
			found = found || fails(part, tunnels(kind))
		}
		assert.True(t, found, "the suite does not find that %s", fault)
	}
}

// fails says whether a part of the suite fails, or panics.
func fails(part func(require.TestingT, example), e example) bool {
	r := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { r.failed = r.failed || recover() != nil }()
		part(r, e)
	}()
	<-done
	return r.failed
}

// recorder stands in for a test.
type recorder struct{ failed bool }

func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) FailNow()              { r.failed = true; runtime.Goexit() }
