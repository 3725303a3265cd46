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

// traefikUser is the user that Traefik acts as.
const traefikUser = "traefik"

// traefikRules are Traefik's rights and its IngressClass.
//
//go:embed traefik/rules.yaml
var traefikRules []byte

// startTraefik starts Traefik on the machine's loopback, as an edge router outside
// of the cluster: it reaches Pods by the links to the nodes.
func (c *Cluster) startTraefik(ctx context.Context) error {
	if err := c.InstallTraefikCRDs(ctx); err != nil {
		return err
	}
	if err := c.Apply(ctx, traefikRules); err != nil {
		return err
	}
	access, err := c.KubeconfigFor(traefikUser)
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
	path, err := c.cache.Path(binaries.Traefik())
	if err != nil {
		return err
	}
	traefik, err := c.host.Start(process.Command{
		Name: "traefik", Path: path, Args: c.traefikArgs(),
		Env:     append(os.Environ(), "KUBECONFIG="+access),
		LogFile: filepath.Join(c.dir, "logs", "traefik.log"),
	})
	if err != nil {
		return err
	}
	return process.Wait{
		For: "Traefik", Timeout: startTimeout, Of: []*process.Process{traefik},
		Probe: func(ctx context.Context) error { return get(ctx, c.TraefikAPI()+"/ping") },
	}.Until(ctx)
}

// traefikArgs leave its behaviour as it is by default: it applies changes at once,
// unless the last one was less than two seconds ago.
func (c *Cluster) traefikArgs() []string {
	return []string{
		"--global.checknewversion=false", "--global.sendanonymoususage=false",
		"--log.level=INFO", "--accesslog=false",
		"--entrypoints.web.address=127.0.0.1:" + strconv.Itoa(c.nodeOptions.WebPort),
		"--entrypoints.traefik.address=127.0.0.1:" + strconv.Itoa(c.nodeOptions.APIPort),
		"--ping=true", "--api.insecure=true",
		"--api.dashboard=false", // the web pages are not in the module
		"--providers.kubernetesingress=true",
		"--providers.kubernetesingress.ingressendpoint.ip=127.0.0.1", // so that it writes status, as real ones do
		"--providers.kubernetescrd=true",
	}
}
