package node

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestProcessesHaveNoRights looks at what the kernel says of the processes, in a
// namespace that admits nothing but PodSecurity "restricted".
func TestProcessesHaveNoRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	host := w.host("my-app")
	w.serve([]string{host}, app("my-app"), ingress("my-app", host, "my-app", 80))
	careless := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "careless"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "sample-app:dev"}}},
	}
	_, err := w.client.CoreV1().Pods(w.namespace).Create(t.Context(), careless, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	require.True(t, apierrors.IsForbidden(err), "the namespace is not restricted: %v", err)

	w.on("ingress/my-app")
	set := w.untilActive(ingresses, "my-app")
	w.arrives(host, fromPage)
	for _, p := range w.untilPods(set, "two ready Pods", ready) {
		for _, pid := range w.processes(p.UID, "/maintenance-page") {
			w.requireNoRights(pid)
			assert.NoDirExists(t, fmt.Sprintf("/proc/%d/root/var/run/secrets", pid), "no token")
			assert.Equal(t, []string{"/page"}, kubeletMounts(t, pid), "of the Pod's volumes there is only the page")
		}
	}
	controllers, err := w.client.CoreV1().Pods(ownNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=maintenance-controller"})
	require.NoError(t, err)
	require.NotEmpty(t, controllers.Items)
	for _, p := range controllers.Items {
		if !ready(&p) {
			continue // it makes way for another
		}
		for _, pid := range w.processes(p.UID, "/maintenance-controller") {
			w.requireNoRights(pid)
		}
	}
	w.off("ingress/my-app")
	w.until(ingresses, "my-app", "restored", restored)
	w.untilClean()
}

// requireNoRights: not root, no capability, none to be had, a seccomp filter, and
// nothing to write to.
func (w *world) requireNoRights(pid int) {
	w.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(w, err)
	fields := map[string]string{}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		fields[key] = strings.TrimSpace(value)
	}
	for _, key := range []string{"Uid", "Gid"} {
		assert.NotContains(w, strings.Fields(fields[key]), "0", key)
	}
	for _, key := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		assert.Regexp(w, "^0+$", fields[key], key)
	}
	assert.Equal(w, "1", fields["NoNewPrivs"], "NoNewPrivs")
	assert.Equal(w, "2", fields["Seccomp"], "Seccomp: 2 is a filter, see proc(5)")
	root := fmt.Sprintf("/proc/%d/root", pid)
	err = os.WriteFile(filepath.Join(root, "written"), nil, 0o600)
	assert.ErrorContains(w, err, "read-only file system")
	assert.NoDirExists(w, filepath.Join(root, "tmp"), "the image has no folder that everybody may write to")
}

// kubeletMounts are the mount points of the volumes that the kubelet made.
func kubeletMounts(t *testing.T, pid int) []string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
	require.NoError(t, err)
	var points []string
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		const point = 4 // see proc_pid_mountinfo(5)
		if regexp.MustCompile(`^/(page|var|run|tmp|home)`).MatchString(fields[point]) {
			points = append(points, fields[point])
		}
	}
	return points
}
