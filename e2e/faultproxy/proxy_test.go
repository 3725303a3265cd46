package faultproxy

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

var configMaps = corev1.SchemeGroupVersion.WithResource("configmaps")

// server is a fake API server. It creates whatever it is sent, and its watches show a
// ConfigMap for each name that is sent to events.
type server struct {
	*httptest.Server
	created atomic.Int32
	watched chan struct{} // a watch has started
	events  chan string   // a name for the next event
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{watched: make(chan struct{}, 100), events: make(chan string)}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch CallOf(r).Verb {
		case "create":
			body, _ := io.ReadAll(r.Body)
			s.created.Add(1)
			w.WriteHeader(http.StatusCreated)
			_, _ = w.Write(body)
		case "watch":
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			s.watched <- struct{}{}
			for {
				select {
				case name := <-s.events:
					_ = json.NewEncoder(w).Encode(map[string]any{"type": "ADDED", "object": map[string]any{
						"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name},
					}})
					_ = http.NewResponseController(w).Flush()
				case <-r.Context().Done():
					return
				}
			}
		default:
			_, _ = io.WriteString(w, `{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "there"}}`)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// through returns a client config for a proxy that injects these faults.
func (s *server) through(t *testing.T, faults FaultFunc) (*Proxy, *rest.Config) {
	t.Helper()
	p, err := Start(&rest.Config{Host: s.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, faults)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, p.WriteKubeconfig(path, clientcmdapi.AuthInfo{}))
	config, err := clientcmd.BuildConfigFromFlags("", path)
	require.NoError(t, err)
	config.ContentType = "application/json"
	return p, config
}

func always(f *Fault) FaultFunc { return func(Call) *Fault { return f } }

func create(t *testing.T, config *rest.Config) error {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	_, err = client.CoreV1().ConfigMaps("shop").Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "new"}}, metav1.CreateOptions{})
	return err
}

func TestEffectAndAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		fault   *Fault
		effects int32
		is      func(error) bool
	}{
		"no fault":           {nil, 1, func(err error) bool { return err == nil }},
		"409":                {Refuse(http.StatusConflict, metav1.StatusReasonConflict), 0, apierrors.IsConflict},
		"403":                {Refuse(http.StatusForbidden, metav1.StatusReasonForbidden), 0, apierrors.IsForbidden},
		"500":                {Refuse(http.StatusInternalServerError, metav1.StatusReasonInternalError), 0, apierrors.IsInternalError},
		"504 afterwards":     {TimeOutAfterEffect(), 1, apierrors.IsTimeout},
		"no answer":          {LoseAnswer(nil), 1, noAnswer},
		"nothing for a time": {Hang(time.Millisecond), 0, noAnswer},
		"slow":               {Slow(time.Millisecond), 1, func(err error) bool { return err == nil }},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			_, config := s.through(t, always(test.fault))
			err := create(t, config)
			assert.True(t, test.is(err), "%v", err)
			assert.Equal(t, test.effects, s.created.Load())
		})
	}
}

// noAnswer: an error that is not an answer of the API server.
func noAnswer(err error) bool {
	return err != nil && apierrors.ReasonForError(err) == metav1.StatusReasonUnknown
}

// TestThrottled: a 429 says when to retry, and client-go does so.
func TestThrottled(t *testing.T) {
	s := newServer(t)
	var calls atomic.Int32
	p, config := s.through(t, func(Call) *Fault {
		if calls.Add(1) == 1 {
			return Refuse(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests)
		}
		return nil
	})
	begin := time.Now()
	require.NoError(t, create(t, config))
	assert.GreaterOrEqual(t, time.Since(begin), time.Second, "Retry-After")
	assert.Equal(t, Counts{Calls: 2, Faults: map[string]int{"429": 1}, Writes: map[string]int{"create configmaps": 1}, Answers: map[int]int{http.StatusCreated: 1}}, p.Counts())
	assert.Equal(t, 1, p.Counts().Injected())
}

func TestCallbackRunsBetweenEffectAndAnswer(t *testing.T) {
	s := newServer(t)
	var effects int32
	_, config := s.through(t, always(LoseAnswer(func() { effects = s.created.Load() })))
	require.Error(t, create(t, config))
	assert.Equal(t, int32(1), effects)

	answered := make(chan struct{})
	_, config = s.through(t, always(AfterAnswer(func() { close(answered) })))
	require.NoError(t, create(t, config))
	<-answered
}

