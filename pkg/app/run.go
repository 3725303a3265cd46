package app

import (
	"context"
	"errors"
	"fmt"
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
	"maintenance-controller.io/pkg/adminserver"
	"maintenance-controller.io/pkg/adminserver/profiles"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/controller"
	"maintenance-controller.io/pkg/flagenv"
	"maintenance-controller.io/pkg/httpserve"
	"maintenance-controller.io/pkg/logging"
	"maintenance-controller.io/pkg/metrics"
	"maintenance-controller.io/pkg/part"
	"maintenance-controller.io/pkg/readiness"
	"maintenance-controller.io/pkg/version"
	"maintenance-controller.io/pkg/wanted"
)

// Process is what the program gets from the operating system.
type Process = flagenv.Process

// Exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// Main runs the controller until ctx ends, or the command that the arguments name. It returns
// the exit code: 0 after a stop or success, 1 after an error, 2 for invalid flags or arguments.
func Main(ctx context.Context, p Process) int {
	if len(p.Args) > 0 {
		switch p.Args[0] {
		case "restore":
			return restoreMain(ctx, p)
		case "check-pages":
			return checkPagesMain(p)
		}
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
	// Unhealthy if the Lease has not been renewed for this long after it expired.
	watchdog := leaderelection.NewLeaderHealthzAdaptor(20 * time.Second)
	services := readiness.New(readiness.Config{Client: c.client, Log: log}) // it watches only what is requested
	checkers, err := o.serviceCheckers(config, services, m, log)
	if err != nil {
		return err
	}
	httpAPI, err := o.httpAPI(config, checkers.services(), log)
	if err != nil {
		return err
	}
	health := adminserver.Health{Alive: watchdog.Check, Ready: func() bool { return ready.Load() && httpAPI.ready() }}
	parts := []part.Part{
		{Run: httpserve.Port{Flag: "listen", Address: o.listen, Handler: health.Routes(m.Handler()), AnswerTimeout: 30 * time.Second, Memory: adminserver.Memory}.Run},
		{Run: httpserve.Port{Flag: "debug-listen", Address: o.debugListen, Handler: profiles.Routes(), AnswerTimeout: 5 * time.Minute, Memory: adminserver.Memory}.Run},
		{Leader: true, Run: func(ctx context.Context) error {
			return o.control(ctx, c, controlDeps{metrics: m, ready: &ready, services: services, checkers: checkers.verdicts(), log: log})
		}},
		{Run: func(ctx context.Context) error { services.Run(ctx); return nil }},
	}
	parts = append(parts, checkers.parts()...)
	if httpAPI != nil {
		parts = append(parts, part.Part{Run: httpAPI.run})
	}
	log.Info("started", zap.String("version", version.Version), zap.String("commit", version.Commit), zap.String("server", config.Host))
	return part.Run(ctx, parts, func(ctx context.Context, work func(context.Context) error) error {
		if !o.leaderElect {
			return ignoreCancelled(ctx, part.AlwaysLead(ctx, work))
		}
		return o.elect(ctx, election{leases: leases, log: log, ready: &ready, watchdog: watchdog, work: work})
	})
}

// controlDeps are the dependencies of the controller, besides its clients.
type controlDeps struct {
	metrics  *metrics.Metrics
	ready    *atomic.Bool // set once the controller has read everything it needs
	services *readiness.Watcher
	checkers controller.Checkers
	log      *zap.Logger
}

// control runs the controller until ctx ends.
func (o *options) control(ctx context.Context, c *clients, deps controlDeps) error {
	events := record.NewBroadcaster()
	defer events.Shutdown()
	events.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: c.client.CoreV1().Events("")})
	ctl, err := o.controller(c, events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: annotations.ManagedBy}), deps)
	if err != nil {
		return err
	}
	deps.metrics.SetLeading(ctl.Snapshot)
	deps.ready.Store(false)
	go func() {
		select {
		case <-ctl.Synced():
			deps.ready.Store(true)
		case <-ctx.Done():
		}
	}()
	return ctl.Run(ctx)
}

// ignoreCancelled drops the error of a context that ended, since a stop is not an error.
func ignoreCancelled(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (o *options) controller(c *clients, recorder record.EventRecorder, deps controlDeps) (*controller.Controller, error) {
	template, err := o.page.template()
	if err != nil {
		return nil, err
	}
	kinds, err := kinds(o.targets, o.solvers...)
	if err != nil {
		return nil, err
	}
	settings, err := o.settings()
	if err != nil {
		return nil, err
	}
	var services controller.Readiness
	if o.auto {
		services = deps.services
	}
	return controller.New(controller.Config{
		Client: c.client, Dynamic: c.dynamic, Metadata: c.metadata, Discovery: c.discovery,
		Recorder: recorder, Log: deps.log, Observe: deps.metrics.Observe,
		Installation: o.installation(), Keys: o.keys, Kinds: kinds, Namespaces: o.watchNamespaces, Classes: o.classes,
		OwnNamespace: o.namespace, NamespacePages: o.namespacePages, BuiltIn: pages.Default(), BuiltInUntil: pages.Until,
		DisableLeases: !o.watchLeases, Template: template, Grace: o.grace, Debounce: o.debounce, DiscoveryInterval: o.discover, Workers: o.workers,
		DoorLimits: controller.DoorLimits{Doors: o.page.maxDoors, Sets: o.page.maxSetsWithDoors},
		Settings:   settings, Readiness: services, Checkers: deps.checkers, AutoFor: o.autoFor, AutoRecovery: wanted.Recovery,
	}), nil
}
