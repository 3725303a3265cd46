package apiserver

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
)

// pluginRun is a kubectl maintenance run that goes on until finish.
type pluginRun struct {
	*pluginUser
	target string
	stdin  *os.File
	ended  chan commandOutput
}

// runScript is the command of a run: it prints a word and what it reads, and exits with 7.
const runScript = `echo runs; read x; echo "done with $x"; exit 7`

// firstWrite closes done at the first write.
type firstWrite struct {
	once sync.Once
	done chan struct{}
}

func (f *firstWrite) Write(b []byte) (int, error) {
	f.once.Do(func() { close(f.done) })
	return len(b), nil
}

// startRun starts a run for an Ingress, and returns when its command runs.
func (p *pluginUser) startRun(name string, flags ...string) *pluginRun {
	p.Helper()
	q := *p
	in, out, err := os.Pipe() // a file like a terminal: exec would wait for anything else to be copied
	require.NoError(p, err)
	p.Cleanup(func() { _, _ = in.Close(), out.Close() })
	begun := &firstWrite{done: make(chan struct{})}
	q.input, q.tee, q.signals = in, begun, make(chan os.Signal, 4)
	c := &pluginRun{pluginUser: &q, target: name, stdin: out, ended: make(chan commandOutput, 1)}
	args := append([]string{"run", "ingress/" + name, "--settle-time=0", "--by=ci"}, flags...)
	go func() { c.ended <- q.plugin(append(args, "--", "sh", "-c", runScript)...) }()
	select {
	case <-begun.done:
	case s := <-c.ended:
		p.Fatalf("the command did not start: %s", s)
	}
	return c
}

func annotatedLeases(u *unstructured.Unstructured) []string {
	request, _ := annotations.DefaultKeys().Parse(u.GetAnnotations())
	return request.Leases
}

// finish lets the command end and returns the output.
func (c *pluginRun) finish() commandOutput {
	c.Helper()
	_, err := c.stdin.Write([]byte("it\n"))
	require.NoError(c, err)
	return <-c.ended
}

func (env *testEnv) requireNoLeases() {
	env.Helper()
	all, err := env.client.CoordinationV1().Leases(env.namespace).List(env.Context(), metav1.ListOptions{})
	require.NoError(env, err)
	require.Empty(env, all.Items, "no Lease is left")
}

