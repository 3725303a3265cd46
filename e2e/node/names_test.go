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

// TestPodsFindServicesByName, on each node, by every form of the name and none else.
func TestPodsFindServicesByName(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	hosts := map[string]string{"node-1": w.host("one"), "node-2": w.host("two")}
	var manifests []string
	for node, host := range hosts {
		name := "asker-of-" + node
		on := strings.Replace(appOf(name, "/lasting-app", ""), "    spec:\n", "    spec:\n      nodeName: "+node+"\n", 1)
		manifests = append(manifests, on, ingress(name, host, name, 80))
	}
	w.serve([]string{hosts["node-1"], hosts["node-2"]}, manifests...)
	other.apply(app("their-app"))
	other.untilAvailable("their-app")
	w.apply(app("my-app"))
	w.untilAvailable("my-app")
	full := "their-app." + other.namespace + ".svc.cluster.local"
	for node, host := range hosts {
		for name, greets := range map[string]string{
			"my-app": "my-app", "my-app." + w.namespace + ".svc": "my-app",
			"their-app." + other.namespace: "their-app", "their-app." + other.namespace + ".svc": "their-app", full: "their-app", full + ".": "their-app",
		} {
			status, said := w.asks(host, name, func(status int) bool { return status == http.StatusOK })
			assert.Equal(t, "hello from "+greets+": GET /\n", said, "%d for %s on %s", status, name, node)
		}
		other.kubectl("delete", "service", "their-app", "--ignore-not-found")
		_, said := w.asks(host, full, func(status int) bool { return status == http.StatusBadGateway })
		assert.Contains(t, said, "no such host", "a Service that has gone, on %s", node)
		other.apply(app("their-app"))
	}
}

// asks has the app at a host ask another by its name, until the answer is as it should be.
func (w *world) asks(host, name string, ok func(status int) bool) (status int, said string) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), patience)
	defer cancel()
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		v := visit{method: http.MethodGet, host: host, path: "/ask?url=" + url.QueryEscape("http://"+name+"/"), as: formats[0], fresh: true}
		var err error
		if status, _, said, err = exchange(ctx, v); err == nil && ok(status) {
			return status, said
		}
		select {
		case <-ctx.Done():
			w.Fatalf("%s asks %s: %d, %s, %v", host, name, status, said, err)
		case <-tick.C:
		}
	}
}
