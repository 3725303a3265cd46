package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
)

// TestForeignMessagesAreWrittenOnce: messages of webhooks and kubelets may have several
// lines. They are stored on one line and must not be rewritten because of that.
func TestForeignMessagesAreWrittenOnce(t *testing.T) {
	for name, says := range map[string]string{
		"two lines":            "denied:\nask the platform team",
		"a tab and an escape":  "denied:\t\x1b[31mno",
		"no text":              "denied \xff",
		"long, of many lines":  strings.Repeat("denied\n", 400),
		"a line and a colour":  "\x1b[0m\u2028",
		"nothing that matters": "quota",
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, "a")
			s.annotate(annotations.DefaultEnabled, "true")
			s.sets[setA] = pageset.Status{Phase: pageset.Blocked, Message: says}
			s.settle()
			assert.Equal(t, annotations.Blocked, s.state())
			assert.NotContains(t, s.annotations()[annotations.Message], "\n")

			s.sets[setA] = pageset.Status{Phase: pageset.Serving}
			s.settle()
			s.later(time.Minute)
			require.Equal(t, annotations.Active, s.state())
			s.sets[setA] = pageset.Status{Phase: pageset.Blocked, Message: says}
			s.settle()
			s.later(pageAwayTolerance)
			assert.Equal(t, annotations.Blocked, s.state(), "in the middle of maintenance too")
		})
	}
}

// TestBlockIsWrittenOnce too.
func TestBlockIsWrittenOnce(t *testing.T) {
	s := newScene(t, "a")
	const why = "write backup: admission webhook denied the request:\nno ConfigMaps here"
	s.object = Block(s.object, why, "")
	require.NotNil(t, s.object)
	assert.Nil(t, Block(s.object, why, ""), "it says so already")
}

// TestMessageBelongsToItsState: a contested target gets a page whose set is starting, and
// the message of the old state is not kept.
func TestMessageBelongsToItsState(t *testing.T) {
	s := newScene(t, "a")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	s.later(time.Minute)
	for range immediateReverts + 1 {
		s.later(time.Second)
		s.setRules(rule("a", "app-a"))
		s.step()
	}
	require.Equal(t, annotations.Contested, s.state())
	s.page.Set, s.sets[setB] = setB, pageset.Status{Phase: pageset.Starting, Message: "the page Pods are starting"}
	s.settle()
	require.Equal(t, annotations.Pending, s.state())
	s.sets[setB] = pageset.Status{Phase: pageset.Serving}
	s.later(time.Second)
	assert.Equal(t, setB, s.backends())
	assert.Equal(t, annotations.Contested, s.state())
	assert.Contains(t, s.annotations()[annotations.Message], "keeps writing the backends back")
}

// TestMessageYieldsToTheState: somebody adds annotations during maintenance until there is
// no room for a message. The state is written all the same, and so is the swap.
func TestMessageYieldsToTheState(t *testing.T) {
	for _, left := range []int{900, 100, 60, 20} {
		s := newScene(t, "a")
		s.annotate(annotations.DefaultEnabled, "true")
		s.settle()
		s.later(time.Minute)
		s.annotate("filler", strings.Repeat("x", annotations.MaxTotalSize-annotations.Size(s.annotations())-len("filler")-left))
		for range immediateReverts + 1 {
			s.later(time.Second)
			s.setRules(rule("a", "app-a"))
			s.step()
		}
		assert.Equal(t, annotations.Contested, s.state(), "%d bytes left", left)
		assert.Equal(t, "app-a", s.backends())
		s.later(time.Second)
		assert.Equal(t, setA, s.backends(), "%d bytes left", left)
	}
}

// TestNotActiveWhileThePageIsAway, whatever else changes: a new host, or another page that
// does not serve either.
func TestNotActiveWhileThePageIsAway(t *testing.T) {
	for name, change := range map[string]func(s *scene){
		"nothing else": func(*scene) {},
		"a new host":   func(s *scene) { s.setRules(rule("a", setA), rule("b", "app-b")) },
		"another page": func(s *scene) { s.page.Set, s.sets[setB] = setB, pageset.Status{Phase: pageset.Starting} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, "a")
			s.annotate(annotations.DefaultEnabled, "true")
			s.settle()
			s.later(time.Minute)
			require.Equal(t, annotations.Active, s.state())
			s.sets[setA] = pageset.Status{Phase: pageset.Starting, Message: "no node has room"}
			change(s)
			s.settle()
			s.later(pageAwayTolerance)
			assert.Equal(t, annotations.Blocked, s.state())
			assert.Contains(t, s.annotations()[annotations.Message], "no node has room")
			s.sets[setA] = pageset.Status{Phase: pageset.Serving}
			s.settle()
			s.later(time.Minute)
			assert.Equal(t, annotations.Active, s.state(), "visitors see a page again")
		})
	}
}

// TestNotActiveWhileAHostWaitsForThePage: the host is added while the page changes, and its
// visitors get the app until the new page serves. Visitors of the other hosts keep the old
// page.
func TestNotActiveWhileAHostWaitsForThePage(t *testing.T) {
	s := newScene(t, "a")
	s.annotate(annotations.DefaultEnabled, "true")
	s.settle()
	s.later(time.Minute)
	s.page.Set, s.sets[setB] = setB, pageset.Status{Phase: pageset.Starting, Message: "the page Pods are starting"}
	s.settle()
	assert.Equal(t, annotations.Active, s.state(), "of the page that there was")
	s.setRules(rule("a", setA), rule("b", "app-b"))
	s.settle()
	assert.Equal(t, setA+" app-b", s.backends())
	assert.Equal(t, annotations.Pending, s.state())
	s.sets[setB] = pageset.Status{Phase: pageset.Blocked, Message: "quota"}
	s.settle()
	assert.Equal(t, annotations.Blocked, s.state())
	s.setRules(rule("a", setA))
	s.settle()
	assert.Equal(t, annotations.Active, s.state(), "it has gone again")
	s.sets[setB] = pageset.Status{Phase: pageset.Serving}
	s.settle()
	assert.Equal(t, setB, s.backends())
}
