package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/cluster"
)

// KeeperCommand is the argument with which the program runs as a keeper.
const KeeperCommand = "keep"

// progressFD is the keeper's end of a pipe to the command that started it.
const progressFD = 3

// startKeeper starts the keeper in a new session, so that it outlives this command. It
// shows the keeper's progress until the cluster works or fails to start.
func (c Cluster) startKeeper(nodes int) error {
	if err := os.MkdirAll(c.file("logs"), 0o755); err != nil {
		return fmt.Errorf("make the cluster's folder: %w", err)
	}
	log, err := os.OpenFile(c.file("logs/keeper.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the keeper's log: %w", err)
	}
	defer func() { _ = log.Close() }() // the keeper keeps its own descriptor
	progress, theirs, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make a pipe to the keeper: %w", err)
	}
	defer func() { _ = progress.Close() }()
	//nolint:noctx // it outlives this command
	keeper := exec.Command("/proc/self/exe", KeeperCommand, "--dir", c.Dir, "--nodes", strconv.Itoa(nodes))
	keeper.Stdout, keeper.Stderr = log, log
	keeper.ExtraFiles = []*os.File{theirs}
	keeper.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := keeper.Start(); err != nil {
		return fmt.Errorf("start the cluster's keeper: %w", err)
	}
	if err := theirs.Close(); err != nil { // or the pipe would never end
		return fmt.Errorf("close the keeper's end of the pipe: %w", err)
	}
	if _, err := io.Copy(c.Log, progress); err != nil {
		return fmt.Errorf("follow the keeper: %w", err)
	}
	if _, err := c.State(); err != nil {
		return fmt.Errorf("the cluster did not start, see above and %s", c.file("logs"))
	}
	return keeper.Process.Release()
}

// Keep runs the keeper: it starts the cluster, reports that, and stops it when ctx ends.
func Keep(ctx context.Context, dir string, nodes int) error {
	unix.CloseOnExec(progressFD) // or the cluster's programs would keep the pipe open
	progress := os.NewFile(progressFD, "progress")
	// The command that started this may have ended. The log remains.
	both := io.MultiWriter(os.Stdout, quiet{progress})
	err := keep(ctx, dir, nodes, both, func() error { return progress.Close() })
	if err != nil {
		_, _ = fmt.Fprintln(both, err)
	}
	return err
}

func keep(ctx context.Context, dir string, nodes int, log io.Writer, started func() error) error {
	c := Cluster{Dir: dir, Log: log}
	lock, err := os.OpenFile(c.file("lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the cluster's lock: %w", err)
	}
	defer func() { _ = lock.Close() }() // releases the lock, after everything else
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("lock the cluster's folder, which another keeper uses (make down ends it): %w", err)
	}
	if err := c.clear(); err != nil {
		return err
	}
	if err := os.WriteFile(c.file("pid"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return fmt.Errorf("write the keeper's process id: %w", err)
	}
	running, err := cluster.Start(ctx, cluster.NodeOptions{
		Options: cluster.Options{Dir: dir, Log: log}, Nodes: nodes, WebPort: WebPort, APIPort: APIPort,
	})
	if err != nil {
		return err
	}
	defer running.Stop()
	if err := c.linkTools(); err != nil {
		return err
	}
	text, err := json.MarshalIndent(running.State(), "", "  ")
	if err != nil {
		return fmt.Errorf("encode the cluster's state: %w", err)
	}
	if err := os.WriteFile(c.file("state.json"), text, 0o600); err != nil {
		return fmt.Errorf("write the cluster's state: %w", err)
	}
	if err := started(); err != nil {
		return fmt.Errorf("report that the cluster is up: %w", err)
	}
	<-ctx.Done()
	return nil
}

// clear removes the state of a cluster that ended without `make down`, for example in a
// reboot. It keeps the keeper's log and the lock, which are in use.
func (c Cluster) clear() error {
	if err := cluster.Sweep(); err != nil {
		return err
	}
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return fmt.Errorf("list the cluster's folder: %w", err)
	}
	for _, e := range entries {
		if e.Name() == "lock" || e.Name() == "logs" {
			continue
		}
		if err := os.RemoveAll(c.file(e.Name())); err != nil {
			return fmt.Errorf("clear the cluster's folder: %w", err)
		}
	}
	return nil
}

// linkTools links kubectl and helm into the folder's bin.
func (c Cluster) linkTools() error {
	cache, err := binaries.NewCache(nil)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.file("bin"), 0o755); err != nil {
		return fmt.Errorf("make a folder for the cluster's tools: %w", err)
	}
	for _, tool := range []binaries.Program{binaries.Kubectl(), binaries.Helm()} {
		path, err := cache.Path(tool)
		if err != nil {
			return err
		}
		if err := os.Symlink(path, c.file("bin/"+tool.Name)); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("link %s: %w", tool.Name, err)
		}
	}
	return nil
}

// quiet ignores errors of writing.
type quiet struct{ io.Writer }

func (q quiet) Write(p []byte) (int, error) {
	_, _ = q.Writer.Write(p)
	return len(p), nil
}
