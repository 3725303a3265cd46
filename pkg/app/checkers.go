package app

import (
	"context"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/api"
	"maintenance-controller.io/pkg/checker"
	"maintenance-controller.io/pkg/controller"
	"maintenance-controller.io/pkg/manual"
	"maintenance-controller.io/pkg/metrics"
	"maintenance-controller.io/pkg/part"
	"maintenance-controller.io/pkg/readiness"
)

// checkerOptions are the flags for ServiceCheckers.
type checkerOptions struct{ enabled, across bool }

func (o *checkerOptions) flags(f *pflag.FlagSet) {
	f.BoolVar(&o.enabled, "service-checkers", true, "watch ServiceCheckers, see "+manual.Checkers().URL()+". If their CRD is not installed, the controller waits for it")
	f.BoolVar(&o.across, "checkers-across-namespaces", false, "let ServiceCheckers name Services in other namespaces, and show in their status how many endpoints those have")
}

// serviceCheckers evaluates ServiceCheckers in this replica.
type serviceCheckers struct {
	everywhere bool // also in a standby, whose HTTP API reports them
	registry   *checker.Registry
	clients    *clients
	metrics    *metrics.Metrics
	log        *zap.Logger
}

// serviceCheckers creates what evaluates ServiceCheckers; nil if they are switched off. It has
// clients of its own, so that it and the controller never wait for each other.
func (o *options) serviceCheckers(config *rest.Config, services *readiness.Watcher, m *metrics.Metrics, log *zap.Logger) (*serviceCheckers, error) {
	if !o.checkers.enabled {
		return nil, nil //nolint:nilnil // they are switched off, which is not an error
	}
	c, err := connect(rest.CopyConfig(config))
	if err != nil {
		return nil, err
	}
	return &serviceCheckers{everywhere: o.api.listen != "", clients: c, metrics: m, log: log, registry: checker.New(checker.Config{
		Dynamic: c.dynamic, Discovery: c.discovery, Readiness: services, Log: log, Observe: m.Observe,
		Namespaces: o.watchNamespaces, AcrossNamespaces: o.checkers.across, DiscoveryInterval: o.discover,
	})}, nil
}

// parts watch where somebody asks for the result, and write in the leader.
func (c *serviceCheckers) parts() []part.Part {
	if c == nil {
		return nil
	}
	return []part.Part{
		{Leader: !c.everywhere, Run: func(ctx context.Context) error { c.registry.Run(ctx); return nil }},
		{Leader: true, Run: c.write},
	}
}

// write keeps the status of ServiceCheckers up to date until ctx ends.
func (c *serviceCheckers) write(ctx context.Context) error {
	events := record.NewBroadcaster()
	defer events.Shutdown()
	events.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: c.clients.client.CoreV1().Events("")})
	c.metrics.RegisterChecks(c.registry.Counts)
	checker.NewWriter(checker.WriterConfig{
		Registry: c.registry, Dynamic: c.clients.dynamic, Log: c.log, Observe: c.metrics.Observe, OnWrite: c.metrics.StatusWritten,
		Recorder: events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: annotations.ManagedBy}),
	}).Run(ctx)
	return nil
}

// services are the Services for the HTTP API; nil if ServiceCheckers are switched off.
func (c *serviceCheckers) services() api.Services {
	if c == nil {
		return nil
	}
	return registryServices{c.registry}
}

// verdicts are for targets that name a ServiceChecker; nil if these are switched off.
func (c *serviceCheckers) verdicts() controller.Checkers {
	if c == nil {
		return nil
	}
	return c.registry
}

// registryServices implements api.Services with a Registry.
type registryServices struct{ registry *checker.Registry }

// Services implements api.Services.
func (r registryServices) Services() ([]api.Service, bool) {
	all, known := r.registry.Services()
	services := make([]api.Service, len(all))
	for i, s := range all {
		services[i] = api.Service(s)
	}
	return services, known
}
