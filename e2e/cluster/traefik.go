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

// GatewayClass is the class of Gateways that Traefik serves. Their listeners use
// TraefikPort.
const GatewayClass = "traefik"

// TraefikPort is the port of TraefikURL.
func (c *Cluster) TraefikPort() int { return c.nodeOptions.WebPort }

// traefikUser is Traefik's user in the cluster.
const traefikUser = "traefik"

// traefikRules are Traefik's rights and its IngressClass.
//
//go:embed traefik/rules.yaml
var traefikRules []byte

// startTraefik starts Traefik on the machine's loopback, outside of the cluster. It
// reaches Pods through the links to the nodes.
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

// TraefikAccess writes a kubeconfig with Traefik's rights.
func (c *Cluster) TraefikAccess() (file string, err error) { return c.KubeconfigFor(traefikUser) }

// AnotherTraefik starts a second Traefik with this kubeconfig and returns its URL for
// visitors. It runs until stop is called or the cluster stops.
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

// traefik says how to start one.
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

// args keep Traefik's default behaviour: it applies a change at once, unless it applied
// another less than two seconds ago.
func (t traefik) args() []string {
	return []string{
		"--global.checknewversion=false", "--global.sendanonymoususage=false",
		"--log.level=INFO", "--accesslog=false",
		"--entrypoints.web.address=127.0.0.1:" + strconv.Itoa(t.web),
		"--entrypoints.traefik.address=127.0.0.1:" + strconv.Itoa(t.api),
		"--ping=true", "--api.insecure=true",
		"--api.dashboard=false", // the module does not contain the web pages
		"--providers.kubernetesingress=true",
		"--providers.kubernetesingress.ingressendpoint.ip=127.0.0.1", // makes it write the status of Ingresses
		"--providers.kubernetescrd=true",
		"--providers.kubernetesgateway=true",
	}
}
