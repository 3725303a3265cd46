package cluster_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/image"
	"maintenance-controller.io/e2e/tier"
)

// A visitor reaches an app's Pod through Traefik, by an Ingress and by an IngressRoute.
func TestVisitorsReachPods(t *testing.T) {
	tier.RequireNodes(t)
	ctx := t.Context()
	c, err := cluster.Start(ctx, cluster.NodeOptions{
		Options: cluster.Options{Dir: t.TempDir(), Log: os.Stderr}, Nodes: 2,
		Images: []string{sampleApp(t)},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	manifest, err := os.ReadFile("testdata/app.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(ctx, manifest); err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"ingress.localhost", "route.localhost"} {
		for _, app := range []string{"one", "two"} { // one on each node
			want := "hello from " + app + ": GET /" + app + "/x\n"
			eventually(t, want, func(ctx context.Context) bool {
				status, body := visit(ctx, c.TraefikURL()+"/"+app+"/x", host)
				return status == http.StatusOK && body == want
			})
		}
	}
}

// sampleApp is the archive of the sample app's image.
func sampleApp(t *testing.T) string {
	t.Helper()
	cache, err := binaries.NewCache(nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	program := filepath.Join(dir, "sample-app")
	if err := cache.BuildOwn(t.Context(), "maintenance-controller.io/e2e/sampleapp", program); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "sample-app.tar")
	spec := image.Spec{Reference: "sample-app:dev", Programs: []string{program}, Entrypoint: "sample-app"}
	if err := image.Write(archive, spec); err != nil {
		t.Fatal(err)
	}
	return archive
}

// visit asks as a visitor of a host does; status 0 is no answer.
func visit(ctx context.Context, url, host string) (status int, body string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	var text strings.Builder
	_, err = io.Copy(&text, resp.Body)
	if closeErr := resp.Body.Close(); err != nil || closeErr != nil {
		return 0, ""
	}
	return resp.StatusCode, text.String()
}
