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

// TestProcessesAreUnprivileged checks the processes' privileges in /proc, in a namespace that only
// admits Pods of PodSecurity level "restricted".
func TestProcessesAreUnprivileged(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	host := e.host("my-app")
	e.deploy([]string{host}, app("my-app"), ingress("my-app", host, "my-app", 80))
	careless := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "careless"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "sample-app:dev"}}},
	}
	_, err := e.client.CoreV1().Pods(e.namespace).Create(t.Context(), careless, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	require.True(t, apierrors.IsForbidden(err), "the namespace is not restricted: %v", err)

	e.on("ingress/my-app")
	set := e.untilActive(ingresses, "my-app")
	e.untilAnswer(host, fromPage)
	for _, p := range e.untilPods(set, "two ready Pods", ready) {
		for _, pid := range e.processes(p.UID, "/maintenance-page") {
			e.requireUnprivileged(pid)
			assert.NoDirExists(t, fmt.Sprintf("/proc/%d/root/var/run/secrets", pid), "the Pod has a service account token")
			assert.Equal(t, []string{"/page"}, kubeletMounts(t, pid), "the Pod has other volumes than the page")
		}
	}
	controllers, err := e.client.CoreV1().Pods(ownNamespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=maintenance-controller"})
	require.NoError(t, err)
	require.NotEmpty(t, controllers.Items)
	for _, p := range controllers.Items {
		if !ready(&p) {
			continue // it is being replaced
		}
		for _, pid := range e.processes(p.UID, "/maintenance-controller") {
			e.requireUnprivileged(pid)
		}
	}
	e.off("ingress/my-app")
	e.until(ingresses, "my-app", "restored", restored)
	e.untilClean()
}

// requireUnprivileged checks that a process is not root, has no capabilities and cannot gain
// any, has a seccomp filter, and has no folder to write to.
func (e *env) requireUnprivileged(pid int) {
	e.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(e, err)
	fields := map[string]string{}
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		fields[key] = strings.TrimSpace(value)
	}
	for _, key := range []string{"Uid", "Gid"} {
		assert.NotContains(e, strings.Fields(fields[key]), "0", key)
	}
	for _, key := range []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"} {
		assert.Regexp(e, "^0+$", fields[key], key)
	}
	assert.Equal(e, "1", fields["NoNewPrivs"], "NoNewPrivs")
	assert.Equal(e, "2", fields["Seccomp"], "Seccomp: 2 means a filter, see proc(5)")
	root := fmt.Sprintf("/proc/%d/root", pid)
	err = os.WriteFile(filepath.Join(root, "written"), nil, 0o600)
	assert.ErrorContains(e, err, "read-only file system")
	assert.NoDirExists(e, filepath.Join(root, "tmp"), "the image has /tmp, which everybody can write to")
}

// kubeletMounts returns the mount points of the Pod's volumes in a process.
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
