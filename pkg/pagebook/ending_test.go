package pagebook

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
)

// TestAPageThatEnds is another page, by the minute: the built-in one says when, and a
// person's is served as it is.
func TestAPageThatEnds(t *testing.T) {
	standard := page.Page{Status: 503, RetryAfter: time.Minute, Bodies: map[string]string{"page.html": "soon", "page.txt": "soon"}}
	ending := func(until time.Time) page.Page {
		p := standard
		p.Bodies = map[string]string{"page.html": until.String(), "page.txt": until.String()}
		return p
	}
	b := New(Config{OwnNamespace: "own", BuiltIn: standard, Ending: ending, Source: placed{{"own", "spring"}: pageOf("spring", "spring")}})
	evening := time.Date(2026, 1, 31, 17, 5, 0, 0, time.UTC)
	before := b.Resolve("shop", annotations.DefaultPage, time.Time{})
	assert.Equal(t, standard.Hash(), before.Hash)

	r := b.Resolve("shop", annotations.DefaultPage, evening.Add(-time.Second))
	assert.Equal(t, evening.String(), r.Content.Bodies["page.html"])
	assert.Equal(t, evening, r.Content.Until)
	assert.Equal(t, r.Content.Hash(), r.Hash)
	assert.NotEqual(t, before.Set, r.Set)
	assert.Equal(t, r.Set, b.Resolve("blog", annotations.DefaultPage, evening).Set, "in the same minute it is the same")
	assert.NotEqual(t, r.Set, b.Resolve("shop", annotations.DefaultPage, evening.Add(time.Second)).Set)

	spring := b.Resolve("shop", "spring", evening)
	assert.Equal(t, "spring", spring.Content.Bodies["page.html"])
	assert.Equal(t, evening.String(), spring.Content.Bodies["page.txt"], "what it does not have is the built-in page's")
	assert.Equal(t, evening, spring.Content.Until)
	assert.NotEmpty(t, b.Resolve("shop", "sprnig", evening).Problem)
	assert.Equal(t, before.Set, b.Resolve("shop", annotations.DefaultPage, time.Time{}).Set, "no end is no end")

	for i := range 10 * mostEnding {
		b.Resolve("shop", annotations.DefaultPage, evening.Add(time.Duration(i)*time.Minute))
	}
	assert.LessOrEqual(t, len(b.ending), mostEnding)
	b.Forget()
	assert.Empty(t, b.ending)
}
