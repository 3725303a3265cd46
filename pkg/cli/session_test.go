package cli

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/view"
)

// TestServerClock: the API server's clock counts, and this machine's only measures the time
// since the last response.
func TestServerClock(t *testing.T) {
	skewed := time.Date(1999, 12, 31, 23, 59, 0, 0, time.UTC)
	c := serverClock{now: func() time.Time { return skewed }}
	_, known := c.Now()
	assert.False(t, known)
	assert.Equal(t, skewed, c.Estimate())

	server := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	responses := roundTripper(func(*http.Request) (*http.Response, error) {
		return &http.Response{Header: http.Header{"Date": {server.Format(http.TimeFormat)}}, Body: http.NoBody}, nil
	})
	response, err := c.wrap(responses).RoundTrip(&http.Request{})
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	skewed = skewed.Add(90 * time.Second)
	now, known := c.Now()
	assert.True(t, known)
	assert.Equal(t, server.Add(90*time.Second), now)

	c.set("yesterday")
	again, _ := c.Now()
	assert.Equal(t, now, again, "an invalid date changes nothing")
}

func TestTableIsAligned(t *testing.T) {
	now := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	var out bytes.Buffer
	s := &session{Process: Process{Stdout: &out}, namespace: "shop", clock: serverClock{now: func() time.Time { return now }}}
	rows := []view.Row{
		{Kind: "Ingress", Namespace: "shop", Name: "my-app", State: "active", Since: now.Add(-12 * time.Minute), Until: now.Add(2 * time.Hour), By: "ana", Page: "default", Reason: "moving house"},
		{Kind: "HTTPRoute", Namespace: "shop", Name: "ü", State: "blocked", Message: "no room", Page: "spring", Leases: []string{"a"}, Problems: []string{"a typo"}},
		{Kind: "Service", Namespace: "shop", Name: "s", State: "active", Since: now.Add(-30 * time.Second), Cause: "nobody serves", Page: "default", Until: now.Add(-time.Second),
			Hosts: []target.Host{{Form: target.ExactHost, Name: "a"}, {Form: target.NoHost}}},
	}
	rows = append(rows, view.Row{Kind: "Service", Namespace: "shop", Name: "late", State: view.Requested, Message: "unseen", Page: "default", Until: now.Add(-time.Second)})
	cells, notes := s.columns(rows, true, false)
	(&table{out: &out}).write(cells, notes)
	assert.Equal(t, strings.TrimPrefix(`
NAME             STATE       SINCE   UNTIL      BY     PAGE      REASON         HOSTS   PAGE SET
ingress/my-app   active      12m     in 120m    ana    default   moving house   -       -
httproute/ü      blocked     -       run ends   run    spring    -              -       -
  no room
  a typo
service/s        active      30s     now        auto   default   -              a, *    -
  started automatically: nobody serves
service/late     requested   -       now        -      default   -              -       -
  maintenance/until has passed, so visitors get the app: set a later time
`, "\n"), out.String())
}

func TestEscaped(t *testing.T) {
	assert.Equal(t, "a\\x1b[2Jb\nc\\u202ed\\a", escaped("a\x1b[2Jb\nc\u202ed\a"))
}
