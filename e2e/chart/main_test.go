// Package chart tests the Helm chart and the manifests with Helm, helm-unittest, kubeconform,
// promtool and kubectl, on a real API server. Package node tests the chart with visitors.
package chart

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/helm"
	"maintenance-controller.io/e2e/testmain"
)

var plane *cluster.ControlPlane

// waitTimeout bounds every wait.
const waitTimeout = 60 * time.Second

func TestMain(m *testing.M) {
	os.Exit(testmain.Run(cluster.Options{CRDs: true}, func(p *cluster.ControlPlane) int { plane = p; return m.Run() }))
}

// tool returns the path of a program. The first call builds it.
func tool(t *testing.T, p binaries.Program) string {
	t.Helper()
	cache, err := binaries.NewCache(os.Stderr)
	require.NoError(t, err)
	require.NoError(t, cache.Build(t.Context(), p))
	path, err := cache.Path(p)
	require.NoError(t, err)
	return path
}

// runTool runs a program at the top of the tree and returns its output.
func runTool(t *testing.T, p binaries.Program, input string, args ...string) (out string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool(t, p), args...)
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+plane.Kubeconfig(), "KUBECACHEDIR="+t.TempDir())
	cmd.Stdin = strings.NewReader(input)
	text, err := cmd.CombinedOutput()
	return string(text), err
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := binaries.Root()
	require.NoError(t, err)
	return dir
}

// variants returns values files that together make the chart render everything.
func variants(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{
		"defaults":             os.DevNull,
		"everything":           "testdata/everything.yaml",
		"namespaces":           "testdata/namespaces.yaml",
		"maintenance-operator": filepath.Join(root(t), "deploy/chart/tests/operator_values.yaml"),
		"demo":                 filepath.Join(root(t), "e2e/demo/values.yaml"),
	}
}

// render renders the chart with its hooks.
func render(t *testing.T, values string, args ...string) string {
	t.Helper()
	values, err := filepath.Abs(values)
	require.NoError(t, err)
	args = append([]string{"template", helm.Release, "deploy/chart", "--namespace", helm.Namespace, "--values", values}, args...)
	out, err := runTool(t, binaries.Helm(), "", args...)
	require.NoError(t, err, out)
	return out
}

// objects decodes the objects of a manifest.
func objects(t *testing.T, manifest string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for d := yaml.NewYAMLOrJSONDecoder(bytes.NewBufferString(manifest), 4096); ; {
		u := &unstructured.Unstructured{}
		err := d.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		if len(u.Object) > 0 {
			all = append(all, u)
		}
	}
}

// ofKind returns the objects of a kind.
func ofKind(all []*unstructured.Unstructured, kind string) []*unstructured.Unstructured {
	var found []*unstructured.Unstructured
	for _, u := range all {
		if u.GetKind() == kind {
			found = append(found, u)
		}
	}
	return found
}
