package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/image"
	"maintenance-controller.io/e2e/process"
)

// NodeOptions of a cluster with nodes. The zero value is usable.
type NodeOptions struct {
	Options
	Nodes  int      // 1 to 4; 0 means 1
	Images []string // archives of images that are loaded into every node
	// Traefik listens on these ports of the loopback: WebPort for visitors, APIPort for
	// its health check and API. 0 means any free port.
	WebPort, APIPort int
}

// Cluster is a control plane with nodes and Traefik in front.
type Cluster struct {
	*ControlPlane
	nodeOptions NodeOptions
	slot        slot
	claimed     bool
	host        *process.Group
	packages    *binaries.Packages
	nodes       []*node
	stop        sync.Once
}

// ErrNotRoot is returned by Start to users other than root: only root can make a node's
// namespaces and cgroups.
var ErrNotRoot = errors.New("a cluster with nodes needs root")

// Start starts a cluster with nodes. It returns when the nodes are ready and Traefik
// answers. The cluster runs until Stop is called or this process ends.
func Start(ctx context.Context, o NodeOptions) (_ *Cluster, err error) {
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	o.Nodes = max(1, o.Nodes)
	if o.Nodes > maxNodes {
		return nil, fmt.Errorf("start a cluster of %d nodes: %d is the maximum", o.Nodes, maxNodes)
	}
	// The API server comes last: it runs in the first node's network.
	cp := &ControlPlane{options: o.Options, log: o.Log}
	if cp.cache, err = binaries.NewCache(o.Log); err != nil {
		return nil, err
	}
	c := &Cluster{ControlPlane: cp, nodeOptions: o}
	if err := cp.cache.Build(ctx, binaries.Nodes()...); err != nil {
		return nil, err
	}
	if c.packages, err = cp.cache.Packages(ctx); err != nil {
		return nil, err
	}
	if err := cp.makeDir(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Stop()
		}
	}()
	return c, c.start(ctx)
}

func (c *Cluster) start(ctx context.Context) (err error) {
	begin := time.Now()
	if c.host, err = process.NewGroup(process.Options{}); err != nil {
		return err
	}
	pause := filepath.Join(c.dir, "bin", "pause")
	if err := c.cache.BuildOwn(ctx, "maintenance-controller.io/e2e/cmd/pause", pause); err != nil {
		return err
	}
	pauseArchive := filepath.Join(c.dir, "images", "pause.tar")
	if err := image.Write(pauseArchive, image.Spec{Reference: pauseImage, Programs: []string{pause}, Entrypoint: "pause"}); err != nil {
		return err
	}
	if err := c.makeSandboxes(ctx, pause); err != nil {
		return err
	}
	all, allCtx := errgroup.WithContext(ctx)
	all.Go(func() error { return c.startOwnControlPlane(allCtx) })
	for _, n := range c.nodes {
		all.Go(func() error {
			if err := n.startContainerd(allCtx); err != nil {
				return err
			}
			return loadImages(allCtx, c.packages, n.init.Pid(), append([]string{pauseArchive}, c.nodeOptions.Images...)...)
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	if err := c.startNodes(ctx); err != nil {
		return err
	}
	c.logf("nodes ready after %s", since(begin))
	if err := c.startTraefik(ctx); err != nil {
		return err
	}
	c.logf("Traefik answers at %s after %s", c.TraefikURL(), since(begin))
	return nil
}

// makeSandboxes makes a sandbox for each node and connects them.
func (c *Cluster) makeSandboxes(ctx context.Context, pause string) error {
	for i := range c.nodeOptions.Nodes {
		name := "node-" + strconv.Itoa(i+1)
		s, err := newSandbox(c.host, c.dir, name, pause)
		if err != nil {
			return err
		}
		n := &node{sandbox: s, index: i, cluster: c, config: filepath.Join(c.dir, "nodes", name+".config")}
		c.nodes = append(c.nodes, n)
		if i == 0 {
			if c.slot, err = claim(s); err != nil {
				return err
			}
			c.claimed = true
		} else if err := c.slot.linkHost(i, s); err != nil {
			return fmt.Errorf("connect %s: %w", name, err)
		}
		for j := range i {
			if err := c.slot.linkNodes(j, i, c.nodes[j].sandbox, s); err != nil {
				return fmt.Errorf("connect %s: %w", name, err)
			}
		}
		if err := makeCgroup(c.slot.cgroup(i)); err != nil {
			return err
		}
		if err := s.furnish(ctx, c.dir); err != nil {
			return err
		}
	}
	return nil
}

// startOwnControlPlane starts the control plane in the network of the first node. The
// machine's firewall then cannot come between it and the nodes.
func (c *Cluster) startOwnControlPlane(ctx context.Context) error {
	first := c.nodes[0].init.Pid()
	return c.bringUp(ctx, &network{
		address:     c.slot.nodeIP(0),
		serviceCIDR: c.slot.serviceCIDR(),
		serviceIP:   c.slot.serviceIP(),
		enter:       func() error { return enterNetwork(first) },
	})
}

func (c *Cluster) startNodes(ctx context.Context) error {
	access, err := c.KubeconfigFor("system:kube-scheduler")
	if err != nil {
		return err
	}
	if _, err := c.ControlPlane.start(binaries.KubeScheduler(), []string{
		"--kubeconfig=" + access, "--secure-port=0", "--leader-elect=false",
	}); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := n.join(); err != nil {
			return err
		}
	}
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return c.startDNS(ctx) })
	for _, n := range c.nodes {
		all.Go(func() error { return n.awaitReady(ctx) })
	}
	return all.Wait()
}

// LoadImage loads the image of an archive into every node.
func (c *Cluster) LoadImage(ctx context.Context, archive string) error {
	return c.State().LoadImage(ctx, archive)
}

// Stop ends the cluster at once and removes everything that it put on the machine except
// its folder. A second call does nothing.
func (c *Cluster) Stop() {
	c.stop.Do(func() {
		if c.host != nil {
			c.host.Close()
		}
		for _, n := range c.nodes {
			n.close()
		}
		c.ControlPlane.Stop()
		if !c.claimed {
			return
		}
		for i := range c.nodes {
			if err := removeCgroup(c.slot.cgroup(i)); err != nil {
				c.logf("cgroup not removed: %v", err)
			}
		}
	})
}

// TraefikURL is the URL for visitors. Traefik routes by the Host header.
func (c *Cluster) TraefikURL() string { return c.loopback(c.nodeOptions.WebPort) }

// TraefikAPI is the URL of Traefik's API, which lists routers and services, and of its ping.
func (c *Cluster) TraefikAPI() string { return c.loopback(c.nodeOptions.APIPort) }

func (c *Cluster) loopback(port int) string {
	return "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// get succeeds if the URL answers 200.
func get(ctx context.Context, url string) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return nil
}
