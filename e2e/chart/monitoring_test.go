package chart

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/pkg/metrics"
)

// TestAlerts runs promtool on the alerts, with sample series of the metrics.
func TestAlerts(t *testing.T) {
	t.Parallel()
	rules := ofKind(objects(t, render(t, "testdata/everything.yaml")), "PrometheusRule")
	require.Len(t, rules, 1)
	text, err := yaml.Marshal(rules[0].Object["spec"])
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "alerts.yaml"), text, 0o600))
	tests, err := os.ReadFile(filepath.Join(root(t), "deploy/chart/tests/alerts.promtool.yaml"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tests.yaml"), tests, 0o600))
	hasMetrics(t, string(text))
	for _, alert := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(text), -1) {
		assert.Contains(t, string(tests), "alertname: "+alert[1]+"\n        exp_alerts", "alert %s has no test", alert[1])
	}
	out, err := runTool(t, binaries.Promtool(), "", "test", "rules", filepath.Join(dir, "tests.yaml"))
	require.NoError(t, err, out)
	out, err = runTool(t, binaries.Promtool(), "", "check", "rules", "--lint=all", "--lint-fatal", filepath.Join(dir, "alerts.yaml"))
	require.NoError(t, err, out)
}

// hasMetrics checks that the program has every metric that text names.
func hasMetrics(t *testing.T, text string) {
	t.Helper()
	m := metrics.New()
	m.Observe("target", "ok", time.Second)
	m.SetLeading(func() metrics.Snapshot {
		return metrics.Snapshot{
			Targets:    map[metrics.TargetLabels]int{{Kind: "Ingress", State: "active"}: 1},
			Unrestored: map[string]int{"Ingress": 1}, Queued: map[string]int{"target": 1},
		}
	})
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	named := regexp.MustCompile(`\b(maintenance|process|go)_[a-z_]+\b`).FindAllString(text, -1)
	require.NotEmpty(t, named)
	for _, name := range named {
		assert.Regexp(t, "(?m)^"+name+"[ {]", w.Body.String())
	}
}

// dashboard is the part of a Grafana dashboard that the test checks.
type dashboard struct {
	Title         string
	SchemaVersion int
	Panels        []struct {
		ID          int
		Title, Type string
		GridPos     struct{ X, Y, W, H int }
		Targets     []struct{ RefID, Expr string }
	}
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
}

// TestDashboard checks that every expression is valid PromQL, that no panel covers another, and
// that the program has every metric.
func TestDashboard(t *testing.T) {
	t.Parallel()
	var d dashboard
	cms := ofKind(objects(t, render(t, "testdata/everything.yaml")), "ConfigMap")
	for _, cm := range cms {
		if text, found, _ := unstructured.NestedString(cm.Object, "data", "maintenance.json"); found {
			require.NoError(t, json.Unmarshal([]byte(text), &d))
		}
	}
	require.NotEmpty(t, d.Panels)
	taken, ids := map[[2]int]string{}, map[int]bool{}
	var rules []map[string]string
	for _, p := range d.Panels {
		assert.False(t, ids[p.ID], "two panels have id %d", p.ID)
		ids[p.ID] = true
		assert.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				assert.Empty(t, taken[at], "panel %s covers it", p.Title)
				taken[at] = p.Title
			}
		}
		for _, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$job", ".*").Replace(target.Expr)
			rules = append(rules, map[string]string{"record": "panel:expr", "expr": expr})
		}
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "panels", "rules": rules}}})
	require.NoError(t, err)
	hasMetrics(t, string(text))
	file := filepath.Join(t.TempDir(), "panels.yaml")
	require.NoError(t, os.WriteFile(file, text, 0o600))
	out, err := runTool(t, binaries.Promtool(), "", "check", "rules", "--lint=none", file)
	require.NoError(t, err, out)
}
