package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"maintenance-controller.io/e2e/binaries"
)

// loadImages imports archives into the containerd of a node, given by the process 1
// of its sandbox.
func loadImages(ctx context.Context, packages *binaries.Packages, initPid int, archives []string) error {
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
