package pageapp

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"

	"go.uber.org/zap"
)

// memoryPlan divides the memory that the cgroup allows: half for connections, which are
// refused or closed beyond that; a quarter for everything else in Go's runtime, which collects
// garbage more often instead of using more than both; and the last quarter for what the
// kernel charges to the cgroup. Zero means no limit.
type memoryPlan struct{ connections, runtime int64 }

func planFor(limit int64) memoryPlan {
	return memoryPlan{connections: limit / 2, runtime: limit / 4 * 3}
}

// boundMemory returns the memory that reading the page took to the operating system, and
// keeps the runtime under the cgroup's limit unless GOMEMLIMIT is set. It returns how much
// connections may take.
func boundMemory(logger *zap.Logger) int64 {
	limit := cgroupLimit(os.DirFS("/"))
	p := planFor(limit)
	if limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(p.runtime)
	}
	debug.FreeOSMemory()
	logger.Debug("memory", zap.Int64("limit", limit), zap.Int64("for-connections", p.connections))
	return p.connections
}

// cgroupLimit is the lowest memory limit of this process's cgroup and its ancestors, version
// 1 or 2, or 0 if there is none. In a container the mount may begin at the cgroup itself,
// whatever its path is; then only the root exists.
func cgroupLimit(root fs.FS) int64 {
	own, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return 0
	}
	const none = math.MaxInt64 // version 1 has this, rounded down to a page, for no limit
	least := int64(none >> 12 << 12)
	for line := range strings.Lines(string(own)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, dir, _ := strings.Cut(rest, ":")
		mount, file := "sys/fs/cgroup", "memory.max"
		switch {
		case controllers == "":
		case strings.Contains(","+controllers+",", ",memory,"):
			mount, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		default:
			continue
		}
		for dir = path.Clean("/" + dir); ; dir = path.Dir(dir) {
			text, err := fs.ReadFile(root, path.Join(mount, dir, file))
			if n, bad := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && bad == nil && n > 0 {
				least = min(least, n)
			}
			if dir == "/" {
				break
			}
		}
	}
	if least >= none>>12<<12 {
		return 0
	}
	return least
}
