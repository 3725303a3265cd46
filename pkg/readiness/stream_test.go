package readiness

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/watch"
	clocktesting "k8s.io/utils/clock/testing"
)

// TestEndOfAReplacedWatch: it does not end the stream, in whatever order the end is noticed.
func TestEndOfAReplacedWatch(t *testing.T) {
	t.Parallel()
	c := clocktesting.NewFakeClock(time.Unix(0, 0))
	s := &stream{clock: c, changed: func() {}}
	first := s.opened(false)
	s.received(watch.Event{Type: watch.Added})
	second := s.opened(false)
	s.received(watch.Event{Type: watch.Added})
	s.closed(first)
	c.Step(time.Minute)
	current, _ := s.current()
	assert.True(t, current)
	s.closed(second)
	c.Step(brokenGrace)
	current, _ = s.current()
	assert.False(t, current)
}
