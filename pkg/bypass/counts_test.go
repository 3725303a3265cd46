package bypass

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"maintenance-controller.io/pkg/access"
)

func TestMetricsAndSummary(t *testing.T) {
	w := newWorld(t, access.Settings{BypassSecret: secret, OpenPaths: []string{"/open"}}, newApp(t, echo), access.HTTP)
	cookie := w.cookie(t, anna)
	w.get(t, "/")
	w.get(t, "/open")
	w.get(t, "/", "Cookie", cookie)
	w.get(t, "/", access.Header, anna)
	w.get(t, "/", access.Header, job)
	w.get(t, "/", access.Header, "wrong")
	w.get(t, "/open/../x")
	w.stop() // a client may have its answer before it is counted
	sum := w.bypass.Summary()
	assert.Equal(t, map[access.By]uint64{access.ByHeader: 2, access.ByCookie: 1, access.ByPath: 1}, sum.Through)
	assert.Equal(t, map[access.Why]uint64{access.Closed: 1, access.WrongToken: 1, access.OddPath: 1}, sum.Page)
	assert.Equal(t, uint64(2), sum.Holders["anna"].Requests)
	assert.WithinDuration(t, w.clock(), sum.Holders["job"].Last, time.Second)
	assert.Equal(t, []access.DoorState{{Name: "d1"}}, sum.Doors)
	var text strings.Builder
	w.bypass.WriteMetrics(&text)
	for _, sample := range []string{
		`maintenance_page_let_through_total{door="d1",by="header"} 2`, `maintenance_page_refused_total{reason="wrong-token"} 1`,
		"maintenance_page_proxied 0", `maintenance_page_app_unreachable{door="d1"} 0`, "maintenance_page_bypass_cookies_total 1", "maintenance_page_bypass_tokens 2",
	} {
		assert.Contains(t, text.String(), "\n"+sample+"\n")
	}
	assert.NotContains(t, text.String(), "anna", "there is no series for each person")
}
