package controller

import (
	"context"
	"errors"
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
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/kubetest"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/readiness"
	"maintenance-controller.io/pkg/target"
	"maintenance-controller.io/pkg/wanted"
)

const namespace = "shop"

// world is a running controller in fake time.
type world struct {
	*testing.T
	*kubetest.Cluster
	events   *record.FakeRecorder
	services *readiness.Watcher
	listed   int                            // requests that newRequests has listed
	summary  atomic.Pointer[access.Summary] // what page Pods answer; a stored value must not be changed
}

// inWorld runs a test with a running controller and an Ingress called my-app.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	inWorldWithClock(t, clock.RealClock{}, test)
}

// inWorldWithClock is inWorld with a clock of its own.
func inWorldWithClock(t *testing.T, c clock.WithTicker, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, Cluster: kubetest.New(t), events: record.NewFakeRecorder(1000)}
		w.services = readiness.New(readiness.Config{Client: w.Client, Log: zap.NewNop()})
		ctl := New(Config{
			Readiness: w.services, AutoFor: time.Second, AutoRecovery: wanted.Recovery,
			Clock: c, Client: w.Client, Dynamic: w.Dynamic, Metadata: w.Metadata, Discovery: w.Client.Discovery(), Recorder: w.events, Log: zap.NewNop(),
			Keys: annotations.DefaultKeys(), Kinds: []target.Kind{target.Ingress(), target.IngressRoute()}, OwnNamespace: "own", BuiltIn: pages.Default(), BuiltInUntil: pages.Until,
			Template:   pageset.Template{Image: "page", Replicas: 2, NetworkPolicy: pageset.PolicyNever},
			DoorLimits: DoorLimits{Doors: 3, Sets: 2},
			AskPod: func(context.Context, string) (access.Summary, error) {
				if said := w.summary.Load(); said != nil {
					return *said, nil
				}
				return access.Summary{}, errors.New("nothing answers")
			},
			Grace: 2 * time.Minute, Debounce: time.Second, DiscoveryInterval: 10 * time.Second, Workers: 2,
			Settings: plan.Settings{Lead: time.Second, Settle: 3 * time.Second},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go w.services.Run(ctx)
		go func() { ended <- ctl.Run(ctx) }()
		defer func() {
			cancel()
			require.NoError(t, <-ended)
		}()
		<-ctl.Synced()
		_, err := w.Dynamic.Resource(target.Ingress().Resource).Namespace(namespace).Create(t.Context(), ingress(), metav1.CreateOptions{})
		require.NoError(t, err)
		w.pass(time.Second)
		test(w)
	})
}

func ingress() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": map[string]any{"namespace": namespace, "name": "my-app"},
		"spec": map[string]any{"defaultBackend": map[string]any{"service": map[string]any{"name": "my-app", "port": map[string]any{"number": int64(80)}}}},
	}}
}

// pass lets fake time pass, and everything that is due in it happen.
func (w *world) pass(d time.Duration) {
	time.Sleep(d) // fake time: it passes once everybody waits
	synctest.Wait()
}

func (w *world) get() *unstructured.Unstructured {
	w.Helper()
	u, err := w.Dynamic.Resource(target.Ingress().Resource).Namespace(namespace).Get(w.Context(), "my-app", metav1.GetOptions{})
	require.NoError(w, err)
	return u
}

func (w *world) annotate(key, value string) {
	w.Helper()
	u := w.get()
	all := u.GetAnnotations()
	if all == nil {
		all = map[string]string{}
	}
	if all[key] = value; value == "" {
		delete(all, key)
	}
	u.SetAnnotations(all)
	_, err := w.Dynamic.Resource(target.Ingress().Resource).Namespace(namespace).Update(w.Context(), u, metav1.UpdateOptions{})
	require.NoError(w, err)
}

func (w *world) backend() string {
	w.Helper()
	name, _, err := unstructured.NestedString(w.get().Object, "spec", "defaultBackend", "service", "name")
	require.NoError(w, err)
	return name
}

func (w *world) state() string { return w.get().GetAnnotations()[annotations.State] }

