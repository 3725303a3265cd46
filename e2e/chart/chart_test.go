package chart

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/e2e/binaries"
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

// TestHelmUnittestSuites runs the suites in deploy/chart/tests.
func TestHelmUnittestSuites(t *testing.T) {
	t.Parallel()
	out, err := runTool(t, binaries.HelmUnittest(), "", "--color=false", "deploy/chart")
	require.NoError(t, err, out)
	suites, err := filepath.Glob(filepath.Join(root(t), "deploy/chart/tests/*_test.yaml"))
	require.NoError(t, err)
	assert.Equal(t, len(suites), strings.Count(out, "\n PASS "), "not every suite ran:\n%s", out)
}

// TestPackagedChart checks that the package has all files that the chart needs, without its tests.
func TestPackagedChart(t *testing.T) {
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
	assert.Contains(t, out, "maintenance_targets", "the dashboard is not in the package")
	out, err = runTool(t, binaries.Helm(), "", "show", "readme", archive)
	require.NoError(t, err, out)
	assert.NotContains(t, out, "](../", "a link leads to a file outside of the package")
}

// TestControllerReadsPagesFromValues parses the pages that the chart renders as the controller does.
func TestControllerReadsPagesFromValues(t *testing.T) {
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
