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

// TestConcurrentEditIsKept: somebody edits the target after the controller has read it and
// before it writes: a label, a backend, and a new host, route or port. No edit is lost, as
// the comparison with a twin shows: it got the same edits and was never in maintenance.
func TestConcurrentEditIsKept(t *testing.T) {
	t.Parallel()
	for _, k := range target.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			env := newTestEnv(t)
			env.apply(manifests[k.Name]("my-app"), manifests[k.Name]("twin"))
			editor := &concurrentEditor{testEnv: env, kind: k, seen: map[string]bool{}}
			env.startController(func(_ *controllerConfig, config *restConfig) { config.Wrap(editor.wrap) })
			env.enable(k.Resource, "my-app")
			env.waitFor(k.Resource, "my-app", "active", state(annotations.Active))
			env.disable(k.Resource, "my-app")
			u := env.waitFor(k.Resource, "my-app", "restored", restored)
			assert.Equal(t, env.authoredSpec(env.get(k.Resource, "twin")), env.authoredSpec(u))
			assert.GreaterOrEqual(t, editor.edits, 4, "swap, active, restore, and removal of the annotations")
			assert.Subset(t, editor.seen, map[string]bool{"switching, page": true, "active, page": true, "active, app": true, ", app": true})
			for n := range editor.edits {
				assert.Contains(t, u.GetLabels(), fmt.Sprintf("edit-%d", n))
			}
		})
	}
}

// concurrentEditor edits the target before the first attempt of each write. It edits the
// spec only before the first write of each kind, because each such edit during maintenance
// causes another swap.
type concurrentEditor struct {
	*testEnv
	kind   target.Kind
	writes int // no lock: a target is reconciled by one worker at a time
	edits  int
	seen   map[string]bool // kinds of writes
}

func (editor *concurrentEditor) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodPut && strings.HasSuffix(req.URL.Path, editor.kind.Resource.Resource+"/my-app") {
			// The second attempt is left alone, or it would never end.
			sort := editor.kindOfWrite(req)
			if editor.writes++; editor.writes%2 == 1 || !editor.seen[sort] {
				for _, name := range []string{"twin", "my-app"} {
					editor.edit(editor.kind.Resource, name, func(u *unstructured.Unstructured) {
						u.SetLabels(merged(u.GetLabels(), map[string]string{fmt.Sprintf("edit-%d", editor.edits): "kept"}))
						if !editor.seen[sort] {
							editSpec(u.Object["spec"].(map[string]any), editor.edits)
						}
					})
				}
				editor.seen[sort] = true
				editor.edits++
			}
		}
		return next.RoundTrip(req)
	})
}

// kindOfWrite is the state that a write sets, and where its backends lead.
func (editor *concurrentEditor) kindOfWrite(req *http.Request) string {
	raw, err := io.ReadAll(req.Body)
	u := &unstructured.Unstructured{}
	if err == nil {
		req.Body = io.NopCloser(bytes.NewReader(raw))
		err = u.UnmarshalJSON(raw)
	}
	if err != nil {
		editor.Errorf("read a write of the controller: %v", err)
		return ""
	}
	where := "app"
	if len(pageSetsOf(u)) > 0 {
		where = "page"
	}
	return u.GetAnnotations()[annotations.State] + ", " + where
}

// editSpec changes the backend of the first slot and adds a slot with a new name.
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
