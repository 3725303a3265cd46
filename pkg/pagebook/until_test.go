package pagebook

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/page"
)

// TestPageWithEndTime: each end minute has a page of its own. The built-in page shows the time, and
// a custom page is served as it is.
func TestPageWithEndTime(t *testing.T) {
	standard := page.Page{Status: 503, RetryAfter: time.Minute, Bodies: map[string]string{"page.html": "soon", "page.txt": "soon"}}
	ending := func(until time.Time) page.Page {
		p := standard
		p.Bodies = map[string]string{"page.html": until.String(), "page.txt": until.String()}
		return p
	}
	b := New(Config{OwnNamespace: "own", BuiltIn: standard, BuiltInUntil: ending, Source: placed{{"own", "spring"}: pageOf("spring", "spring")}})
	evening := time.Date(2026, 1, 31, 17, 5, 0, 0, time.UTC)
	before := b.Resolve("shop", annotations.DefaultPage, time.Time{})
	assert.Equal(t, standard.Hash(), before.Hash)

	r := b.Resolve("shop", annotations.DefaultPage, evening.Add(-time.Second))
	assert.Equal(t, evening.String(), r.Content.Bodies["page.html"])
	assert.Equal(t, evening, r.Content.Until)
	assert.Equal(t, r.Content.Hash(), r.Hash)
	assert.NotEqual(t, before.Set, r.Set)
	assert.Equal(t, r.Set, b.Resolve("blog", annotations.DefaultPage, evening).Set, "the same minute gives the same page")
	assert.NotEqual(t, r.Set, b.Resolve("shop", annotations.DefaultPage, evening.Add(time.Second)).Set)

	spring := b.Resolve("shop", "spring", evening)
	assert.Equal(t, "spring", spring.Content.Bodies["page.html"])
	assert.Equal(t, evening.String(), spring.Content.Bodies["page.txt"], "missing formats come from the built-in page")
	assert.Equal(t, evening, spring.Content.Until)
	assert.NotEmpty(t, b.Resolve("shop", "sprnig", evening).Problem)
	assert.Equal(t, before.Set, b.Resolve("shop", annotations.DefaultPage, time.Time{}).Set, "without an end the page does not change")

	for i := range 10 * maxUntilPages {
		b.Resolve("shop", annotations.DefaultPage, evening.Add(time.Duration(i)*time.Minute))
	}
	assert.LessOrEqual(t, len(b.untilPages), maxUntilPages)
	b.Forget()
	assert.Empty(t, b.untilPages)
}
