package cluster

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"text/template"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/process"
)

// dnsFiles are templates of CoreDNS's configuration and of its objects in the cluster.
//
//go:embed dns/objects.yaml dns/Corefile
var dnsFiles embed.FS

// dnsReadyPort is the port on which CoreDNS reports that it knows all Services.
const dnsReadyPort = "8181"

// dnsValues fill the templates.
type dnsValues struct {
	Address   string // of CoreDNS
	ClusterIP string // of its Service, which Pods use
	ReadyPort string
	// Kubeconfig is the path of a kubeconfig with CoreDNS's rights.
	Kubeconfig string
}

// startDNS starts CoreDNS in the network of the first node, beside the API server, and
// returns when it is ready. It does not run in a Pod: to load its image would take two
// seconds of each start.
func (c *Cluster) startDNS(ctx context.Context) (err error) {
	values := dnsValues{Address: c.slot.nodeIP(0), ClusterIP: c.slot.dnsIP(), ReadyPort: dnsReadyPort}
	if values.Kubeconfig, err = c.KubeconfigFor("coredns"); err != nil {
		return err
	}
	objects, err := values.fill("objects.yaml")
	if err != nil {
		return err
	}
	if err := c.Apply(ctx, objects); err != nil {
		return fmt.Errorf("start CoreDNS: %w", err)
	}
	text, err := values.fill("Corefile")
	if err != nil {
		return err
	}
	corefile := filepath.Join(c.dir, "Corefile")
	if err := os.WriteFile(corefile, text, 0o600); err != nil {
		return fmt.Errorf("write the configuration of CoreDNS: %w", err)
	}
	p, err := c.ControlPlane.start(binaries.CoreDNS(), []string{"-conf", corefile})
	if err != nil {
		return err
	}
	return process.Wait{
		For: "CoreDNS", Timeout: startTimeout, Of: []*process.Process{p},
		Probe: func(ctx context.Context) error {
			return get(ctx, "http://"+net.JoinHostPort(values.Address, values.ReadyPort)+"/ready")
		},
	}.Until(ctx)
}

func (v dnsValues) fill(name string) ([]byte, error) {
	t, err := template.ParseFS(dnsFiles, "dns/"+name)
	if err != nil {
		return nil, fmt.Errorf("read the template of %s: %w", name, err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, v); err != nil {
		return nil, fmt.Errorf("fill in the template of %s: %w", name, err)
	}
	return out.Bytes(), nil
}
