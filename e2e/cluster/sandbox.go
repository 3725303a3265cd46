package cluster

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"maintenance-controller.io/e2e/process"
)

//go:embed node/sandbox.sh
var sandboxScript []byte

// sandbox is a machine for one node, made of namespaces. Everything in it ends with its
// process 1, which ends with the host group's thread. The kernel removes mounts, links and
// firewall rules with the last process.
type sandbox struct {
	name  string
	state string // mount point of a file system in memory, inside the sandbox
	init  *process.Process
	group *process.Group // starts processes inside
}

// newSandbox makes a sandbox whose process 1 runs the program pause.
func newSandbox(host *process.Group, dir, name, pause string) (*sandbox, error) {
	s := &sandbox{name: name, state: filepath.Join(dir, "nodes", name)}
	if err := os.MkdirAll(s.state, 0o755); err != nil {
		return nil, fmt.Errorf("make the folder of %s: %w", name, err)
	}
	init, err := host.Start(process.Command{
		Name: name, Path: pause, LogFile: s.log(dir, "init"),
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	})
	if err != nil {
		return nil, err
	}
	s.init = init
	s.group, err = process.NewGroup(process.Options{Prepare: func() error { return enter(init.Pid()) }, Adopted: true})
	return s, err
}

// furnish makes the mounts that a machine has.
func (s *sandbox) furnish(ctx context.Context, dir string) error {
	script := filepath.Join(dir, "sandbox.sh")
	if err := os.WriteFile(script, sandboxScript, 0o600); err != nil {
		return fmt.Errorf("write the script of %s: %w", s.name, err)
	}
	return s.group.Run(ctx, process.Command{
		Name: "the preparation of " + s.name, Path: "/bin/sh",
		Args: []string{script, s.name, s.state, dir}, LogFile: s.log(dir, "sandbox"),
	})
}

func (s *sandbox) log(dir, program string) string {
	return filepath.Join(dir, "logs", s.name+"-"+program+".log")
}

// close ends all processes in the sandbox.
func (s *sandbox) close() {
	s.init.Kill()
	if s.group != nil {
		s.group.Close()
	}
}

// enter moves the calling thread into all namespaces of a process. The thread must be
// locked and cannot be used for anything else afterwards.
func enter(pid int) error {
	// A thread can only change its mount namespace if it shares root and working
	// directory with no other.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("separate a thread: %w", err)
	}
	return setns(pid, "pid", "net", "uts", "ipc", "mnt")
}

// enterNetwork moves the calling thread, which must be locked, into the network of
// a process.
func enterNetwork(pid int) error { return setns(pid, "net") }

func setns(pid int, kinds ...string) error {
	// Open all of them first: /proc is another one in the new mount namespace.
	files := make([]*os.File, len(kinds))
	for i, kind := range kinds {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
		if err != nil {
			return fmt.Errorf("open a namespace: %w", err)
		}
		defer func() { _ = f.Close() }()
		files[i] = f
	}
	for i, f := range files {
		if err := unix.Setns(int(f.Fd()), 0); err != nil {
			return fmt.Errorf("enter the %s namespace of process %d: %w", kinds[i], pid, err)
		}
	}
	return nil
}
