package chart

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/openapi"

	"maintenance-controller.io/e2e/binaries"
)

// TestManifestsFitTheirSchemas runs kubeconform with the schemas of the test's API server, which
// are made strict to refuse unknown fields.
func TestManifestsFitTheirSchemas(t *testing.T) {
	t.Parallel()
	installMonitoringCRDs(t)
	schemas := writeSchemas(t)
	conform := func(manifest string) (string, error) {
		location := filepath.Join(schemas, "{{.ResourceKind}}{{.KindSuffix}}.json")
		return runTool(t, binaries.Kubeconform(), manifest, "-strict", "-summary", "-schema-location", location, "-")
	}
	for name, values := range variants(t) {
		out, err := conform(render(t, values))
		assert.NoError(t, err, "%s\n%s", name, out)
		assert.Contains(t, out, "Skipped: 0", name)
	}
	for _, name := range []string{"install.yaml", "service-targets.yaml", "api.yaml"} {
		manifest, err := os.ReadFile(filepath.Join(root(t), "deploy/manifests", name))
		require.NoError(t, err)
		out, err := conform(string(manifest))
		assert.NoError(t, err, "%s\n%s", name, out)
	}
	// Prove that the check can fail.
	for from, to := range map[string]string{"readinessProbe:": "readynessProbe:", "replicas: 2": "replicas: two"} {
		out, err := conform(strings.Replace(render(t, os.DevNull), from, to, 1))
		assert.Error(t, err, to)
		assert.Contains(t, out, "Invalid: 1", to)
	}
}

// installMonitoringCRDs installs the Prometheus operator's CRDs from its Go module.
func installMonitoringCRDs(t *testing.T) {
	t.Helper()
	const module = "github.com/prometheus-operator/prometheus-operator"
	var dir []byte
	for _, args := range [][]string{{"mod", "download", module}, {"list", "-m", "-f", "{{.Dir}}", module}} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = filepath.Join(root(t), "e2e/build/prometheus-operator")
		var err error
		dir, err = cmd.Output()
		require.NoError(t, err, args)
	}
	for _, name := range []string{"servicemonitors", "prometheusrules"} {
		path := filepath.Join(strings.TrimSpace(string(dir)), "example/prometheus-operator-crd/monitoring.coreos.com_"+name+".yaml")
		crd, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, plane.Apply(t.Context(), crd))
	}
}

// kinds are the kinds in the chart and the manifests, by API path.
var kinds = map[string][]string{
	"api/v1":                            {"ConfigMap", "Namespace", "Service", "ServiceAccount"},
	"apis/apps/v1":                      {"Deployment"},
	"apis/batch/v1":                     {"Job"},
	"apis/policy/v1":                    {"PodDisruptionBudget"},
	"apis/rbac.authorization.k8s.io/v1": {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"},
	"apis/monitoring.coreos.com/v1":     {"ServiceMonitor", "PrometheusRule"},
	"apis/apiextensions.k8s.io/v1":      {"CustomResourceDefinition"},
}

// writeSchemas writes the API server's OpenAPI schemas to files with the names that kubeconform expects.
func writeSchemas(t *testing.T) (dir string) {
	t.Helper()
	client, err := discovery.NewDiscoveryClientForConfig(plane.Config())
	require.NoError(t, err)
	dir = t.TempDir()
	for path, wanted := range kinds {
		for _, kind := range wanted {
			group, version, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(path, "apis/"), "api/"), "/")
			name := strings.ToLower(kind) + "-" + strings.TrimSuffix(strings.Split(group, ".")[0]+"-"+version, "-") + ".json"
			text, err := json.Marshal(schemaOf(t, client.OpenAPIV3(), path, kind))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
		}
	}
	return dir
}

// schemaOf waits for a kind's schema: the API server publishes those of CRDs with a delay.
func schemaOf(t *testing.T, client openapi.Client, path, kind string) map[string]any {
	t.Helper()
	for deadline := time.Now().Add(waitTimeout); ; {
		components, err := componentsOf(client, path)
		for name, schema := range components {
			if err == nil && isTop(schema, kind) {
				return map[string]any{"$ref": "#/components/schemas/" + name, "components": map[string]any{"schemas": components}}
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the API server has no schema of %s %s: %v", path, kind, err)
		}
		time.Sleep(100 * time.Millisecond) // poll interval
	}
}

// componentsOf returns the strict schemas of an API path by name.
func componentsOf(client openapi.Client, path string) (map[string]any, error) {
	paths, err := client.Paths()
	if err != nil {
		return nil, err
	}
	if paths[path] == nil {
		return nil, fmt.Errorf("%s is not served", path)
	}
	text, err := paths[path].Schema("application/json")
	if err != nil {
		return nil, err
	}
	var document struct {
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(text, &document); err != nil {
		return nil, err
	}
	for _, schema := range document.Components.Schemas {
		tighten(schema)
	}
	return document.Components.Schemas, nil
}

// isTop reports whether a schema is that of the kind itself.
func isTop(schema any, kind string) bool {
	s, _ := schema.(map[string]any)
	gvks, _ := s["x-kubernetes-group-version-kind"].([]any)
	return len(gvks) == 1 && slices.ContainsFunc(gvks, func(gvk any) bool {
		g, _ := gvk.(map[string]any)
		return g["kind"] == kind
	})
}

// tighten makes a schema refuse unknown fields wherever it lists the known ones.
func tighten(schema any) {
	s, ok := schema.(map[string]any)
	if !ok {
		return
	}
	properties, ok := s["properties"].(map[string]any)
	if _, free := s["additionalProperties"]; ok && !free && s["x-kubernetes-preserve-unknown-fields"] == nil {
		s["additionalProperties"] = false
	}
	for property := range maps.Values(properties) {
		tighten(property)
	}
	tighten(s["items"])
	tighten(s["additionalProperties"])
}
