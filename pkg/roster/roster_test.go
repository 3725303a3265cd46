package roster

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/api"
	"maintenance-controller.io/pkg/kubetest"
	"maintenance-controller.io/pkg/target"
)

// world is a cluster and a roster of it.
type world struct {
	*testing.T
	*kubetest.Cluster
	roster *Roster
}

func start(t *testing.T, c *kubetest.Cluster) *world {
	t.Helper()
	w := &world{t, c, New(Config{
		Metadata: c.Metadata, Discovery: c.Client.Discovery(), Dynamic: c.Dynamic, Log: zap.NewNop(),
		Kinds: []target.Kind{target.Ingress(), target.Service()}, Keys: annotations.DefaultKeys(), DiscoveryInterval: time.Hour,
	})}
	_, known := w.roster.Rows()
	assert.False(t, known, "nothing has been read")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); w.roster.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	w.settle()
	return w
}

func (w *world) settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

func object(kind target.Kind, name string, pairs map[string]string, hosts ...string) *unstructured.Unstructured {
	var rules []any
	for _, host := range hosts {
		rules = append(rules, map[string]any{"host": host})
	}
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": kind.APIVersion(), "kind": kind.Name, "spec": map[string]any{"rules": rules},
		"metadata": map[string]any{"namespace": "shop", "name": name},
	}}
	if kind.Name == "Ingress" {
		u.SetGeneration(1)
	}
	u.SetAnnotations(pairs)
	return u
}

func (w *world) create(kind target.Kind, u *unstructured.Unstructured) {
	w.Helper()
	_, err := w.Dynamic.Resource(kind.Resource).Namespace("shop").Create(w.Context(), u, metav1.CreateOptions{})
	require.NoError(w, err)
}

func (w *world) change(name string, to func(*unstructured.Unstructured)) {
	w.Helper()
	resource := w.Dynamic.Resource(target.Ingress().Resource).Namespace("shop")
	u, err := resource.Get(w.Context(), name, metav1.GetOptions{})
	require.NoError(w, err)
	to(u)
	_, err = resource.Update(w.Context(), u, metav1.UpdateOptions{})
	require.NoError(w, err)
	w.settle()
}

// rows returns kind/name, state and hosts of each row.
func (w *world) rows() string {
	w.Helper()
	rows, known := w.roster.Rows()
	require.True(w, known)
	var all []string
	for _, r := range rows {
		all = append(all, fmt.Sprintf("%s/%s %s %q", r.Kind, r.Name, r.State, r.Hosts))
	}
	return strings.Join(all, "\n")
}

// reads returns the GET requests since the last call, without those that start a watch.
func (w *world) reads(since *int) (sent []string) {
	all := w.Requests()
	for _, r := range all[*since:] {
		if strings.HasPrefix(r, "get ") {
			sent = append(sent, r)
		}
	}
	*since = len(all)
	return sent
}

var on = map[string]string{annotations.DefaultEnabled: "true", annotations.State: annotations.Switching}

