package pageapp

import (
	"testing"
	"testing/fstest"
)

func TestCgroupLimit(t *testing.T) {
	const v1 = "12:pids:/pods/a\n5:memory:/pods/a\n1:name=systemd:/\n0::/pods/a\n"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  int64
	}{
		{"no cgroup", nil, 0},
		{"version 2, in a namespace", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "100663296\n"}, 96 << 20},
		{"version 2, no limit", map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 0},
		{"version 2, the Pod's is lower than the container's", map[string]string{"proc/self/cgroup": "0::/pod/box\n",
			"sys/fs/cgroup/pod/memory.max": "100\n", "sys/fs/cgroup/pod/box/memory.max": "200\n"}, 100},
		{"version 1, seen from outside", map[string]string{"proc/self/cgroup": v1,
			"sys/fs/cgroup/memory/pods/a/memory.limit_in_bytes": "100663296\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 96 << 20},
		{"version 1, mounted at the cgroup", map[string]string{"proc/self/cgroup": v1, "sys/fs/cgroup/memory/memory.limit_in_bytes": "100663296\n"}, 96 << 20},
		{"version 1, no limit", map[string]string{"proc/self/cgroup": v1, "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 0},
		{"version 1, another controller's", map[string]string{"proc/self/cgroup": "3:cpu,cpuacct:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "1\n"}, 0},
		{"nonsense", map[string]string{"proc/self/cgroup": "memory\n", "sys/fs/cgroup/memory.max": "-1\n"}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, text := range test.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			if got := cgroupLimit(root); got != test.want {
				t.Errorf("%d, want %d", got, test.want)
			}
		})
	}
}

func TestPlanLeavesRoomForTheKernel(t *testing.T) {
	const limit = 96 << 20 // the chart's default
	p := planFor(limit)
	if p.connections >= p.runtime || p.runtime >= limit {
		t.Errorf("%+v of %d", p, limit)
	}
	if none := planFor(0); none != (memoryPlan{}) {
		t.Errorf("without a limit: %+v", none)
	}
}