// TestPluginRun: maintenance lasts for as long as a command runs, together with other requests.
func TestPluginRun(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("alone"), ingress("shared"), ingress("before"), ingress("during"), ingress("ended"), ingress("killed"), ingress("stopped"))
	env.startController()
	ana, ci := env.admin(), env.userWithRole("edit")

	// alone: maintenance starts, the command runs, maintenance ends, and the exit code is
	// the command's.
	c := ci.startRun("alone", "--reason=migrate")
	u := env.get(ingresses, "alone")
	require.Equal(t, "migrate", u.GetAnnotations()[annotations.Reason])
	lease, err := env.client.CoordinationV1().Leases(env.namespace).Get(t.Context(), annotatedLeases(u)[0], metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, u.GetUID(), lease.OwnerReferences[0].UID)
	require.Contains(t, lease.Labels, annotations.LeaseLabel)
	require.True(t, strings.HasPrefix(*lease.Spec.HolderIdentity, "ci@"), *lease.Spec.HolderIdentity)
	ana.expectOutput(0, `
NAME            STATE    SINCE   UNTIL      BY   PAGE      REASON
ingress/alone   active   Ns      run ends   ci   default   migrate
`, "list")
	s := c.finish()
	require.Equal(t, 7, s.code, s)
	require.Equal(t, "runs\ndone with it\n", s.out, "only the command writes to stdout")
	require.Contains(t, s.err, "ingress/alone restored\n")
	require.True(t, restored(env.get(ingresses, "alone")))
	require.Empty(t, env.get(ingresses, "alone").GetAnnotations())
	env.requireNoLeases()

	// shared: the last command ends maintenance.
	one, two := ci.startRun("shared"), ci.startRun("shared")
	require.Len(t, annotatedLeases(env.get(ingresses, "shared")), 2)
	require.Equal(t, 7, one.finish().code)
	require.True(t, state(annotations.Active)(env.get(ingresses, "shared")), "another command still needs it")
	require.Equal(t, 7, two.finish().code)
	require.True(t, restored(env.get(ingresses, "shared")))

	// before: run never ends maintenance that a person has started.
	require.Equal(t, 0, ana.plugin("on", "ingress/before", "--by=ana", "--wait").code)
	s = ci.startRun("before").finish()
	require.Equal(t, 7, s.code)
	require.Contains(t, s.err, "ingress/before was already put in maintenance by a person, and stays so when the command ends")
	require.True(t, state(annotations.Active)(env.get(ingresses, "before")))

	// The exit code is the command's, whatever it is.
	for _, code := range []int{1, 2, 3, 125} {
		s = ci.plugin("run", "ingress/before", "--", "sh", "-c", fmt.Sprint("exit ", code))
		require.Equal(t, code, s.code, s)
	}

	// during: `on` takes over and removes the Lease.
	c = ci.startRun("during")
	s = ana.plugin("on", "ingress/during", "--by=ana")
	require.Contains(t, s.err, "ingress/during was kept in maintenance by a command, which no longer ends it")
	require.Empty(t, annotatedLeases(env.get(ingresses, "during")))
	require.Equal(t, 7, c.finish().code)
	require.True(t, state(annotations.Active)(env.get(ingresses, "during")))

	// ended: `off` in the meantime ends maintenance for both commands.
	one, two = ci.startRun("ended"), ci.startRun("ended", "--kill-on-lapse")
	require.Equal(t, 0, ana.plugin("off", "ingress/ended", "--settle-time=0").code)
	require.True(t, restored(env.get(ingresses, "ended")))
	s = <-two.ended
	require.Equal(t, 125, s.code, s)
	require.Contains(t, s.err, "ending the command: ingress/ended is no longer kept in maintenance: somebody")
	require.Equal(t, 7, one.finish().code, "without the flag the command goes on")
	require.True(t, restored(env.get(ingresses, "ended")), "and maintenance does not start again")

	// stopped: signals are passed to the command.
	c = ci.startRun("stopped")
	c.signals <- syscall.SIGTERM
	s = <-c.ended
	require.Equal(t, 128+15, s.code, s)
	require.True(t, restored(env.get(ingresses, "stopped")))
	env.requireNoLeases()
}

// TestPluginRunFails: failures of the plugin itself exit with 125 and leave no maintenance.
func TestPluginRunFails(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"))
	ci := env.userWithRole("edit")
	before := env.get(ingresses, "my-app").GetResourceVersion()
	for _, args := range [][]string{
		{"run", "ingress/my-app"}, {"run", "ingress/my-app", "--"}, {"run", "--", "true"}, {"run", "--nope", "ingress/my-app", "--", "true"},
		{"run", "ingress/my-app", "--lease-duration=1s", "--", "true"}, {"run", "ingress/nobody", "--", "true"},
		{"run", "ingress/my-app", "--", "/nonexistent/program"},
	} {
		s := ci.plugin(args...)
		require.Equal(t, 125, s.code, "%v: %s", args, s)
	}
	require.Equal(t, before, env.get(ingresses, "my-app").GetResourceVersion(), "nothing was changed")

	s := ci.plugin("run", "ingress/my-app", "--timeout=1s", "--", "sh", "-c", "echo ran")
	require.Equal(t, 125, s.code, s)
	require.Empty(t, s.out, "no controller runs, so the command is not run")
	require.Contains(t, s.err, "ingress/my-app is requested: no controller has acted on it yet")
	require.Empty(t, env.get(ingresses, "my-app").GetAnnotations(), "and nothing is requested any more")
	env.requireNoLeases()

	// With `on`, maintenance stays requested, and the message says what it waits for.
	s = ci.plugin("on", "ingress/my-app", "--wait", "--timeout=200ms", "--for=2h")
	require.Equal(t, 3, s.code)
	require.Contains(t, s.err, "timed out after Nms: ingress/my-app is requested: no controller has acted")
	require.Equal(t, "true", env.get(ingresses, "my-app").GetAnnotations()[annotations.DefaultEnabled])
	ci.expectOutput(0, "ingress/my-app end of maintenance requested\n", "off", "ingress/my-app", "--wait=false")
}
