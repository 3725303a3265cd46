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

// command is a kubectl maintenance run that goes on until it is let go.
type command struct {
	*person
	target  string
	proceed *os.File
	ended   chan said
}

// commands are what a run of somebody runs: it says so, and what it reads, and exits with 7.
const commands = `echo runs; read x; echo "done with $x"; exit 7`

// firstWrite is closed with the first that is written.
type firstWrite struct {
	once sync.Once
	done chan struct{}
}

func (f *firstWrite) Write(b []byte) (int, error) {
	f.once.Do(func() { close(f.done) })
	return len(b), nil
}

// runs begins a run for an Ingress, and returns when its command runs.
func (p *person) runs(name string, flags ...string) *command {
	p.Helper()
	q := *p
	in, out, err := os.Pipe() // a file, as a person's is: what is copied is waited for
	require.NoError(p, err)
	p.Cleanup(func() { _, _ = in.Close(), out.Close() })
	begun := &firstWrite{done: make(chan struct{})}
	q.input, q.also, q.signals = in, begun, make(chan os.Signal, 4)
	c := &command{person: &q, target: name, proceed: out, ended: make(chan said, 1)}
	args := append([]string{"run", "ingress/" + name, "--settle-time=0", "--by=ci"}, flags...)
	go func() { c.ended <- q.types(append(args, "--", "sh", "-c", commands)...) }()
	select {
	case <-begun.done:
	case s := <-c.ended:
		p.Fatalf("it does not run: %s", s)
	}
	return c
}

func annotatedLeases(u *unstructured.Unstructured) []string {
	request, _ := annotations.DefaultKeys().Parse(u.GetAnnotations())
	return request.Leases
}

// letGo has the command end by itself, and gives what was said.
func (c *command) letGo() said {
	c.Helper()
	_, err := c.proceed.Write([]byte("it\n"))
	require.NoError(c, err)
	return <-c.ended
}

func (w *world) noLeases() {
	w.Helper()
	all, err := w.client.CoordinationV1().Leases(w.namespace).List(w.Context(), metav1.ListOptions{})
	require.NoError(w, err)
	require.Empty(w, all.Items, "who has ended takes the Lease along")
}