// TestHostsAreReadOnce: once for each generation of a target in maintenance, and never for others.
func TestHostsAreReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, seen := start(t, kubetest.New(t)), 0
		w.create(target.Ingress(), object(target.Ingress(), "a", nil, "a.example", "*.b.example", ""))
		w.create(target.Ingress(), object(target.Ingress(), "asks", map[string]string{annotations.DefaultEnabled: "true"}, "c.example"))
		w.settle()
		assert.Empty(t, w.rows())
		assert.Empty(t, w.reads(&seen), "nothing is in maintenance")
		w.change("a", func(u *unstructured.Unstructured) { u.SetAnnotations(on); u.SetGeneration(2) })
		assert.Equal(t, `Ingress/a switching ["a.example" "*.b.example" "*"]`, w.rows())
		before, _ := w.roster.Rows()
		again, _ := w.roster.Rows()
		assert.Same(t, &before[0], &again[0])
		w.reads(&seen)
		w.change("a", func(u *unstructured.Unstructured) {
			u.SetAnnotations(map[string]string{annotations.DefaultEnabled: "true", annotations.State: annotations.Active, annotations.Since: "2026-03-01T12:00:00Z"})
		})
		assert.Equal(t, `Ingress/a active ["a.example" "*.b.example" "*"]`, w.rows())
		assert.Len(t, w.reads(&seen), 1, "the test's own request: the spec is the same")
		w.change("a", func(u *unstructured.Unstructured) {
			u.SetGeneration(3)
			u.Object["spec"] = map[string]any{"rules": []any{map[string]any{"host": "new.example"}}}
		})
		assert.Equal(t, `Ingress/a active ["new.example"]`, w.rows())
		assert.Len(t, w.reads(&seen), 2, "the test's own request, and one read")
		w.change("a", func(u *unstructured.Unstructured) { u.SetAnnotations(nil) })
		assert.Empty(t, w.rows())
		assert.Empty(t, w.roster.hosts)
		w.reads(&seen)
		time.Sleep(24 * time.Hour)
		assert.Empty(t, w.reads(&seen), "a day at rest")
	})
}

func TestRow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, kubetest.New(t))
		w.create(target.Service(), object(target.Service(), "web", map[string]string{
			annotations.DefaultEnabled: "true", annotations.DefaultCustomPage: "spring", annotations.State: annotations.Active, annotations.Since: "2026-03-01T12:00:00Z",
			"maintenance/reason": "a new\ndatabase", "maintenance/until": "2026-03-01T14:00:00Z", annotations.Message: "not told", annotations.Original: "not told",
		}))
		w.settle()
		rows, _ := w.roster.Rows()
		since := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		assert.Equal(t, []api.Row{{
			Kind: "Service", Namespace: "shop", Name: "web", Hosts: []string{}, State: "active", Since: since, Until: since.Add(2 * time.Hour), Reason: `a new\ndatabase`, Page: "spring",
		}}, rows)
		for _, r := range w.Requests() {
			assert.False(t, strings.HasPrefix(r, "get "), "a Service has no hosts: %s", r)
		}
	})
}

// TestUnreadableHosts: the target is listed all the same, and the read is retried.
func TestUnreadableHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := kubetest.New(t)
		var fails atomic.Bool
		fails.Store(true)
		c.Dynamic.PrependReactor("get", "ingresses", func(clienttesting.Action) (bool, runtime.Object, error) {
			if fails.Load() {
				return true, nil, fmt.Errorf("the server is busy")
			}
			return false, nil, nil
		})
		w := start(t, c)
		w.create(target.Ingress(), object(target.Ingress(), "a", on, "a.example"))
		w.settle()
		rows, _ := w.roster.Rows()
		require.Len(t, rows, 1)
		assert.Nil(t, rows[0].Hosts)
		fails.Store(false)
		time.Sleep(time.Minute)
		assert.Equal(t, `Ingress/a switching ["a.example"]`, w.rows())
		require.NoError(t, w.Dynamic.Resource(target.Ingress().Resource).Namespace("shop").Delete(t.Context(), "a", metav1.DeleteOptions{}))
		w.settle()
		w.create(target.Ingress(), object(target.Ingress(), "a", on, "b.example"))
		w.settle()
		assert.Equal(t, `Ingress/a switching ["b.example"]`, w.rows(), "another object of the same name and generation")
	})
}

func TestHostNames(t *testing.T) {
	assert.Equal(t, []string{"a.example", "*.b", "~^a.*$", "*"}, hostNames([]target.Host{
		{Form: target.ExactHost, Name: "a.example"}, {Form: target.WildcardHost, Name: "*.b"}, {Form: target.RegexpHost, Name: "^a.*$"}, {Form: target.NoHost},
	}))
	assert.Equal(t, []string{}, hostNames(nil))
}
