package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"maintenance-controller.io/e2e/binaries"
)

// State is what another process needs to use a running cluster.
type State struct {
	Nodes []NodeState `json:"nodes"`
	Web   string      `json:"web"` // URL for visitors
	API   string      `json:"api"` // URL of Traefik's API
}

// NodeState is a node's name and the id of the process that holds its namespaces.
type NodeState struct {
	Name string `json:"name"`
	Pid  int    `json:"pid"`
}

// State describes the cluster.
func (c *Cluster) State() State {
	s := State{Web: c.TraefikURL(), API: c.TraefikAPI()}
	for _, n := range c.nodes {
		s.Nodes = append(s.Nodes, NodeState{Name: n.name, Pid: n.init.Pid()})
	}
	return s
}

// LoadImage loads the image of an archive into every node.
func (s State) LoadImage(ctx context.Context, archive string) error {
	cache, err := binaries.NewCache(io.Discard)
	if err != nil {
		return err
	}
	packages, err := cache.Packages(ctx)
	if err != nil {
		return err
	}
	for _, n := range s.Nodes {
		if err := loadImages(ctx, packages, n.Pid, archive); err != nil {
			return err
		}
	}
	return nil
}

// loadImages imports archives into a node's containerd with containerd's own client.
// initPid is process 1 of the node's sandbox.
func loadImages(ctx context.Context, packages *binaries.Packages, initPid int, archives ...string) error {
	ctr, err := packages.Find("ctr")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	socket := fmt.Sprintf("/proc/%d/root%s", initPid, containerdSocket)
	for _, archive := range archives {
		cmd := exec.CommandContext(ctx, ctr, "--address", socket, "--namespace", "k8s.io", "images", "import", archive)
		cmd.Env = append(os.Environ(), packages.Env()...)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("import image %s: %w\n%s", archive, err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
