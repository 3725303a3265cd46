package scripts

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/e2e/cluster"
)

const statusApp = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: %s
  namespace: %s
  annotations: %s
spec: {defaultBackend: {service: {name: app, port: {number: 80}}}}
---`

const statusService = `
apiVersion: v1
kind: Service
metadata: {name: svc, namespace: status-a, annotations: {maintenance/enabled: "true", maintenance/state: active, maintenance/since: %q}}
spec: {ports: [{port: 80}]}
---`

const statusRoute = `
apiVersion: traefik.io/v1alpha1
kind: IngressRoute
metadata: {name: route, namespace: status-b, annotations: {maintenance/enabled: "true", maintenance/state: switching, maintenance/since: %q, maintenance/page-set: maintenance-0123456789abcdef}}
spec: {routes: [{kind: Rule, match: Host(` + "`a`" + `), services: [{name: app, port: 80}]}]}
`

// since returns the time before now as maintenance/since has it.
func since(ago time.Duration) string { return time.Now().Add(-ago).UTC().Format(time.RFC3339) }

// fields returns the fields of the output line for a target.
func fields(t *testing.T, out, name string) []string {
	t.Helper()
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == name {
			return f
		}
	}
	require.Fail(t, "not listed", "%s in\n%s", name, out)
	return nil
}

func TestStatus(t *testing.T) {
	// An API server of its own, with nothing in maintenance and without Traefik's CRDs.
	plane, err := cluster.StartControlPlane(t.Context(), cluster.Options{Log: os.Stderr})
	require.NoError(t, err)
	t.Cleanup(plane.Stop)
	p := newPersonOn(t, plane)
	p.run("kubectl create namespace status-a; kubectl create namespace status-b")
	assert.Equal(t, "Nothing is in maintenance.\n", p.run("scripts/status.sh"), "also without Traefik's CRDs")

	var manifest strings.Builder
	add := func(namespace, name string, annotations ...string) {
		fmt.Fprintf(&manifest, statusApp, name, namespace, "{"+strings.Join(annotations, ", ")+"}")
	}
	set := "maintenance/page-set: maintenance-0123456789abcdef"
	on := `maintenance/enabled: "true"`
	add("status-a", "served")
	add("status-a", "unasked", `maintenance/enabled: "false"`, "other/key: x")
	add("status-a", "active", on, "maintenance/state: active", set, "maintenance/installation: ops/mine", fmt.Sprintf("maintenance/since: %q", since(26*time.Hour+5*time.Minute)))
	add("status-a", "blocked", on, "maintenance/state: blocked", `maintenance/message: "quota \"pods\" says\tno\nand \e[31mred"`)
	add("status-b", "waits", on)
	fmt.Fprintf(&manifest, statusService, since(time.Hour))
	add("status-b", "restoring", "maintenance/state: active", set, fmt.Sprintf("maintenance/since: %q", since(90*time.Second)))
	p.runWith(manifest.String(), "kubectl apply -f -")

	out := p.run("scripts/status.sh")
	t.Log("\n" + out)
	assert.Equal(t, []string{"KIND", "NAMESPACE", "NAME", "STATE", "SINCE", "FOR", "PAGE-SET", "INSTALLATION", "MESSAGE"}, strings.Fields(strings.SplitN(out, "\n", 2)[0]))
	assert.Equal(t, 6, strings.Count(out, "\n"), "one line per target and the header:\n%s", out)
	active := fields(t, out, "active")
	assert.Equal(t, []string{"Ingress", "status-a", "active", "active"}, active[:4])
	assert.Equal(t, []string{"1d2h", "maintenance-0123456789abcdef", "ops/mine"}, active[5:])
	assert.Contains(t, out, `quota "pods" says\tno\nand \x1b[31mred`, "control characters are escaped")
	assert.Equal(t, "-", fields(t, out, "waits")[3])
	assert.Equal(t, "Service", fields(t, out, "svc")[0])
	assert.Contains(t, out, "requested, but not started")
	assert.Contains(t, out, "the restore is pending")
	assert.Less(t, strings.Index(out, " active "), strings.Index(out, "restoring"), "the longest maintenance comes first")
	column := strings.Index(out, "STATE")
	for line := range strings.Lines(out) {
		assert.Equal(t, " ", line[column-1:column], "not aligned: %s", line)
		assert.NotEqual(t, " ", line[column:column+1], "not aligned: %s", line)
	}

	only := p.run("scripts/status.sh -n status-b")
	assert.NotContains(t, only, "status-a")
	assert.Contains(t, only, "status-b")
	assert.Contains(t, p.run("scripts/status.sh --enabled-key other/key"), "unasked")

	require.NoError(t, plane.InstallTraefikCRDs(t.Context()))
	p.runWith(fmt.Sprintf(statusRoute, since(time.Minute)), "kubectl apply -f -")
	assert.Equal(t, "switching", fields(t, p.run("scripts/status.sh"), "route")[3])
}

func TestStatusUsageErrors(t *testing.T) {
	p := newPerson(t)
	assert.Contains(t, p.run("scripts/status.sh --help"), "Usage:")
	for _, wrong := range []string{"-n", "--nonsense", "list", `--enabled-key 'a"b'`} {
		out, err := p.try("scripts/status.sh " + wrong)
		assert.ErrorContains(t, err, "exit status 2", wrong)
		assert.Contains(t, out, "see --help", wrong)
	}
	_, err := p.try("scripts/status.sh --kubeconfig /nonexistent")
	assert.ErrorContains(t, err, "exit status 1")
}