// TestPluginRuns: maintenance for as long as a command runs, whoever else says something.
func TestPluginRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("alone"), ingress("shared"), ingress("before"), ingress("during"), ingress("ended"), ingress("killed"), ingress("stopped"))
	w.start()
	ana, ci := w.admin(), w.as("edit")

	// alone: on, the command, off, and its exit code.
	c := ci.runs("alone", "--reason=migrate")
	u := w.get(ingresses, "alone")
	require.Equal(t, "migrate", u.GetAnnotations()[annotations.Reason])
	lease, err := w.client.CoordinationV1().Leases(w.namespace).Get(t.Context(), annotatedLeases(u)[0], metav1.GetOptions{})
	require.NoError(t, err)
	require.Equal(t, u.GetUID(), lease.OwnerReferences[0].UID)
	require.Contains(t, lease.Labels, annotations.LeaseLabel)
	require.True(t, strings.HasPrefix(*lease.Spec.HolderIdentity, "ci@"), *lease.Spec.HolderIdentity)
	ana.sees(0, `
NAME            STATE    SINCE   UNTIL      BY   PAGE      REASON
ingress/alone   active   Ns      run ends   ci   default   migrate
`, "list")
	s := c.letGo()
	require.Equal(t, 7, s.code, s)
	require.Equal(t, "runs\ndone with it\n", s.out, "its output is the command's")
	require.Contains(t, s.err, "ingress/alone restored\n")
	require.True(t, restored(w.get(ingresses, "alone")))
	require.Empty(t, w.get(ingresses, "alone").GetAnnotations())
	w.noLeases()

	// shared: the last ends it.
	one, two := ci.runs("shared"), ci.runs("shared")
	require.Len(t, annotatedLeases(w.get(ingresses, "shared")), 2)
	require.Equal(t, 7, one.letGo().code)
	require.True(t, state(annotations.Active)(w.get(ingresses, "shared")), "another command needs it")
	require.Equal(t, 7, two.letGo().code)
	require.True(t, restored(w.get(ingresses, "shared")))

	// before: a person's on is never ended by run.
	require.Equal(t, 0, ana.types("on", "ingress/before", "--by=ana", "--wait").code)
	s = ci.runs("before").letGo()
	require.Equal(t, 7, s.code)
	require.Contains(t, s.err, "ingress/before is in maintenance by a person already, and stays so when the command ends")
	require.True(t, state(annotations.Active)(w.get(ingresses, "before")))

	// Whatever its command exits with is its own.
	for _, code := range []int{1, 2, 3, 125} {
		s = ci.types("run", "ingress/before", "--", "sh", "-c", fmt.Sprint("exit ", code))
		require.Equal(t, code, s.code, s)
	}

	// during: on takes over, and drops the Lease.
	c = ci.runs("during")
	s = ana.types("on", "ingress/during", "--by=ana")
	require.Contains(t, s.err, "ingress/during was kept in maintenance by a command, which no longer ends it")
	require.Empty(t, annotatedLeases(w.get(ingresses, "during")))
	require.Equal(t, 7, c.letGo().code)
	require.True(t, state(annotations.Active)(w.get(ingresses, "during")))

	// ended: off in the middle counts for two commands.
	one, two = ci.runs("ended"), ci.runs("ended", "--kill-on-lapse")
	require.Equal(t, 0, ana.types("off", "ingress/ended", "--settle-time=0").code)
	require.True(t, restored(w.get(ingresses, "ended")))
	s = <-two.ended
	require.Equal(t, 125, s.code, s)
	require.Contains(t, s.err, "the command is ended: ingress/ended is not kept in maintenance any more: somebody")
	require.Equal(t, 7, one.letGo().code, "without the flag it runs on")
	require.True(t, restored(w.get(ingresses, "ended")), "and nothing is put on again")

	// stopped: signals are the command's.
	c = ci.runs("stopped")
	c.signals <- syscall.SIGTERM
	s = <-c.ended
	require.Equal(t, 128+15, s.code, s)
	require.True(t, restored(w.get(ingresses, "stopped")))
	w.noLeases()
}

// TestPluginRunFails: what is not the command's failure is 125, and leaves nothing on.
func TestPluginRunFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"))
	ci := w.as("edit")
	before := w.get(ingresses, "my-app").GetResourceVersion()
	for _, args := range [][]string{
		{"run", "ingress/my-app"}, {"run", "ingress/my-app", "--"}, {"run", "--", "true"}, {"run", "--nope", "ingress/my-app", "--", "true"},
		{"run", "ingress/my-app", "--lease-duration=1s", "--", "true"}, {"run", "ingress/nobody", "--", "true"},
		{"run", "ingress/my-app", "--", "/nonexistent/program"},
	} {
		s := ci.types(args...)
		require.Equal(t, 125, s.code, "%v: %s", args, s)
	}
	require.Equal(t, before, w.get(ingresses, "my-app").GetResourceVersion(), "nothing was changed")

	s := ci.types("run", "ingress/my-app", "--timeout=1s", "--", "sh", "-c", "echo ran")
	require.Equal(t, 125, s.code, s)
	require.Empty(t, s.out, "no controller works: the command is not run")
	require.Contains(t, s.err, "ingress/my-app is requested: no controller has acted on it yet")
	require.Empty(t, w.get(ingresses, "my-app").GetAnnotations(), "and nothing is asked for any more")
	w.noLeases()

	// The same for on: it stays asked for, and says what it waits for.
	s = ci.types("on", "ingress/my-app", "--wait", "--timeout=200ms", "--for=2h")
	require.Equal(t, 3, s.code)
	require.Contains(t, s.err, "timed out after Nms: ingress/my-app is requested: no controller has acted")
	require.Equal(t, "true", w.get(ingresses, "my-app").GetAnnotations()[annotations.DefaultEnabled])
	ci.sees(0, "ingress/my-app end of maintenance requested\n", "off", "ingress/my-app", "--wait=false")
}
