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

	"maintenance-controller.io/e2e/idle"
	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/controller"
	ids "maintenance-controller.io/pkg/installation"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/readiness"
	"maintenance-controller.io/pkg/target"
)

// runningController is a controller at work.
type runningController struct {
	*controller.Controller
	requests *idle.Counter
	stop     func()
}

type controllerOption func(*controller.Config, *rest.Config)

// startController runs a controller for the namespace until the test ends or stops it. If
// the test has passed, the controller keeps running until it is idle.
func (env *testEnv) startController(options ...controllerOption) *runningController {
	env.Helper()
	config := rest.CopyConfig(env.config)
	log := &testLog{t: env.T}
	c := controller.Config{
		Log:          log.logger(),
		Observe:      func(string, string, time.Duration) {},
		Installation: ids.Installation{ID: ids.Default},
		Keys:         annotations.DefaultKeys(), Kinds: target.Kinds(), Namespaces: []string{env.namespace}, OwnNamespace: env.controllerNamespace, NamespacePages: true,
		BuiltIn: pages.Default(), BuiltInUntil: pages.Until, Template: pageset.Template{Image: servingImage, Replicas: 2, NetworkPolicy: pageset.PolicyAuto},
		Grace: 300 * time.Millisecond, Debounce: 20 * time.Millisecond, DiscoveryInterval: time.Second, Workers: 8,
		Settings: plan.Settings{Settle: 100 * time.Millisecond},
		AutoFor:  100 * time.Millisecond, AutoRecovery: 300 * time.Millisecond,
		DoorLimits: controller.DoorLimits{Doors: 20, Sets: 10},
	}
	for _, o := range options {
		o(&c, config)
	}
	requests, observe := idle.NewCounter(), c.Observe
	config.Wrap(requests.Wrap)
	c.Observe = func(queue, result string, took time.Duration) {
		if result == "error" {
			requests.ReconcileFailed()
		}
		observe(queue, result, took)
	}
	var err error
	kube, err := kubernetes.NewForConfig(config)
	require.NoError(env, err)
	c.Client, c.Discovery = kube, kube.Discovery()
	c.Dynamic, err = dynamic.NewForConfig(config)
	require.NoError(env, err)
	c.Metadata, err = metadata.NewForConfig(config)
	require.NoError(env, err)
	readers := readiness.New(readiness.Config{Client: kube, Log: c.Log})
	c.Readiness = readers
	events := record.NewBroadcaster(record.WithCorrelatorOptions(record.CorrelatorOptions{BurstSize: 1000}))
	events.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: env.client.CoreV1().Events("")})
	c.Recorder = events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: annotations.ManagedBy})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	r := &runningController{Controller: controller.New(c), requests: requests}
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
			env.Errorf("controller: %v", err)
		}
	}()
	var once sync.Once
	r.stop = func() { once.Do(func() { cancel(); <-done }) }
	env.Cleanup(func() {
		select {
		case <-done: // the test stopped it
		default:
			env.stopWhenIdle(requests, log, r.stop)
		}
	})
	return r
}

// idleChecks watches the controllers of all tests after their tests have ended.
var idleChecks idle.Group

// reportIdleChecks waits for all checks and says whether all controllers became idle.
func reportIdleChecks() bool {
	began := time.Now()
	rested, restless := idleChecks.Wait()
	fmt.Fprintf(os.Stderr, "%d controllers were left alone, %d sent requests all the same; %.1fs for the last of them\n", rested, len(restless), time.Since(began).Seconds())
	for _, what := range restless {
		fmt.Fprintln(os.Stderr, "RESTLESS", what)
	}
	return len(restless) == 0
}

// stopWhenIdle stops a controller once it is idle, or at once if its test has failed. log
// is where the controller logs to.
func (env *testEnv) stopWhenIdle(c *idle.Counter, log *testLog, stop func()) {
	if env.Failed() || env.config.Host != plane.Config().Host { // the test's own API server ends with it
		stop()
		return
	}
	log.detach()
	idleChecks.Watch(env.Name(), c, stop)
}

// requireIdle is for controllers whose API server ends with the test.
func requireIdle(t *testing.T, c *idle.Counter) {
	t.Helper()
	const bound = 45 * time.Second
	assert.NoError(t, idle.Wait(c, bound))
}

// testLog writes to the log of a test, until detach.
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
