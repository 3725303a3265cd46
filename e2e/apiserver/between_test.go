package apiserver

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// TestAnEditInBetweenIsKept: somebody writes the target just before the controller's
// own writes, after it has read it: a label, another backend, and a host, route or
// port that was not there. None of those edits is lost, as a twin shows that got
// them as well and never was in maintenance.
func TestAnEditInBetweenIsKept(t *testing.T) {
	t.Parallel()
	for _, k := range target.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.apply(manifests[k.Name]("my-app"), manifests[k.Name]("twin"))
			b := &between{world: w, kind: k, met: map[string]bool{}}
			w.start(func(_ *controllerConfig, config *restConfig) { config.Wrap(b.wrap) })
			w.on(k.Resource, "my-app")
			w.until(k.Resource, "my-app", "active", state(annotations.Active))
			w.off(k.Resource, "my-app")
			u := w.until(k.Resource, "my-app", "restored", restored)
			assert.Equal(t, w.bare(w.get(k.Resource, "twin")), w.bare(u))
			assert.GreaterOrEqual(t, b.edits, 4, "swap, active, restore, and the end of the annotations")
			assert.Subset(t, b.met, map[string]bool{"switching, page": true, "active, page": true, "active, app": true, ", app": true})
			for n := range b.edits {
				assert.Contains(t, u.GetLabels(), fmt.Sprintf("edit-%d", n))
			}
		})
	}
}

// between edits the target before each first try of a write. The spec is edited
// before the first write of each sort alone: each such edit in maintenance is
// answered by another swap.
type between struct {
	*world
	kind   target.Kind
	writes int // one at a time: a target is reconciled by one worker
	edits  int
	met    map[string]bool // sorts of writes
}

func (b *between) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodPut && strings.HasSuffix(req.URL.Path, b.kind.Resource.Resource+"/my-app") {
			// The second try finds nobody in its way, or there would be no end.
			sort := b.sort(req)
			if b.writes++; b.writes%2 == 1 || !b.met[sort] {
				for _, name := range []string{"twin", "my-app"} {
					b.edit(b.kind.Resource, name, func(u *unstructured.Unstructured) {
						u.SetLabels(merged(u.GetLabels(), map[string]string{fmt.Sprintf("edit-%d", b.edits): "kept"}))
						if !b.met[sort] {
							editSpec(u.Object["spec"].(map[string]any), b.edits)
						}
					})
				}
				b.met[sort] = true
				b.edits++
			}
		}
		return next.RoundTrip(req)
	})
}

// sort tells what a write is for: the state that it writes, and where it leads.
func (b *between) sort(req *http.Request) string {
	raw, err := io.ReadAll(req.Body)
	u := &unstructured.Unstructured{}
	if err == nil {
		req.Body = io.NopCloser(bytes.NewReader(raw))
		err = u.UnmarshalJSON(raw)
	}
	if err != nil {
		b.Errorf("a write of the controller: %v", err)
		return ""
	}
	where := "app"
	if len(setsOf(u)) > 0 {
		where = "page"
	}
	return u.GetAnnotations()[annotations.State] + ", " + where
}

// editSpec writes another backend into the first slot, and adds one with a name
// that is not there yet.
func editSpec(spec map[string]any, n int) {
	app, port := fmt.Sprintf("app-%d", n), int64(7000+n)
	backend := map[string]any{"service": map[string]any{"name": app, "port": map[string]any{"number": port}}}
	rule := func(host string) any {
		paths := []any{map[string]any{"path": "/", "pathType": "Prefix", "backend": backend}}
		return map[string]any{"host": host, "http": map[string]any{"paths": paths}}
	}
	route := func(host string) any {
		return map[string]any{"kind": "Rule", "match": "Host(`" + host + "`)", "services": []any{map[string]any{"name": app, "port": port}}}
	}
	switch {
	case spec["rules"] != nil:
		rules := spec["rules"].([]any)
		rules[0] = rule("a.example")
		spec["rules"] = append(rules, rule(fmt.Sprintf("h%d.example", n)))
	case spec["routes"] != nil:
		routes := spec["routes"].([]any)
		routes[0] = route("a.example")
		spec["routes"] = append(routes, route(fmt.Sprintf("h%d.example", n)))
	default:
		spec["selector"] = map[string]any{"app": app}
		ports := spec["ports"].([]any)
		ports[0].(map[string]any)["targetPort"] = port
		spec["ports"] = append(ports, map[string]any{"name": app, "port": port, "protocol": "TCP", "targetPort": app})
	}
}
