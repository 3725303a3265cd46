package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/spf13/pflag"
	"go.uber.org/zap"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"maintenance-controller.io/pkg/api"
	"maintenance-controller.io/pkg/httpserve"
	"maintenance-controller.io/pkg/manual"
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
	f.StringVar(&o.listen, "api-listen", "", "address for the HTTP API of every replica, such as :8443: /services, /status and /maintenance, see "+manual.Checkers().URL()+". Empty = none, and nothing is watched for it")
	f.StringVar(&o.certificate, "api-tls-cert", "", "PEM file with the API's certificate chain, read again when it changes; empty = the program signs its own at every start")
	f.StringVar(&o.key, "api-tls-key", "", "PEM file with its key, read again when it changes")
	f.BoolVar(&o.plain, "api-plain-http", false, "also answer API requests without TLS, for example behind a proxy that terminates it")
	f.StringSliceVar(&o.namespaces, "api-namespaces", nil, "namespaces that the API reports on, comma-separated; empty = those of --watch-namespaces. The API does not authenticate clients")
	f.StringSliceVar(&o.origins, "api-cors-origins", nil, "origins whose scripts may read the API in a browser, comma-separated, such as https://shop.example; * = any, empty = none")
}

// validate returns an error that names all invalid flags.
func (o *apiOptions) validate(watched []string) error {
	o.namespaces, o.origins = unique(o.namespaces), unique(o.origins)
	errs := []error{checkNamespaces("api-namespaces", o.namespaces)}
	for _, namespace := range o.namespaces {
		if len(watched) > 0 && !slices.Contains(watched, namespace) {
			errs = append(errs, fmt.Errorf("--api-namespaces: %q is not among --watch-namespaces, so the API would know nothing about it", namespace))
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

// httpAPI is the HTTP API of this replica.
type httpAPI struct {
	handler     *api.API
	certificate *api.Certificate
	roster      *roster.Roster
	port        httpserve.Port
}

// httpAPI creates the HTTP API; nil if it is switched off.
func (o *options) httpAPI(config *rest.Config, services api.Services, log *zap.Logger) (*httpAPI, error) {
	if o.api.listen == "" {
		return nil, nil //nolint:nilnil // it is switched off, which is not an error
	}
	own := rest.CopyConfig(config)
	own.QPS, own.Burst = 200, 400 // separate limits: it and the controller never wait for each other
	c, err := connect(own)
	if err != nil {
		return nil, err
	}
	kinds, err := kinds(o.targets)
	if err != nil {
		return nil, err
	}
	a := &httpAPI{}
	if a.certificate, err = api.NewCertificate(o.api.certificate, o.api.key, clock.RealClock{}, log); err != nil {
		return nil, err
	}
	namespaces := o.api.namespaces
	if len(namespaces) == 0 {
		namespaces = o.watchNamespaces
	}
	a.roster = roster.New(roster.Config{
		Metadata: c.metadata, Discovery: c.discovery, Dynamic: c.dynamic, Log: log,
		Namespaces: namespaces, Kinds: kinds, Keys: o.keys, DiscoveryInterval: o.discover,
	})
	a.handler = api.New(api.Config{Services: services, Maintenance: a.roster, Namespaces: namespaces, Origins: o.api.origins})
	var handler http.Handler = a.handler
	if !o.api.plain {
		handler = api.RequireTLS(handler)
	}
	a.port = httpserve.Port{
		Flag: "api-listen", Address: o.api.listen, Handler: handler, Certificate: a.certificate.Get, AnswerTimeout: api.AnswerTimeout, Memory: api.Memory,
	}
	return a, nil
}

// run serves until ctx ends.
func (a *httpAPI) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { a.roster.Run(ctx) })
	return a.port.Run(ctx)
}

// ready says whether the API can answer, or is switched off.
func (a *httpAPI) ready() bool { return a == nil || a.certificate.Ready() && a.handler.Ready() }
