package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// makeCgroup makes the parent cgroup of a node's Pods, in each hierarchy.
func makeCgroup(name string) error {
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		if err := os.Mkdir(filepath.Join(h, name), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("make cgroup %s: %w", name, err)
		}
	}
	return nil
}

// Sweep removes what killed clusters left behind. That is only cgroups: everything else
// ends with the processes.
func Sweep() error {
	for s := range slot(slots) {
		// The first link exists as long as a cluster holds the slot, see claim.
		if _, err := net.InterfaceByName(s.hostLink(0)); err == nil {
			continue
		}
		for node := range maxNodes {
			if err := removeCgroup(s.cgroup(node)); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeCgroup removes a cgroup and all cgroups below it. It retries, because the kernel
// frees a cgroup a moment after its last process has ended.
func removeCgroup(name string) error {
	hierarchies, err := cgroupHierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		dir := filepath.Join(h, name)
		for attempt := 0; ; attempt++ {
			err := removeTree(dir)
			if err == nil {
				break
			}
			const attempts = 40
			if attempt == attempts {
				return fmt.Errorf("remove cgroup %s: %w", dir, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

// removeTree removes folders, innermost first. The kernel removes a cgroup's files.
func removeTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, d := range slices.Backward(dirs) {
		if err := os.Remove(d); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// cgroupHierarchies lists the roots: one for cgroup v2, and one for each controller
// for v1.
func cgroupHierarchies() ([]string, error) {
	controllers := filepath.Join(cgroupRoot, "cgroup.subtree_control")
	if _, err := os.Stat(controllers); err == nil {
		// Enabling an enabled controller changes nothing. The kubelet reports controllers
		// that the kernel does not have.
		for _, c := range []string{"+cpuset", "+cpu", "+io", "+memory", "+hugetlb", "+pids"} {
			_ = os.WriteFile(controllers, []byte(c), 0o600)
		}
		return []string{cgroupRoot}, nil
	}
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil, fmt.Errorf("list the cgroups: %w", err)
	}
	var hierarchies []string
	for _, e := range entries {
		if e.IsDir() { // skips links such as cpu, which leads to cpu,cpuacct
			hierarchies = append(hierarchies, filepath.Join(cgroupRoot, e.Name()))
		}
	}
	return hierarchies, nil
}
