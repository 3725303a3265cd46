package node

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// TestPodsResolveServiceNames resolves every form of a Service's name from a Pod on each node,
// and no longer once the Service is deleted.
func TestPodsResolveServiceNames(t *testing.T) {
	t.Parallel()
	e, other := newEnv(t), newEnv(t)
	hosts := map[string]string{"node-1": e.host("one"), "node-2": e.host("two")}
	var manifests []string
	for node, host := range hosts {
		name := "asker-of-" + node
		on := strings.Replace(appOf(name, "/streaming-app", ""), "    spec:\n", "    spec:\n      nodeName: "+node+"\n", 1)
		manifests = append(manifests, on, ingress(name, host, name, 80))
	}
	e.deploy([]string{hosts["node-1"], hosts["node-2"]}, manifests...)
	other.apply(app("their-app"))
	other.untilAvailable("their-app")
	e.apply(app("my-app"))
	e.untilAvailable("my-app")
	full := "their-app." + other.namespace + ".svc.cluster.local"
	for node, host := range hosts {
		for name, greets := range map[string]string{
			"my-app": "my-app", "my-app." + e.namespace + ".svc": "my-app",
			"their-app." + other.namespace: "their-app", "their-app." + other.namespace + ".svc": "their-app", full: "their-app", full + ".": "their-app",
		} {
			status, said := e.askFromApp(host, name, func(status int, _ string) bool { return status == http.StatusOK })
			assert.Equal(t, "hello from "+greets+": GET /\n", said, "%d for %s on %s", status, name, node)
		}
		other.kubectl("delete", "service", "their-app", "--ignore-not-found")
		// The nodes may drop the Service's address before its name is gone.
		_, said := e.askFromApp(host, full, func(status int, said string) bool {
			return status == http.StatusBadGateway && strings.Contains(said, "no such host")
		})
		assert.Contains(t, said, "no such host", "the name of a deleted Service, on %s", node)
		other.apply(app("their-app"))
	}
}

// askFromApp lets the app at host ask another app by name, until the answer is ok.
func (e *env) askFromApp(host, name string, ok func(status int, said string) bool) (status int, said string) {
	e.Helper()
	ctx, cancel := context.WithTimeout(e.Context(), waitTimeout)
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		v := visit{method: http.MethodGet, host: host, path: "/ask?url=" + url.QueryEscape("http://"+name+"/"), as: formats[0], fresh: true}
		var err error
		if status, _, said, err = exchange(ctx, v); err == nil && ok(status, said) {
			return status, said
		}
		select {
		case <-ctx.Done():
			e.Fatalf("%s asks %s: unexpected answer %d, %s, %v", host, name, status, said, err)
		case <-tick.C:
		}
	}
}
