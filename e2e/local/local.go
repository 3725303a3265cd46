// Package local runs the cluster of `make cluster` and `make demo`. There is one per source
// tree. Its state is in a folder of the tree, and it runs until `make down`.
package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/cluster"
)

// Traefik's ports on the loopback, for visitors and for its API.
const (
	WebPort = 8081
	APIPort = 8082
)

// Cluster is the cluster of a folder, whether it runs or not.
//
// A keeper, which is a second process of this program in the background, starts the cluster
// and stays its parent. The keeper holds a lock on the folder until it ends. The lock shows
// whether the cluster is up; a process id alone could be another process's.
type Cluster struct {
	Dir string
	Log io.Writer
}

func (c Cluster) file(name string) string { return filepath.Join(c.Dir, name) }

// Kubeconfig is the path of a kubeconfig with full access to the cluster.
func (c Cluster) Kubeconfig() string { return c.file("kubeconfig") }

// Config returns the same access for client-go.
func (c Cluster) Config() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.Kubeconfig(), err)
	}
	return config, nil
}

// Up starts the cluster, unless it is up, and returns when it works.
func (c Cluster) Up(ctx context.Context, nodes int) error {
	if os.Geteuid() != 0 {
		return cluster.ErrNotRoot
	}
	up, err := c.running()
	if err != nil {
		return err
	}
	if up {
		return c.awaitState(ctx)
	}
	// The keeper does not build: here the user sees progress and can press ^C.
	cache, err := binaries.NewCache(c.Log)
	if err != nil {
		return err
	}
	if _, err := cache.Make(ctx, binaries.Order{Programs: binaries.Local(), Packages: true}); err != nil {
		return err
	}
	return c.startKeeper(nodes)
}

// awaitState waits until the cluster works. Another command may have just started it.
func (c Cluster) awaitState(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		if _, err := c.State(); err == nil {
			c.logf("the cluster is already up")
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("wait for the cluster, which another command started (logs: %s; `make down` ends it): %w", c.file("logs"), err)
		}
	}
}

// Down stops the cluster and removes everything of it. It is no error if there is none.
func (c Cluster) Down(ctx context.Context) error {
	up, err := c.running()
	if err != nil {
		return err
	}
	if up {
		if err := c.stopKeeper(ctx); err != nil {
			return err
		}
	}
	if os.Geteuid() == 0 {
		if err := cluster.Sweep(); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(c.Dir); err != nil {
		return fmt.Errorf("remove the cluster's folder: %w", err)
	}
	c.logf("the cluster is removed")
	return nil
}

func (c Cluster) stopKeeper(ctx context.Context) error {
	text, err := os.ReadFile(c.file("pid"))
	if err != nil {
		return fmt.Errorf("find the cluster's keeper: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("find the cluster's keeper: %w", err)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop the cluster's keeper (process %d): %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		up, err := c.running()
		if err != nil || !up {
			return err
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("wait for the end of the cluster's keeper (process %d): %w", pid, err)
		}
	}
}

// State describes the running cluster. It fails if there is none.
func (c Cluster) State() (cluster.State, error) {
	var s cluster.State
	text, err := os.ReadFile(c.file("state.json"))
	if errors.Is(err, os.ErrNotExist) {
		return s, errors.New("the cluster is not up; start it with make cluster")
	}
	if err != nil {
		return s, fmt.Errorf("read the cluster's state: %w", err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read the cluster's state: %w", err)
	}
	return s, nil
}

// running reports whether a keeper holds the lock.
func (c Cluster) running() (bool, error) {
	f, err := os.Open(c.file("lock"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open the cluster's lock: %w", err)
	}
	defer func() { _ = f.Close() }() // also releases the lock that is taken below
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("try the cluster's lock: %w", err)
	}
	return false, nil
}

func (c Cluster) logf(format string, args ...any) {
	_, _ = fmt.Fprintf(c.Log, format+"\n", args...) // progress only: nothing depends on it
}

// pause waits between two checks.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}
