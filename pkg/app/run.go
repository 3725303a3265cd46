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

// Main runs the controller until ctx ends, or the command that the arguments
// name, and gives the exit code.
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
	// Unhealthy once the Lease has not been renewed for so long after it ran out.
	watchdog := leaderelection.NewLeaderHealthzAdaptor(20 * time.Second)
	services := readiness.New(readiness.Config{Client: c.client, Log: log}) // it watches what somebody asks for
	checkers, err := o.checking(config, services, m, log)
	if err != nil {
		return err
	}
	frontEnds, err := o.serveAPI(config, checkers.told(), log)
	if err != nil {
		return err
	}
	health := adminserver.Health{Alive: watchdog.Check, Ready: func() bool { return ready.Load() && frontEnds.ready() }}
	parts := []part.Part{
		{Run: adminserver.Server{Flag: "listen", Address: o.listen, Handler: health.Routes(m.Handler()), Longest: 30 * time.Second}.Run},
		{Run: adminserver.Server{Flag: "debug-listen", Address: o.debugListen, Handler: profiles.Routes(), Longest: 5 * time.Minute}.Run},
		{Leader: true, Run: func(ctx context.Context) error {
			return o.control(ctx, c, watched{metrics: m, ready: &ready, services: services, checkers: checkers.verdicts(), log: log})
		}},
		{Run: func(ctx context.Context) error { services.Run(ctx); return nil }},
	}
	parts = append(parts, checkers.parts()...)
	if frontEnds != nil {
		parts = append(parts, part.Part{Run: frontEnds.run})
	}
	log.Info("started", zap.String("version", version.Version), zap.String("commit", version.Commit), zap.String("server", config.Host))
	return part.Run(ctx, parts, func(ctx context.Context, work func(context.Context) error) error {
		if !o.leaderElect {
			return ignoreCancelled(ctx, part.Alone(ctx, work))
		}
		return o.elect(ctx, election{leases: leases, log: log, ready: &ready, watchdog: watchdog, work: work})
	})
}

// watched is how others see the controller at work.
type watched struct {
	metrics  *metrics.Metrics
	ready    *atomic.Bool
	services *readiness.Watcher
	checkers controller.Checkers
	log      *zap.Logger
}

// control runs the controller, and says that the program is ready once it has read
// all that it needs.
func (o *options) control(ctx context.Context, c *clients, w watched) error {
	events := record.NewBroadcaster()
	defer events.Shutdown()
	events.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: c.client.CoreV1().Events("")})
	ctl, err := o.controller(c, events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: annotations.ManagedBy}), w)
	if err != nil {
		return err
	}
	w.metrics.Leading(ctl.Snapshot)
	w.ready.Store(false)
	go func() {
		select {
		case <-ctl.Synced():
			w.ready.Store(true)
		case <-ctx.Done():
		}
	}()
	return ctl.Run(ctx)
}

// ignoreCancelled: to be told to stop is no error.
func ignoreCancelled(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (o *options) controller(c *clients, recorder record.EventRecorder, w watched) (*controller.Controller, error) {
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
		services = w.services
	}
	return controller.New(controller.Config{
		Client: c.client, Dynamic: c.dynamic, Metadata: c.metadata, Discovery: c.discovery,
		Recorder: recorder, Log: w.log, Observe: w.metrics.Observe,
		Installation: o.installation(), Keys: o.keys, Kinds: kinds, Namespaces: o.watchNamespaces, Classes: o.classes,
		OwnNamespace: o.namespace, NamespacePages: o.namespacePages, BuiltIn: pages.Default(), Ending: pages.Until,
		LeasesOff: !o.watchLeases, Template: template, Grace: o.grace, Debounce: o.debounce, Discover: o.discover, Workers: o.workers,
		DoorLimits: controller.DoorLimits{Doors: o.page.maxDoors, Sets: o.page.maxSetsWithDoors},
		Settings:   settings, Readiness: services, Checkers: w.checkers, AutoFor: o.autoFor, AutoRecovery: wanted.Recovery,
	}), nil
}
