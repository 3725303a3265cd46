package metrics

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	assert.Equal(t, 200, w.Code)
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	m := New()
	text := scrape(t, m)
	assert.Contains(t, text, "maintenance_leader 0")
	assert.NotContains(t, text, "maintenance_page_sets", "a standby replica has no state")
	now := Snapshot{}
	m.SetLeading(func() Snapshot { return now })
	assert.Contains(t, scrape(t, m), "maintenance_oldest_start_timestamp_seconds 0")
	now = Snapshot{
		Targets:    map[TargetLabels]int{{"Ingress", "active"}: 3, {"IngressRoute", "blocked"}: 1},
		Unrestored: map[string]int{"Service": 5},
		Oldest:     time.Unix(1700000000, 0), PageSets: 2, Queued: map[string]int{"target": 4},
	}
	m.Observe("target", "ok", time.Millisecond)
	text = scrape(t, m)
	for _, line := range []string{
		"maintenance_leader 1", `maintenance_targets{kind="Ingress",state="active"} 3`, `maintenance_targets{kind="IngressRoute",state="blocked"} 1`,
		`maintenance_unrestored_targets{kind="Service"} 5`,
		"maintenance_oldest_start_timestamp_seconds 1.7e+09", "maintenance_page_sets 2", `maintenance_queue_length{queue="target"} 4`,
		`maintenance_reconcile_duration_seconds_count{queue="target",result="ok"} 1`,
	} {
		assert.Contains(t, text, line)
	}
}
