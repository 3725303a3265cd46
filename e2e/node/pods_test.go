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

func none(all map[string]*unstructured.Unstructured) bool { return len(all) == 0 }

// inSet selects the Pods of a page set.
func inSet(set string) metav1.ListOptions {
	return metav1.ListOptions{LabelSelector: annotations.PageSetLabel + "=" + set}
}

// pod decodes a Pod.
func pod(u *unstructured.Unstructured) *corev1.Pod {
	p := &corev1.Pod{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, p); err != nil {
		panic(err) // the API server gives Pods
	}
	return p
}

func ready(p *corev1.Pod) bool { return p.DeletionTimestamp == nil && pageset.Ready(p) }

// podsOf a set that are ready, sorted by name. There are two as soon as all is well.
func (w *world) podsOf(set string) []types.UID {
	w.Helper()
	var uids []types.UID
	for _, p := range w.untilPods(set, "two ready Pods", ready) {
		uids = append(uids, p.UID)
	}
	return uids
}

// untilPods waits until a set has two Pods, and no other, that are as they should
// be. It gives them sorted by name.
func (w *world) untilPods(set, what string, ok func(*corev1.Pod) bool) []*corev1.Pod {
	w.Helper()
	var found []*corev1.Pod
	w.watch(w.namespace, pods, inSet(set), set+": "+what, func(all map[string]*unstructured.Unstructured) bool {
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

// watchReady follows the Pods of a set. The function that it gives ends that, and
// tells how many were ready and not about to go when they were fewest.
func (w *world) watchReady(set string) (fewest func() int) {
	w.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.Context()))
	lowest := 1 << 10
	var watching sync.WaitGroup
	started, all := make(chan struct{}), map[string]*unstructured.Unstructured{}
	begin := sync.OnceFunc(func() { close(started) })
	watching.Go(func() {
		for ctx.Err() == nil {
			follow(ctx, w.dynamic.Resource(pods).Namespace(w.namespace), inSet(set), all, func(all map[string]*unstructured.Unstructured) bool {
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
	w.Cleanup(func() { fewest() })
	return fewest
}

// processes of a Pod that run a program, by their ids on this machine: the nodes'
// processes are all in sight from here.
func (w *world) processes(uid types.UID, program string) []int {
	w.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/cgroup")
	require.NoError(w, err)
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
			require.NoError(w, err)
			pids = append(pids, pid)
		}
	}
	require.NotEmpty(w, pids, "processes of Pod %s that run %s", uid, program)
	return pids
}

// kill ends processes at once, as a crash does.
func (w *world) kill(pids []int) {
	w.Helper()
	for _, pid := range pids {
		p, err := os.FindProcess(pid)
		require.NoError(w, err)
		require.NoError(w, p.Kill())
	}
}
