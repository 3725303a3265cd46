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
	"maintenance-controller.io/pkg/page"
)

func TestLint(t *testing.T) {
	t.Parallel()
	for name, values := range variants(t) {
		values, err := filepath.Abs(values)
		require.NoError(t, err)
		out, err := runTool(t, binaries.Helm(), "", "lint", "--strict", "deploy/chart", "--values", values)
		assert.NoError(t, err, "%s\n%s", name, out)
	}
}

// TestOfItsOwn runs deploy/chart/tests.
func TestOfItsOwn(t *testing.T) {
	t.Parallel()
	out, err := runTool(t, binaries.HelmUnittest(), "", "--color=false", "deploy/chart")
	require.NoError(t, err, out)
	suites, err := filepath.Glob(filepath.Join(root(t), "deploy/chart/tests/*_test.yaml"))
	require.NoError(t, err)
	assert.Equal(t, len(suites), strings.Count(out, "\n PASS "), "every suite is run:\n%s", out)
}

// TestPackage: what is needed is in it, and nothing of the tests.
func TestPackage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out, err := runTool(t, binaries.Helm(), "", "package", "deploy/chart", "--destination", dir, "--version", "1.2.3", "--app-version", "v1.2.3")
	require.NoError(t, err, out)
	archive := filepath.Join(dir, "maintenance-controller-1.2.3.tgz")
	info, err := os.Stat(archive)
	require.NoError(t, err)
	assert.Less(t, info.Size(), int64(64<<10), "bytes")
	out, err = runTool(t, binaries.Helm(), "", "template", "mc", archive, "--set", "metrics.grafanaDashboard.enabled=true")
	require.NoError(t, err, out)
	assert.Contains(t, out, "maintenance-controller:v1.2.3")
	assert.Contains(t, out, "maintenance_targets", "the dashboard is in the package")
	out, err = runTool(t, binaries.Helm(), "", "show", "readme", archive)
	require.NoError(t, err, out)
	assert.NotContains(t, out, "](../", "what is linked to is not in the package")
}

// TestPagesFromValuesAreRead: the controller takes every page that the chart makes.
func TestPagesFromValuesAreRead(t *testing.T) {
	t.Parallel()
	pages := map[string]page.Page{}
	for _, cm := range ofKind(objects(t, render(t, "testdata/everything.yaml")), "ConfigMap") {
		name := cm.GetLabels()["maintenance/custom-page"]
		if name == "" {
			continue
		}
		data, _, err := unstructured.NestedStringMap(cm.Object, "data")
		require.NoError(t, err)
		pages[name], err = page.Parse(data)
		require.NoError(t, err, name)
	}
	require.Len(t, pages, 3)
	assert.Equal(t, 500, pages["default"].Status)
	assert.Equal(t, "padrão", pages["default"].Bodies["page.pt-BR.txt"])
	assert.Equal(t, "default-src 'none'", pages["default"].ContentSecurityPolicy)
	assert.Equal(t, "<h1>Spring</h1>", pages["spring"].Bodies["page.html"])
	assert.InDelta(t, 3600, pages["spring"].RetryAfter.Seconds(), 0)
	assert.Equal(t, "summer", pages["Summer_2026"].Bodies["page.txt"])
}

// TestAlerts is promtool, with series of the metrics as they would come.
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
		assert.Contains(t, string(tests), "alertname: "+alert[1]+"\n        exp_alerts", "every alert is tested")
	}
	out, err := runTool(t, binaries.Promtool(), "", "test", "rules", filepath.Join(dir, "tests.yaml"))
	require.NoError(t, err, out)
	out, err = runTool(t, binaries.Promtool(), "", "check", "rules", "--lint=all", "--lint-fatal", filepath.Join(dir, "alerts.yaml"))
	require.NoError(t, err, out)
}

// hasMetrics: the program has every metric that is named.
func hasMetrics(t *testing.T, text string) {
	t.Helper()
	m := metrics.New()
	m.Observe("target", "ok", time.Second)
	m.Leading(func() metrics.Snapshot {
		return metrics.Snapshot{
			Targets:    map[metrics.Target]int{{Kind: "Ingress", State: "active"}: 1},
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

// dashboard is what is used of a Grafana dashboard.
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

// TestDashboard: every expression is PromQL, no panel covers another, and every
// metric is one that the program has.
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
		assert.False(t, ids[p.ID], "id %d twice", p.ID)
		ids[p.ID] = true
		assert.LessOrEqual(t, p.GridPos.X+p.GridPos.W, 24, p.Title)
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				assert.Empty(t, taken[at], "%s is over it", p.Title)
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