// TestExpire: all clients that the controller uses understand the 410.
func TestExpire(t *testing.T) {
	s := newServer(t)
	_, config := s.through(t, always(Expire()))
	binary := rest.CopyConfig(config)
	binary.AcceptContentTypes, binary.ContentType = "application/vnd.kubernetes.protobuf,application/json", "application/vnd.kubernetes.protobuf"
	typed, err := kubernetes.NewForConfig(binary)
	require.NoError(t, err)
	dyn, err := dynamic.NewForConfig(config)
	require.NoError(t, err)
	meta, err := metadata.NewForConfig(metadata.ConfigFor(config))
	require.NoError(t, err)
	for name, begin := range map[string]func() (watch.Interface, error){
		"typed": func() (watch.Interface, error) {
			return typed.CoreV1().ConfigMaps("shop").Watch(t.Context(), metav1.ListOptions{})
		},
		"dynamic": func() (watch.Interface, error) {
			return dyn.Resource(configMaps).Watch(t.Context(), metav1.ListOptions{})
		},
		"metadata": func() (watch.Interface, error) {
			return meta.Resource(configMaps).Watch(t.Context(), metav1.ListOptions{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := begin()
			require.NoError(t, err)
			defer w.Stop()
			e := <-w.ResultChan()
			require.Equal(t, watch.Error, e.Type)
			assert.True(t, apierrors.IsResourceExpired(apierrors.FromObject(e.Object)), "%v", e.Object)
			_, open := <-w.ResultChan()
			assert.False(t, open, "the watch ends")
		})
	}
}

func watchThrough(t *testing.T, s *server, fault *Fault) <-chan watch.Event {
	t.Helper()
	_, config := s.through(t, always(fault))
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	w, err := client.CoreV1().ConfigMaps("shop").Watch(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	t.Cleanup(w.Stop)
	<-s.watched
	return w.ResultChan()
}

func TestCut(t *testing.T) {
	s := newServer(t)
	cuts := make(chan context.CancelFunc, 1)
	events := watchThrough(t, s, cutBy(func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cut := context.WithCancel(ctx)
		cuts <- cut
		return ctx, cut
	}))
	s.events <- "first"
	assert.Equal(t, watch.Added, (<-events).Type)
	(<-cuts)()
	for e := range events { // client-go reports the broken connection and ends the watch
		assert.Equal(t, watch.Error, e.Type)
	}

	synctest.Test(t, func(t *testing.T) {
		const after = 500 * time.Millisecond
		begin := time.Now()
		Cut(after).wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
		})).ServeHTTP(nil, httptest.NewRequest(http.MethodGet, "/", nil))
		assert.Equal(t, after, time.Since(begin))
	})
}

func TestEndWatches(t *testing.T) {
	s := newServer(t)
	p, config := s.through(t, nil)
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	w, err := client.CoreV1().ConfigMaps("shop").Watch(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	defer w.Stop()
	<-s.watched
	s.events <- "first"
	assert.Equal(t, watch.Added, (<-w.ResultChan()).Type)
	assert.Equal(t, 1, p.Watches())
	assert.Equal(t, 1, p.EndWatches())
	for e := range w.ResultChan() {
		assert.Equal(t, watch.Error, e.Type)
	}
	assert.Equal(t, 0, p.Watches())
	assert.Equal(t, 0, p.EndWatches())
}

func TestStaleEventsArriveLateAndInOrder(t *testing.T) {
	s := newServer(t)
	const wait = 200 * time.Millisecond
	events := watchThrough(t, s, Stale(wait))
	begin := time.Now()
	for _, name := range []string{"a", "b", "c"} {
		s.events <- name
	}
	for _, name := range []string{"a", "b", "c"} {
		e := <-events
		assert.Equal(t, name, e.Object.(*corev1.ConfigMap).Name)
		assert.GreaterOrEqual(t, time.Since(begin), wait)
	}
}

// TestStaleEventsDoNotAddUp: an event that arrives while another waits is no later than that one.
func TestStaleEventsDoNotAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait, apart = 500 * time.Millisecond, 100 * time.Millisecond
		var took []time.Duration
		begin := time.Now()
		passed := writes{ResponseWriter: httptest.NewRecorder(), on: func() { took = append(took, time.Since(begin)) }}
		Stale(wait).wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			for range 3 {
				_, _ = io.WriteString(w, "event")
				time.Sleep(apart)
			}
		})).ServeHTTP(passed, httptest.NewRequest(http.MethodGet, "/", nil))
		assert.Equal(t, []time.Duration{wait, wait + apart, wait + 2*apart}, took)
	})
}

// writes reports each write.
type writes struct {
	http.ResponseWriter
	on func()
}

