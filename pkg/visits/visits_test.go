package visits

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/pageset"
)

var settings = access.Settings{BypassSecret: "team", Doors: []access.Door{{Name: "d1", Scheme: access.Auto, Host: "a.shop.svc", Port: 80}}}

func pod(change ...func(*access.Summary)) access.Summary {
	s := access.Summary{Secret: access.Secret{Name: "team", Tokens: 1}, Doors: []access.DoorState{{Name: "d1"}}}
	for _, c := range change {
		c(&s)
	}
	return s
}

// TestReportIsStable: the report does not change while nothing new is reported, because it is
// written to targets.
func TestReportIsStable(t *testing.T) {
	t.Parallel()
	var k history
	used := func(name string, n uint64) func(*access.Summary) {
		return func(s *access.Summary) {
			s.Holders = map[string]access.Holder{name: {Requests: n}}
			s.Through = map[access.By]uint64{access.ByCookie: n, access.ByPath: n}
		}
	}
	assert.Equal(t, "nobody has been let through yet", k.report(settings, []access.Summary{pod()}).Summary)
	first := k.report(settings, []access.Summary{pod(used("bob", 1)), pod(used("alice", 1))})
	assert.Equal(t, "let through by token or link: alice, bob, by open path", first.Summary)
	assert.True(t, first.same(k.report(settings, []access.Summary{pod(used("alice", 99))})), "counts do not matter, and earlier names are kept")

	down := func(why string) func(*access.Summary) {
		return func(s *access.Summary) { s.Doors[0].Unreachable = why }
	}
	failing := k.report(settings, []access.Summary{pod(down("dial 10.0.0.1:4711")), pod()})
	require.Len(t, failing.Problems, 1)
	assert.Equal(t, []string{"a.shop.svc:80"}, failing.Unreachable())
	assert.True(t, failing.same(k.report(settings, []access.Summary{pod(down("dial 10.0.0.1:4712"))})), "the message stays while the problem lasts")
	assert.Empty(t, k.report(settings, []access.Summary{pod()}).Problems)
}

func TestSecretProblems(t *testing.T) {
	t.Parallel()
	for want, secret := range map[string]access.Secret{
		"there is no Secret team":  {Missing: true},
		"Secret team has no token": {},
		"Secret team: line 2":      {Tokens: 1, Problems: []string{"line 2"}},
	} {
		var k history
		r := k.report(settings, []access.Summary{pod(func(s *access.Summary) { s.Secret = secret })})
		require.Len(t, r.Problems, 1)
		assert.Contains(t, r.Problems[0].Text, want)
		assert.Contains(t, r.Summary, want)
	}
	open := settings
	open.BypassSecret = ""
	var k history
	assert.Empty(t, k.report(open, []access.Summary{pod(func(s *access.Summary) { s.Secret = access.Secret{} })}).Problems, "no Secret is configured")
}

func TestSummaryNamesAreLimited(t *testing.T) {
	t.Parallel()
	var k history
	many := pod(func(s *access.Summary) {
		s.Holders = map[string]access.Holder{}
		for i := range 100 {
			s.Holders[fmt.Sprintf("name-%02d", i)] = access.Holder{Requests: 1}
		}
	})
	assert.Contains(t, k.report(settings, []access.Summary{many}).Summary, "name-09 and 90 more")
}

// TestReadRejectsOtherAnswers: errors, redirects and answers that are too long are rejected.
func TestReadRejectsOtherAnswers(t *testing.T) {
	t.Parallel()
	answers := map[string]http.HandlerFunc{
		"not found":  http.NotFound,
		"a redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"too long": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"pageSet": %q}`, strings.Repeat("x", access.MaxSummary))
		},
	}
	for name, answer := range answers {
		server := httptest.NewServer(answer)
		defer server.Close()
		_, err := read(t.Context(), client(), server.URL)
		assert.Error(t, err, name)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"pageSet": "x"}`)) }))
	defer server.Close()
	s, err := read(t.Context(), client(), server.URL)
	require.NoError(t, err)
	assert.Equal(t, "x", s.PageSet)
}

// TestOnlyTokenNamesAreKept: and only a limited number, because they come from outside.
func TestOnlyTokenNamesAreKept(t *testing.T) {
	t.Parallel()
	var k history
	for round := range 3 {
		many := pod(func(s *access.Summary) {
			s.Holders = map[string]access.Holder{"no name\n": {}, "": {}}
			s.Through = map[access.By]uint64{"x": 1}
			for i := range 1000 {
				s.Holders[fmt.Sprintf("name-%d-%d", round, i)] = access.Holder{Requests: 1}
			}
		})
		k.report(settings, []access.Summary{many})
	}
	assert.Len(t, k.holders, maxHolders)
	assert.NotContains(t, k.holders, "no name\n")
	assert.NotContains(t, k.by, access.By("x"))
}

// TestUnchangedProblemBacksOff: it is repeated with growing intervals, up to every 10 minutes. A
// change is reported at once.
func TestUnchangedProblemBacksOff(t *testing.T) {
	t.Parallel()
	said := pod(func(s *access.Summary) { s.PageSet, s.Doors[0].Unreachable = "a", "connection refused" })
	told := 0
	w := New(Config{
		Ask:      func(context.Context, string) (access.Summary, error) { return said, nil },
		OnReport: func(pageset.ID, Report) { told++ }, Log: zap.NewNop(),
	})
	set := Set{ID: pageset.ID{Namespace: "shop", Name: "a"}, Settings: settings, Pods: []string{"x"}}
	var rounds []int
	for round := range 200 {
		before := told
		if w.pollSet(t.Context(), set); told > before {
			rounds = append(rounds, round)
		}
	}
	assert.Equal(t, []int{0, 1, 3, 7, 15, 31, 63, 103, 143, 183}, rounds)
	said.Doors = []access.DoorState{{Name: "d1"}}
	w.pollSet(t.Context(), set)
	assert.Equal(t, len(rounds)+1, told)
}
