package apiserver

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"

	"maintenance-controller.io/e2e/quiet"
	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/controller"
	ids "maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/readiness"
	"maintenance-controller.io/pkg/target"
)

// running is a controller at work.
type running struct {
	*controller.Controller
	requests *quiet.Counter
	stop     func()
}

type option func(*controller.Config, *rest.Config)

// start runs a controller on the world's namespace until the test ends or it is stopped.
// After a test that ends well it is left alone, until it has sent nothing for a while.
func (w *world) start(options ...option) *running {
	w.Helper()
	config := rest.CopyConfig(w.config)
	log := &testLog{t: w.T}
	c := controller.Config{
		Log:          log.logger(),
		Observe:      func(string, string, time.Duration) {},
		Installation: ids.Installation{ID: ids.Default},
		Keys:         annotations.DefaultKeys(), Kinds: target.Kinds(), Namespaces: []string{w.namespace}, OwnNamespace: w.own, NamespacePages: true,
		BuiltIn: pages.Default(), Ending: pages.Until, Template: pageset.Template{Image: imageServes, Replicas: 2, NetworkPolicy: pageset.PolicyAuto},
		Grace: 300 * time.Millisecond, Debounce: 20 * time.Millisecond, Discover: time.Second, Workers: 8,
		Settings: plan.Settings{Settle: 100 * time.Millisecond},
		AutoFor:  100 * time.Millisecond, AutoRecovery: 300 * time.Millisecond,
		DoorLimits: controller.DoorLimits{Doors: 20, Sets: 10},
	}
	for _, o := range options {
		o(&c, config)
	}
	requests, observe := quiet.NewCounter(), c.Observe
	config.Wrap(requests.Wrap)
	c.Observe = func(queue, result string, took time.Duration) {
		if result == "error" {
			requests.Failed()
		}
		observe(queue, result, took)
	}
	var err error
	kube, err := kubernetes.NewForConfig(config)
	require.NoError(w, err)
	c.Client, c.Discovery = kube, kube.Discovery()
	c.Dynamic, err = dynamic.NewForConfig(config)
	require.NoError(w, err)
	c.Metadata, err = metadata.NewForConfig(config)
	require.NoError(w, err)
	readers := readiness.New(readiness.Config{Client: kube, Log: c.Log})
	c.Readiness = readers
	events := record.NewBroadcaster(record.WithCorrelatorOptions(record.CorrelatorOptions{BurstSize: 1000}))
	events.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: w.client.CoreV1().Events("")})
	c.Recorder = events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: annotations.ManagedBy})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	r := &running{Controller: controller.New(c), requests: requests}
	read := make(chan struct{})
	go func() {
		defer close(read)
		readers.Run(ctx)
	}()
	go func() {
		defer close(done)
		defer func() { <-read }()
		defer events.Shutdown()
		if err := r.Run(ctx); err != nil && ctx.Err() == nil {
			w.Errorf("controller: %v", err)
		}
	}()
	var once sync.Once
	r.stop = func() { once.Do(func() { cancel(); <-done }) }
	w.Cleanup(func() {
		select {
		case <-done: // by the test
		default:
			w.leave(requests, log, r.stop)
		}
	})
	return r
}

// resting is where the controllers of all tests are left alone once their tests have
// ended: nothing is asked any more, and nobody writes.
var resting quiet.Room

// judgeRest waits until all have come to rest, and says whether they have.
func judgeRest() bool {
	began := time.Now()
	rested, restless := resting.Empty()
	fmt.Fprintf(os.Stderr, "%d controllers were left alone, %d sent requests all the same; %.1fs for the last of them\n", rested, len(restless), time.Since(began).Seconds())
	for _, what := range restless {
		fmt.Fprintln(os.Stderr, "RESTLESS", what)
	}
	return len(restless) == 0
}

// leave leaves a controller alone whose test has ended well, and stops any other. log
// is what it writes its log to.
func (w *world) leave(c *quiet.Counter, log *testLog, stop func()) {
	if w.Failed() || w.config.Host != plane.Config().Host { // an API server of the test's own goes with it
		stop()
		return
	}
	log.detach()
	resting.Leave(w.Name(), c, stop)
}

// wantRest wants it in the test, for controllers whose API server ends with it.
func wantRest(t *testing.T, c *quiet.Counter) {
	t.Helper()
	const bound = 45 * time.Second
	assert.NoError(t, quiet.Until(c, bound))
}

// testLog is the log of a test, until the test ends.
type testLog struct {
	mu sync.Mutex
	t  testing.TB
}

func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t != nil {
		l.t.Log(strings.TrimSuffix(string(p), "\n"))
	}
	return len(p), nil
}

func (l *testLog) detach() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t = nil
}

func (l *testLog) logger() *zap.Logger {
	return zap.New(zapcore.NewCore(zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()), zapcore.AddSync(l), zap.InfoLevel))
}
