package cluster

import (
	"context"
	_ "embed"
	"os"
	"path/filepath"
	"strconv"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/process"
)

// GatewayClass names the class of Gateways that Traefik serves. Their listeners have
// TraefikPort.
const GatewayClass = "traefik"

// TraefikPort is the port of TraefikURL.
func (c *Cluster) TraefikPort() int { return c.nodeOptions.WebPort }

// traefikUser is the user that Traefik acts as.
const traefikUser = "traefik"

// traefikRules are Traefik's rights and its IngressClass.
//
//go:embed traefik/rules.yaml
var traefikRules []byte

// startTraefik starts Traefik on the machine's loopback, as an edge router outside
// of the cluster: it reaches Pods by the links to the nodes.
func (c *Cluster) startTraefik(ctx context.Context) error {
	if err := c.InstallCRDs(ctx); err != nil {
		return err
	}
	if err := c.Apply(ctx, traefikRules); err != nil {
		return err
	}
	access, err := c.TraefikAccess()
	if err != nil {
		return err
	}
	for _, port := range []*int{&c.nodeOptions.WebPort, &c.nodeOptions.APIPort} {
		if *port == 0 {
			if *port, err = FreePort(); err != nil {
				return err
			}
		}
	}
	_, err = c.runTraefik(ctx, traefik{name: "traefik", access: access, web: c.nodeOptions.WebPort, api: c.nodeOptions.APIPort})
	return err
}

// TraefikAccess is a kubeconfig with the rights of Traefik.
func (c *Cluster) TraefikAccess() (file string, err error) { return c.KubeconfigFor(traefikUser) }

// AnotherTraefik starts one that reaches the API server by this kubeconfig, and gives
// its URL for visitors. It lives until it is stopped, or the cluster is.
func (c *Cluster) AnotherTraefik(ctx context.Context, access string) (url string, stop func(), err error) {
	t := traefik{access: access}
	for _, port := range []*int{&t.web, &t.api} {
		if *port, err = FreePort(); err != nil {
			return "", nil, err
		}
	}
	t.name = "traefik-" + strconv.Itoa(t.web)
	p, err := c.runTraefik(ctx, t)
	if err != nil {
		return "", nil, err
	}
	return c.loopback(t.web), p.Kill, nil
}

// traefik is one to be started.
type traefik struct {
	name     string
	access   string // kubeconfig
	web, api int    // ports
}

func (c *Cluster) runTraefik(ctx context.Context, t traefik) (*process.Process, error) {
	path, err := c.cache.Path(binaries.Traefik())
	if err != nil {
		return nil, err
	}
	p, err := c.host.Start(process.Command{
		Name: t.name, Path: path, Args: t.args(),
		Env:     append(os.Environ(), "KUBECONFIG="+t.access),
		LogFile: filepath.Join(c.dir, "logs", t.name+".log"),
	})
	if err != nil {
		return nil, err
	}
	return p, process.Wait{
		For: "Traefik", Timeout: startTimeout, Of: []*process.Process{p},
		Probe: func(ctx context.Context) error { return get(ctx, c.loopback(t.api)+"/ping") },
	}.Until(ctx)
}

// args leave its behaviour as it is by default: it applies changes at once, unless
// the last one was less than two seconds ago.
func (t traefik) args() []string {
	return []string{
		"--global.checknewversion=false", "--global.sendanonymoususage=false",
		"--log.level=INFO", "--accesslog=false",
		"--entrypoints.web.address=127.0.0.1:" + strconv.Itoa(t.web),
		"--entrypoints.traefik.address=127.0.0.1:" + strconv.Itoa(t.api),
		"--ping=true", "--api.insecure=true",
		"--api.dashboard=false", // the web pages are not in the module
		"--providers.kubernetesingress=true",
		"--providers.kubernetesingress.ingressendpoint.ip=127.0.0.1", // so that it writes status, as real ones do
		"--providers.kubernetescrd=true",
		"--providers.kubernetesgateway=true",
	}
}
