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
	"maintenance-controller.io/pkg/metrics"
	"maintenance-controller.io/pkg/part"
	"maintenance-controller.io/pkg/readiness"
)

// checkerOptions are the flags of ServiceCheckers.
type checkerOptions struct{ enabled, across bool }

func (o *checkerOptions) flags(f *pflag.FlagSet) {
	f.BoolVar(&o.enabled, "service-checkers", true, "watch ServiceCheckers, see docs/checker.md. Their CRD is waited for where it is not installed")
	f.BoolVar(&o.across, "checkers-across-namespaces", false, "let ServiceCheckers name Services of other namespaces than their own, and tell in their status how many endpoints these have")
}

// checking is what keeps ServiceCheckers in this replica.
type checking struct {
	registry *checker.Registry
	clients  *clients
	metrics  *metrics.Metrics
	log      *zap.Logger
}

// checkers makes what keeps ServiceCheckers; nil if they are switched off. Its requests
// are counted apart from the controller's: neither waits for the other's.
func (o *options) checking(config *rest.Config, services *readiness.Watcher, m *metrics.Metrics, log *zap.Logger) (*checking, error) {
	if !o.checkers.enabled {
		return nil, nil //nolint:nilnil // there is none, which is no error
	}
	c, err := connect(rest.CopyConfig(config))
	if err != nil {
		return nil, err
	}
	return &checking{clients: c, metrics: m, log: log, registry: checker.New(checker.Config{
		Dynamic: c.dynamic, Discovery: c.discovery, Readiness: services, Log: log, Observe: m.Observe,
		Namespaces: o.watchNamespaces, AcrossNamespaces: o.checkers.across, Discover: o.discover,
	})}, nil
}

// parts watch in every replica, and write in the leader.
func (c *checking) parts() []part.Part {
	if c == nil {
		return nil
	}
	return []part.Part{
		{Run: func(ctx context.Context) error { c.registry.Run(ctx); return nil }},
		{Leader: true, Run: c.write},
	}
}

// write keeps the status of ServiceCheckers, until ctx ends.
func (c *checking) write(ctx context.Context) error {
	events := record.NewBroadcaster()
	defer events.Shutdown()
	events.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: c.clients.client.CoreV1().Events("")})
	c.metrics.Checking(c.registry.Counts)
	checker.NewWriter(checker.WriterConfig{
		Registry: c.registry, Dynamic: c.clients.dynamic, Log: c.log, Observe: c.metrics.Observe, Wrote: c.metrics.StatusWritten,
		Recorder: events.NewRecorder(scheme.Scheme, corev1.EventSource{Component: annotations.ManagedBy}),
	}).Run(ctx)
	return nil
}

// told gives the Services that the HTTP API tells of; nil if nothing is checked.
func (c *checking) told() api.Services {
	if c == nil {
		return nil
	}
	return toldBy{c.registry}
}

// verdicts are what targets go by that name a checker; nil if nothing is checked.
func (c *checking) verdicts() controller.Checkers {
	if c == nil {
		return nil
	}
	return c.registry
}

// toldBy tells the API what a Registry knows.
type toldBy struct{ registry *checker.Registry }

// Services implements api.Services.
func (t toldBy) Services() ([]api.Service, bool) {
	all, known := t.registry.Services()
	told := make([]api.Service, len(all))
	for i, s := range all {
		told[i] = api.Service(s)
	}
	return told, known
}
