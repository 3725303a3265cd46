package readiness

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/watch"
	clocktesting "k8s.io/utils/clock/testing"
)

// TestTheEndOfAWatchThatWasFollowedByAnother ends nothing, in whatever order that is seen.
func TestTheEndOfAWatchThatWasFollowedByAnother(t *testing.T) {
	t.Parallel()
	c := clocktesting.NewFakeClock(time.Unix(0, 0))
	s := &stream{clock: c, changed: func() {}}
	first := s.opened(false)
	s.heard(watch.Event{Type: watch.Added})
	second := s.opened(false)
	s.heard(watch.Event{Type: watch.Added})
	s.closed(first)
	c.Step(time.Minute)
	current, _ := s.current()
	assert.True(t, current)
	s.closed(second)
	c.Step(grace)
	current, _ = s.current()
	assert.False(t, current)
}
