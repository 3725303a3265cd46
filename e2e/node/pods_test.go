package node

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
)

// noObjects reports whether all is empty.
func noObjects(all map[string]*unstructured.Unstructured) bool { return len(all) == 0 }

// inSet selects the Pods of a page set.
func inSet(set string) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: annotations.PageSetLabel + "=" + set}
}

// pod converts u to a Pod.
func pod(u *unstructured.Unstructured) *corev1.Pod {
	p := &corev1.Pod{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, p); err != nil {
		panic(err) // cannot happen: u came from the API server as a Pod
	}
	return p
}

func ready(p *corev1.Pod) bool { return p.DeletionTimestamp == nil && pageset.Ready(p) }

// readyPods waits until a set has two ready Pods and returns their UIDs, sorted by name.
func (e *env) readyPods(set string) []types.UID {
	e.Helper()
	var uids []types.UID
	for _, p := range e.untilPods(set, "two ready Pods", ready) {
		uids = append(uids, p.UID)
	}
	return uids
}

// untilPods waits until a set has exactly two Pods and both are ok, and returns them sorted by
// name.
func (e *env) untilPods(set, what string, ok func(*corev1.Pod) bool) []*corev1.Pod {
	e.Helper()
	var found []*corev1.Pod
	e.watch(e.namespace, pods, inSet(set), set+": "+what, func(all map[string]*unstructured.Unstructured) bool {
		found = nil
		for _, u := range all {
			p := pod(u)
			if !ok(p) {
				return false
			}
			found = append(found, p)
		}
		return len(found) == 2
	})
	slices.SortFunc(found, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return found
}

// watchReady watches the Pods of a set. The function that it returns stops that and returns
// the lowest number of ready Pods, without terminating ones, that was seen.
func (e *env) watchReady(set string) (fewest func() int) {
	e.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(e.Context()))
	lowest := 1 << 10
	var watching sync.WaitGroup
	started, all := make(chan struct{}), map[string]*unstructured.Unstructured{}
	begin := sync.OnceFunc(func() { close(started) })
	watching.Go(func() {
		for ctx.Err() == nil {
			follow(ctx, e.dynamic.Resource(pods).Namespace(e.namespace), inSet(set), all, func(all map[string]*unstructured.Unstructured) bool {
				n := 0
				for _, u := range all {
					if ready(pod(u)) {
						n++
					}
				}
				lowest = min(lowest, n)
				begin()
				return false
			})
		}
	})
	<-started
	fewest = sync.OnceValue(func() int { cancel(); watching.Wait(); return lowest })
	e.Cleanup(func() { fewest() })
	return fewest
}

// processes returns the ids of a Pod's processes that run a program. The nodes' processes are
// all visible on this machine.
func (e *env) processes(uid types.UID, program string) []int {
	e.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/cgroup")
	require.NoError(e, err)
	var pids []int
	for _, file := range found {
		dir := filepath.Dir(file)
		groups, err1 := os.ReadFile(file)
		line, err2 := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err1 != nil || err2 != nil {
			continue // it has ended
		}
		name, _, _ := strings.Cut(string(line), "\x00")
		if name == program && strings.Contains(string(groups), string(uid)) {
			pid, err := strconv.Atoi(filepath.Base(dir))
			require.NoError(e, err)
			pids = append(pids, pid)
		}
	}
	require.NotEmpty(e, pids, "processes of Pod %s that run %s", uid, program)
	return pids
}

// kill sends SIGKILL to processes.
func (e *env) kill(pids []int) {
	e.Helper()
	for _, pid := range pids {
		p, err := os.FindProcess(pid)
		require.NoError(e, err)
		require.NoError(e, p.Kill())
	}
}