func (w writes) Write(b []byte) (int, error) {
	w.on()
	return w.ResponseWriter.Write(b)
}

func TestGateHoldsEventsBack(t *testing.T) {
	s := newServer(t)
	gate := NewGate()
	events := watchThrough(t, s, gate.Hold())
	s.events <- "a"
	assert.Equal(t, watch.Added, (<-events).Type)
	gate.Shut()
	s.events <- "b"
	s.events <- "c"
	assert.Empty(t, events)
	gate.Open()
	for _, name := range []string{"b", "c"} {
		assert.Equal(t, name, (<-events).Object.(*corev1.ConfigMap).Name)
	}
}

func TestRandomFaultsAreReproducible(t *testing.T) {
	random := RandomFaults{Share: 0.2, Wait: time.Second, Life: time.Second}
	draw := func(seed uint64, verb string) (names []string) {
		random.Seed = seed
		faults := random.Func()
		for range 1000 {
			name := ""
			if f := faults(Call{Verb: verb, Resource: "ingresses", Name: "a"}); f != nil {
				name = f.Name
			}
			names = append(names, name)
		}
		return names
	}
	assert.Equal(t, draw(1, "get"), draw(1, "get"))
	assert.NotEqual(t, draw(1, "get"), draw(2, "get"))
	all := map[string]bool{}
	for verb, kinds := range map[string]int{"get": 8, "watch": 4} {
		faults := map[string]int{}
		for _, name := range draw(1, verb) {
			faults[name]++
			all[name] = true
		}
		assert.InDelta(t, 800, faults[""], 50, "no fault")
		delete(faults, "")
		assert.Len(t, faults, kinds, "each of them: %v", faults)
		for name, n := range faults {
			assert.InDelta(t, 200/kinds, n, float64(50/kinds), "%s comes as often as the others", name)
		}
	}
	for _, name := range random.Names() {
		assert.True(t, all[name], name)
	}
	assert.Len(t, all, len(random.Names())+1)
}

func TestCalls(t *testing.T) {
	for text, want := range map[string]Call{
		"GET /api/v1/namespaces/shop/services/my-app":                                 {Verb: "get", Namespace: "shop", Resource: "services", Name: "my-app"},
		"GET /api/v1/namespaces/shop":                                                 {Verb: "get", Resource: "namespaces", Name: "shop"},
		"GET /api/v1/pods?watch=true&resourceVersion=7":                               {Verb: "watch", Resource: "pods", Resumes: true},
		"GET /api/v1/pods?watch=1&resourceVersion=7&sendInitialEvents=true":           {Verb: "watch", Resource: "pods"},
		"GET /apis/networking.k8s.io/v1/ingresses?watch=true":                         {Verb: "watch", Resource: "ingresses"},
		"GET /apis/traefik.io/v1alpha1":                                               {Verb: "list"},
		"GET /apis/traefik.io/v1alpha1/namespaces/shop/ingressroutes?limit=500":       {Verb: "list", Namespace: "shop", Resource: "ingressroutes"},
		"PUT /apis/networking.k8s.io/v1/namespaces/shop/ingresses/my-app":             {Verb: "update", Namespace: "shop", Resource: "ingresses", Name: "my-app"},
		"PATCH /api/v1/namespaces/shop/events/x":                                      {Verb: "patch", Namespace: "shop", Resource: "events", Name: "x"},
		"DELETE /api/v1/namespaces/shop/configmaps/x":                                 {Verb: "delete", Namespace: "shop", Resource: "configmaps", Name: "x"},
		"PUT /apis/coordination.k8s.io/v1/namespaces/maintenance-system/leases/lease": {Verb: "update", Namespace: "maintenance-system", Resource: "leases", Name: "lease"},
	} {
		t.Run(text, func(t *testing.T) {
			var method, path string
			for i := range text {
				if text[i] == ' ' {
					method, path = text[:i], text[i+1:]
				}
			}
			c := CallOf(httptest.NewRequest(method, path, nil))
			assert.Equal(t, want, c)
			assert.Equal(t, method != http.MethodGet, c.Writes())
			assert.Equal(t, c.Writes() && c.Resource != "events" && c.Resource != "leases", c.ChangesObjects())
			assert.Equal(t, path == "/apis/traefik.io/v1alpha1", c.Discovery())
		})
	}
}

func TestKubeconfigIsReadableByOwnerOnly(t *testing.T) {
	s := newServer(t)
	p, _ := s.through(t, nil)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, p.WriteKubeconfig(path, clientcmdapi.AuthInfo{Token: "secret"}))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
}
