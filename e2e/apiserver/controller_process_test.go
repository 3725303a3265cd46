package apiserver

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/controllerproc"
)

// controllerProcess is a running maintenance-controller.
type controllerProcess struct {
	*controllerproc.Process
	address string
	log     *safeBuffer
}

type safeBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *safeBuffer) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *safeBuffer) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func startProcess(t *testing.T, kubeconfig string, args ...string) *controllerProcess {
	t.Helper()
	p := &controllerProcess{address: freeAddress(t), log: &safeBuffer{}}
	var err error
	args = append([]string{"--kubeconfig=" + kubeconfig, installationFlag, "--listen=" + p.address, "--page-image=" + servingImage, "--page-lead-time=20ms", "--settle-time=100ms",
		"--page-set-grace-period=300ms", "--lease-duration=60s", "--lease-renew-deadline=40s", "--lease-retry-period=500ms"}, args...)
	p.Process, err = controllerproc.Start(p.log, args...)
	require.NoError(t, err)
	t.Cleanup(func() {
		p.Stop()
		if t.Failed() {
			t.Log(p.log)
		}
	})
	return p
}

// freeAddress returns an unused loopback address.
func freeAddress(t require.TestingT) string {
	port, err := cluster.FreePort()
	require.NoError(t, err)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

func (p *controllerProcess) get(t *testing.T, path string) string {
	t.Helper()
	return httpGet(t, p.address, path)
}

func (p *controllerProcess) waitForMetric(t *testing.T, line string) {
	t.Helper()
	waitForMetric(t, p.address, line)
}

// metric reads a metric without labels.
func (p *controllerProcess) metric(t *testing.T, name string) float64 {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(p.get(t, "/metrics"))
	require.NotNil(t, found, name)
	value, err := strconv.ParseFloat(found[1], 64)
	require.NoError(t, err)
	return value
}

// httpGet waits until the program at an address answers a path with 200.
func httpGet(tb testing.TB, address, path string) string {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), waitTimeout)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
		require.NoError(tb, err)
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err == nil && resp.StatusCode == http.StatusOK {
				return string(body)
			}
		}
		select {
		case <-ctx.Done():
			tb.Fatalf("timed out waiting for %s: %v", path, err)
		case <-after(20 * time.Millisecond):
		}
	}
}

// waitForMetric waits until the metrics of the program at an address have this line.
func waitForMetric(tb testing.TB, address, line string) {
	tb.Helper()
	deadline := time.Now().Add(waitTimeout)
	for !strings.Contains(httpGet(tb, address, "/metrics"), "\n"+line) {
		if time.Now().After(deadline) {
			tb.Fatalf("timed out waiting for the metric %s", line)
		}
		<-after(20 * time.Millisecond)
	}
}

// installManifests applies install.yaml, and the manifests that are named besides, and
// returns a kubeconfig of the controller's service account. So the controller has just the
// rights of these manifests.
func installManifests(t *testing.T, plane *cluster.ControlPlane, more ...string) (kubeconfig string) {
	t.Helper()
	manifest, err := os.ReadFile("../../deploy/manifests/install.yaml")
	require.NoError(t, err)
	// The controller of the manifest must not run: the test starts its own.
	text := strings.Replace(string(manifest), "replicas: 2", "replicas: 0", 1)
	require.NoError(t, plane.Apply(t.Context(), []byte(text)))
	for _, name := range more {
		manifest, err := os.ReadFile("../../deploy/manifests/" + name)
		require.NoError(t, err)
		require.NoError(t, plane.Apply(t.Context(), manifest))
	}
	const sa = "system:serviceaccount:maintenance-system:maintenance-controller"
	kubeconfig, err = plane.KubeconfigFor(sa, "system:serviceaccounts", "system:serviceaccounts:maintenance-system", "system:authenticated")
	require.NoError(t, err)
	return kubeconfig
}
