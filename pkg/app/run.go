package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/go-logr/zapr"
	"github.com/spf13/pflag"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"

	"maintenance-controller.io/pages"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/controller"
	"maintenance-controller.io/pkg/logging"
	"maintenance-controller.io/pkg/metrics"
	"maintenance-controller.io/pkg/plan"
	"maintenance-controller.io/pkg/version"
)

// Process is what the program gets from the operating system.
type Process struct {
	Args           []string // without the program's name
	Env            func(string) (string, bool)
	Stdout, Stderr io.Writer
}

// Exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// Main runs the controller until ctx ends, or the command that the arguments
// name, and gives the exit code.
func Main(ctx context.Context, p Process) int {
	if len(p.Args) > 0 && p.Args[0] == "restore" {
		return restoreMain(ctx, p)
	}
	o, err := parse(p.Args, p.Env, p.Stdout)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(p.Stderr, "maintenance-controller: %v\nSee maintenance-controller --help.\n", err)
		return exitUsage
	case o.version:
		fmt.Fprintln(p.Stdout, "maintenance-controller", version.String())
		return exitOK
	}
	log, err := logging.New(p.Stderr, o.logFormat, o.logLevel)
	if err != nil {
		fmt.Fprintf(p.Stderr, "maintenance-controller: --log-format, --log-level: %v\n", err)
		return exitUsage
	}
	if err := run(ctx, o, log); err != nil {
		log.Error("stopped", zap.Error(err))
		return exitError
	}
	log.Info("stopped")
	return exitOK
}

func run(ctx context.Context, o *options, log *zap.Logger) error {
	klog.SetLogger(zapr.NewLogger(log))
	config, err := o.cluster.config()
	if err != nil {
		return err
	}
	config.QPS, config.Burst = o.qps, o.burst
	c, err := connect(config)
	if err != nil {
		return err
	}
	leases, err := o.leases(config)
	if err != nil {
		return err
	}
	m := metrics.New()
	var ready atomic.Bool
	// Unhealthy once the Lease has not been renewed for so long after it ran out.
	watchdog := leaderelection.NewLeaderHealthzAdaptor(20 * time.Second)
	health := &health{ready: &ready, alive: watchdog.Check, metrics: m.Handler()}
	for _, s := range []serving{
		{flag: "listen", address: o.listen, handler: health.routes(), longest: 30 * time.Second},
		{flag: "debug-listen", address: o.debugListen, handler: debugRoutes(), longest: 5 * time.Minute},
	} {
		stop, err := s.serve(ctx, log)
		if err != nil {
			return err
		}
		defer stop()
	}
	log.Info("started", zap.String("version", version.Version), zap.String("commit", version.Commit), zap.String("server", config.Host))
	work := func(ctx context.Context) error {
		events := record.NewBroadcaster()
		defer events.Shutdown()
		events.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: c.client.CoreV1().Events("")})
		ctl, err := o.controller(c, events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: annotations.ManagedBy}), m, log)
		if err != nil {
			return err
		}
		m.Leading(ctl.Snapshot)
		ready.Store(false) // until all that it needs can be read
		go func() {
			select {
			case <-ctl.Synced():
				ready.Store(true)
			case <-ctx.Done():
			}
		}()
		return ctl.Run(ctx)
	}
	if !o.leaderElect {
		return ignoreCancelled(ctx, work(ctx))
	}
	return o.elect(ctx, election{leases: leases, log: log, ready: &ready, watchdog: watchdog, work: work})
}

// ignoreCancelled: to be told to stop is no error.
func ignoreCancelled(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (o *options) controller(c *clients, recorder record.EventRecorder, m *metrics.Metrics, log *zap.Logger) (*controller.Controller, error) {
	template, err := o.page.template()
	if err != nil {
		return nil, err
	}
	kinds, err := kinds(o.targets)
	if err != nil {
		return nil, err
	}
	return controller.New(controller.Config{
		Client: c.client, Dynamic: c.dynamic, Metadata: c.metadata, Discovery: c.discovery,
		Recorder: recorder, Log: log, Observe: m.Observe,
		Keys: o.keys, Kinds: kinds, Namespaces: o.watchNamespaces, Classes: o.classes,
		OwnNamespace: o.namespace, NamespacePages: o.namespacePages, BuiltIn: pages.Default(),
		Template: template, Grace: o.grace, Debounce: o.debounce, Discover: o.discover, Workers: o.workers,
		Settings: plan.Settings{Lead: o.lead, Settle: o.settle, ReadyTimeout: o.readyTimeout},
	}), nil
}
