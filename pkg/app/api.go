package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"maintenance-controller.io/pkg/api"
	"maintenance-controller.io/pkg/roster"
)

// apiOptions are the flags of the HTTP API.
type apiOptions struct {
	listen              string
	plain               bool
	certificate, key    string
	namespaces, origins []string
}

func (o *apiOptions) flags(f *pflag.FlagSet) {
	f.StringVar(&o.listen, "api-listen", "", "address of the HTTP API of every replica, such as :8443: /services, /status and /maintenance, see docs/checker.md. Empty = none, and nothing is watched for it")
	f.StringVar(&o.certificate, "api-tls-cert", "", "file with the API's certificate chain in PEM, read again when it changes; if empty, the program signs one itself when it starts")
	f.StringVar(&o.key, "api-tls-key", "", "file with its key in PEM, likewise")
	f.BoolVar(&o.plain, "api-plain-http", false, "answer the API's requests without TLS as well, such as behind a proxy that has it")
	f.StringSliceVar(&o.namespaces, "api-namespaces", nil, "namespaces that the API tells of, comma-separated; those that are served (--watch-namespaces) if empty. It asks nobody who they are")
	f.StringSliceVar(&o.origins, "api-cors-origins", nil, "origins whose scripts may read the API in a browser, comma-separated, such as https://shop.example; * for any, none if empty")
}

// validate names every flag that cannot be.
func (o *apiOptions) validate(watched []string) error {
	o.namespaces, o.origins = set(o.namespaces), set(o.origins)
	errs := []error{areNamespaces("api-namespaces", o.namespaces)}
	for _, namespace := range o.namespaces {
		if len(watched) > 0 && !slices.Contains(watched, namespace) {
			errs = append(errs, fmt.Errorf("--api-namespaces: %q is not among --watch-namespaces, so that nothing is known of it", namespace))
		}
	}
	for _, origin := range o.origins {
		if err := api.CheckOrigin(origin); err != nil {
			errs = append(errs, fmt.Errorf("--api-cors-origins: %w", err))
		}
	}
	if (o.certificate == "") != (o.key == "") {
		errs = append(errs, errors.New("--api-tls-cert, --api-tls-key: give both or neither"))
	}
	return errors.Join(errs...)
}

// served is the HTTP API of this replica.
type served struct {
	handler     *api.API
	certificate *api.Certificate
	roster      *roster.Roster
	server      api.Server
}

// api makes the HTTP API; nil if it is not asked for.
func (o *options) serveAPI(config *rest.Config, services api.Services, log *zap.Logger) (*served, error) {
	if o.api.listen == "" {
		return nil, nil //nolint:nilnil // there is none, which is no error
	}
	own := rest.CopyConfig(config)
	own.QPS, own.Burst = 200, 400 // of its own: it never waits for the controller's requests, nor they for its
	c, err := connect(own)
	if err != nil {
		return nil, err
	}
	kinds, err := kinds(o.targets)
	if err != nil {
		return nil, err
	}
	s := &served{}
	if s.certificate, err = api.NewCertificate(o.api.certificate, o.api.key, clock.RealClock{}, log); err != nil {
		return nil, err
	}
	namespaces := o.api.namespaces
	if len(namespaces) == 0 {
		namespaces = o.watchNamespaces
	}
	s.roster = roster.New(roster.Config{
		Metadata: c.metadata, Discovery: c.discovery, Dynamic: c.dynamic, Log: log,
		Namespaces: namespaces, Kinds: kinds, Keys: o.keys, Discover: o.discover,
	})
	s.handler = api.New(api.Config{Services: services, Maintenance: s.roster, Namespaces: namespaces, Origins: o.api.origins})
	s.server = api.Server{Address: o.api.listen, Handler: s.handler, Plain: o.api.plain, Certificate: s.certificate}
	return s, nil
}

// run serves until ctx ends.
func (s *served) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { s.roster.Run(ctx) })
	return s.server.Run(ctx)
}

// ready says whether the API could answer; one that there is none of could.
func (s *served) ready() bool { return s == nil || s.certificate.Ready() && s.handler.Ready() }