// newEvents lists the Events since the last call.
func (w *world) newEvents() (all []string) {
	for len(w.events.Events) > 0 {
		all = append(all, <-w.events.Events)
	}
	return all
}

// expectNoRequests lets time pass and fails on any request in it, except discovery.
func (w *world) expectNoRequests(d time.Duration) {
	w.Helper()
	before := len(w.Requests())
	w.pass(d)
	for _, request := range w.Requests()[before:] {
		if !strings.HasPrefix(request, "get resource ") {
			w.Errorf("unexpected request: %s", request)
		}
	}
}

func TestOnAndOff(t *testing.T) {
	inWorld(t, func(w *world) {
		w.expectNoRequests(time.Hour)
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Minute)
		assert.Equal(w, annotations.Pending, w.state(), "no Pod is ready")
		assert.Equal(w, "my-app", w.backend())
		w.expectNoRequests(time.Hour)

		w.MakePodsReady(w.T, namespace)
		w.pass(999 * time.Millisecond)
		assert.Equal(w, "my-app", w.backend(), "the page must have had endpoints for the lead time")
		w.pass(2 * time.Millisecond)
		assert.NotEqual(w, "my-app", w.backend())
		assert.Equal(w, annotations.Switching, w.state())
		w.pass(3 * time.Second)
		assert.Equal(w, annotations.Active, w.state())
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), "Normal MaintenanceStarted")
		w.expectNoRequests(23 * time.Hour)
		assert.Empty(w, w.newEvents())
		w.pass(time.Hour)
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), "Warning LongMaintenance")
		w.expectNoRequests(23 * time.Hour)

		w.annotate(annotations.DefaultEnabled, "")
		w.pass(time.Second)
		assert.Equal(w, ingress().Object["spec"], w.get().Object["spec"])
		assert.Empty(w, w.get().GetAnnotations())
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), "Normal MaintenanceEnded")
		w.expectNoRequests(time.Minute) // ingress controllers may still send visitors to the page
		w.pass(time.Minute)
		sets, err := w.Client.CoreV1().ConfigMaps(namespace).List(w.Context(), metav1.ListOptions{})
		require.NoError(w, err)
		assert.Empty(w, sets.Items, "page set and backup are deleted")
		w.pass(48 * time.Hour) // the reminders find that maintenance has ended
		w.expectNoRequests(24 * time.Hour)
	})
}

// TestContestedBackoff: a tool that keeps reverting the backends is answered with growing delays,
// and named.
func TestContestedBackoff(t *testing.T) {
	inWorld(t, func(w *world) {
		w.annotate(annotations.DefaultEnabled, "true")
		w.pass(time.Second)
		w.MakePodsReady(w.T, namespace)
		w.pass(time.Minute)
		require.Equal(w, annotations.Active, w.state())
		reverts := 0
		for range 600 { // one a second
			if w.backend() != "my-app" {
				u := w.get()
				u.Object["spec"] = ingress().Object["spec"]
				u.SetManagedFields([]metav1.ManagedFieldsEntry{{
					Manager: "argocd-controller", Operation: metav1.ManagedFieldsOperationApply, APIVersion: "networking.k8s.io/v1",
					FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:spec":{"f:defaultBackend":{}}}`)},
				}})
				u.SetGeneration(u.GetGeneration() + 1)
				_, err := w.Dynamic.Resource(target.Ingress().Resource).Namespace(namespace).Update(w.Context(), u, metav1.UpdateOptions{})
				require.NoError(w, err)
				reverts++
			}
			w.pass(time.Second)
		}
		// Three at once, then 1 s doubling to 60 s: six more in the first two minutes, and one in
		// each of the other eight.
		assert.InDelta(w, 17, reverts, 3)
		assert.Equal(w, annotations.Contested, w.state())
		assert.Contains(w, w.get().GetAnnotations()[annotations.Message], `"argocd-controller"`)
		assert.Contains(w, strings.Join(w.newEvents(), "\n"), "Warning BackendReverted")

		w.pass(2 * time.Minute)
		assert.Equal(w, annotations.Active, w.state(), "nobody has reverted it since")
		w.expectNoRequests(time.Hour)
	})
}
