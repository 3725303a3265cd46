package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// trace returns a finding in one function as govulncheck prints it.
func trace(osv, module, pkg, function string) string {
	return `{"finding": {"osv": "` + osv + `", "fixed_version": "v2.0.0", "trace": [
		{"module": "` + module + `", "version": "v1.0.0", "package": "` + pkg + `", "function": "` + function + `"},
		{"module": "maintenance-controller.io", "package": "maintenance-controller.io/pkg/app", "function": "Run"}]}}`
}

func TestCalledFunctionIsVulnerable(t *testing.T) {
	for name, c := range map[string]struct{ finding, want string }{
		"called":       {trace("GO-1", "example.com/a", "example.com/a/b", "Parse"), "GO-1 in example.com/a@v1.0.0, at example.com/a/b.Parse: VULNERABLE, fixed in v2.0.0"},
		"required":     {trace("GO-1", "example.com/a", "", ""), "GO-1 in example.com/a@v1.0.0: not called"},
		"imported":     {trace("GO-1", "example.com/a", "example.com/a/b", "init"), "GO-1 in example.com/a@v1.0.0: imported but not called"},
		"of the types": {trace("GO-1", traefik, traefik+"/pkg/config/dynamic", "DeepCopyInto"), "GO-1 in " + traefik + "@v1.0.0: only Traefik's types are used"},
		"of its server": {
			trace("GO-1", traefik, traefik+"/pkg/server", "Start"),
			"GO-1 in " + traefik + "@v1.0.0, at " + traefik + "/pkg/server.Start: VULNERABLE, fixed in v2.0.0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := judge(strings.NewReader(`{"config": {}}` + c.finding + `{"progress": {}}`))
			require.NoError(t, err)
			require.Len(t, found, 1)
			assert.Equal(t, c.want, found[0].String())
		})
	}
}

func TestWorstPlaceCounts(t *testing.T) {
	places := []string{
		trace("GO-1", "example.com/a", "", ""),
		trace("GO-1", "example.com/a", "example.com/a/b", "init"),
		trace("GO-1", "example.com/a", "example.com/a/b", "Parse"),
	}
	for range places {
		found, err := judge(strings.NewReader(strings.Join(places, "\n")))
		require.NoError(t, err)
		require.Len(t, found, 1)
		assert.Contains(t, found[0].String(), "VULNERABLE")
		places = append(places[1:], places[0])
	}
}

func TestUnreadableOutputIsAnError(t *testing.T) {
	for _, text := range []string{`{"finding": `, `{"finding": {"osv": "GO-1"}}`, `no JSON`} {
		_, err := judge(strings.NewReader(text))
		assert.Error(t, err, text)
	}
}

func TestAdvisoriesAreEmbedded(t *testing.T) {
	dir := t.TempDir()
	known, err := unpack(dir)
	require.NoError(t, err)
	assert.Greater(t, known.count, 100)
	assert.Greater(t, known.last, "GO-2026")
	assert.FileExists(t, dir+"/GO-2026-6061.json", "an advisory of gRPC")
}
