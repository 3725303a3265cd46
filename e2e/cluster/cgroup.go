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

// makeCgroup makes the cgroup under which a node's Pods are, in each hierarchy.
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

// Sweep removes what clusters left behind that were killed before they could
// clean up: everything but cgroups goes with the processes.
func Sweep() error {
	for s := range slot(slots) {
		// The name of the first link is the claim to the slot, see claim.
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

// removeCgroup removes a cgroup and all below it. The kernel lets go of the last
// processes a moment after they are dead, hence the patience.
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

// removeTree removes folders, innermost first; the files of a cgroup go with it.
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

// cgroupHierarchies lists the roots: one with cgroup v2, one for each controller
// with v1.
func cgroupHierarchies() ([]string, error) {
	controllers := filepath.Join(cgroupRoot, "cgroup.subtree_control")
	if _, err := os.Stat(controllers); err == nil {
		// What is on already is no change; what the kernel lacks, the kubelet says.
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
		if e.IsDir() { // cpu,cpuacct and the like are reached by links, too
			hierarchies = append(hierarchies, filepath.Join(cgroupRoot, e.Name()))
		}
	}
	return hierarchies, nil
}
