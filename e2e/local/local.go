// Package local is the cluster of `make cluster` and `make demo`: one to a source
// tree, with its state in a folder there, alive until `make down`.
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

// Where Traefik answers.
const (
	WebPort = 8081
	APIPort = 8082
)

// Cluster is the cluster of a folder, running or not.
//
// A keeper, which is this program again in the background, starts it and stays
// its parent. It holds a lock on the folder for as long as it lives, so whether the
// cluster is up is never a guess from a process id.
type Cluster struct {
	Dir string
	Log io.Writer
}

func (c Cluster) file(name string) string { return filepath.Join(c.Dir, name) }

// Kubeconfig gives full access to the cluster.
func (c Cluster) Kubeconfig() string { return c.file("kubeconfig") }

// Config is Kubeconfig for client-go.
func (c Cluster) Config() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", c.Kubeconfig(), err)
	}
	return config, nil
}

// Up starts the cluster and returns when it works. It says so when it is up already.
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
	// Here, where somebody sees the progress and may press ^C.
	cache, err := binaries.NewCache(c.Log)
	if err != nil {
		return err
	}
	if err := cache.Build(ctx, binaries.Everything()...); err != nil {
		return err
	}
	if _, err := cache.Packages(ctx); err != nil {
		return err
	}
	return c.startKeeper(nodes)
}

// awaitState waits for a keeper that another command has just started.
func (c Cluster) awaitState(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	for {
		if _, err := c.State(); err == nil {
			c.logf("the cluster is up already")
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("wait for the cluster that is being started (see %s; `make down` ends it): %w", c.file("logs"), err)
		}
	}
}

// Down stops the cluster and removes every trace of it. No cluster is no error.
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
	c.logf("nothing of the cluster is left")
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

// State describes the running cluster.
func (c Cluster) State() (cluster.State, error) {
	var s cluster.State
	text, err := os.ReadFile(c.file("state.json"))
	if errors.Is(err, os.ErrNotExist) {
		return s, errors.New("the cluster is not up: make cluster")
	}
	if err != nil {
		return s, fmt.Errorf("read the cluster's state: %w", err)
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read the cluster's state: %w", err)
	}
	return s, nil
}

// running says whether a keeper holds the lock.
func (c Cluster) running() (bool, error) {
	f, err := os.Open(c.file("lock"))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("open the cluster's lock: %w", err)
	}
	defer func() { _ = f.Close() }() // which also gives back the lock taken below
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

// pause is the time between two looks.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(100 * time.Millisecond):
		return nil
	}
}
