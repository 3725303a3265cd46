package apiserver

import (
	"bufio"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/cli"
	"maintenance-controller.io/pkg/target"
)

// kubectl maintenance as people use it: what they type, what they see, and what scripts get.

// TestPluginOnAndOff is a maintenance as a person types it.
func TestPluginOnAndOff(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), ingressRoute("shop"))
	env.startController(func(c *controllerConfig, _ *restConfig) { c.Settings.Settle = 3 * time.Second }) // so that the plugin sees it
	ana := env.admin()
	ana.expectOutput(0, "! Nothing is in maintenance in namespace SHOP.\n", "list")

	ana.terminal = true
	s := ana.expectStdout("ingress/my-app in maintenance, until TIME (in Nm)\n", "on", "ingress/my-app", "--for", "2h", "--reason", "moving \x1b[31mhouse", "--by=ana")
	require.Equal(t, 0, s.code)
	require.Contains(t, s.err, "ingress/my-app  switching: ingress controllers are following\n")
	require.NotContains(t, s.err, "active", "the result is on stdout")
	ana.terminal = false
	ana.expectOutput(0, `
NAME             STATE    SINCE   UNTIL     BY    PAGE      REASON
ingress/my-app   active   Ns      in Nm   ana   default   moving \x1b[31mhouse
`, "status")
	ana.expectOutput(0, `
NAME             STATE    SINCE   UNTIL     BY    PAGE      REASON                 HOSTS                     PAGE SET
ingress/my-app   active   Ns      in Nm   ana   default   moving \x1b[31mhouse   a.example, b.example, *   SET
`, "list", "ing", "-o", "wide")
	ana.expectOutput(0, "ingress.networking.k8s.io/my-app\n", "list", "-o", "name")
	ana.expectOutput(0, `
ingress/my-app
  State:      active
  Since:      TIME (Ns)
  Until:      TIME (in Nm)
  By:         ana
  Reason:     moving \x1b[31mhouse
  Page:       default
  Page set:   SET
  Hosts:      a.example, b.example, *

ingressroute/shop
  State:   off
  Hosts:   a.example, b.example
`, "status", "ingress/my-app", "ingressroute/shop")
	ana.expectOutput(0, `
items:
- by: ana
  hosts:
  - form: exact
    name: a.example
  - form: exact
    name: b.example
  - form: none
  kind: Ingress
  name: my-app
  namespace: SHOP
  page: default
  pageSet: SET
  reason: moving \x1b[31mhouse
  since: "TIME"
  state: active
  until: "TIME"
`, "status", "-o", "yaml")
	before := env.get(ingresses, "my-app")
	ana.expectOutput(0, "ingress/my-app already in maintenance, until TIME (in Nm)\n", "on", "ingress/my-app")
	require.Equal(t, before.GetResourceVersion(), env.get(ingresses, "my-app").GetResourceVersion(), "nothing changed, so nothing is sent")
	ana.expectOutput(0, "ingress/my-app maintenance changed\n", "on", "ingress/my-app", "--page=nope", "--until=never", "--by=bob")
	env.waitForEvent("my-app", "PageNotFound")
	s = ana.plugin("status", "ingress/my-app")
	require.Contains(t, s.out, "  By:         bob\n")
	require.Contains(t, s.out, `  Note:       Ns ago PageNotFound: annotation maintenance/custom-page names page "nope", which does not exist`)

	ana.expectOutput(0, "ingress/my-app restored\n", "off", "ingress/my-app", "--settle-time=0")
	require.True(t, restored(env.get(ingresses, "my-app")), "it waits for the restore")
	require.Empty(t, env.get(ingresses, "my-app").GetAnnotations(), "the annotation for the page is removed as well")
	require.NotContains(t, env.owners(env.get(ingresses, "my-app")), cli.FieldManager)
	ana.expectOutput(0, "ingress/my-app not in maintenance\n", "off", "ingress/my-app")
	ana.expectOutput(1, "! maintenance: there is no ingress/nobody in namespace SHOP\n", "off", "ingress/nobody")
}

// aCatchAll serves any host, by a wildcard, and one host of its own.
const aCatchAll = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: catch-all}
spec:
  rules:
    - {host: "*.example", http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}]}}
    - {host: c.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}]}}
`

// TestPluginByHost: people who migrate from one kind to another have several targets for a host.
func TestPluginByHost(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), ingressRoute("my-app"), httpRoute("my-app"), aCatchAll)
	env.startController()
	ana := env.admin()
	const shown = `! Not chosen, because they do not name the host b.example, but may serve it:
!   ingress/catch-all (c.example, *.example)
! ingress/my-app also serves a.example, any host
! ingressroute/my-app also serves a.example
! httproute/my-app also serves a.example
`
	ana.expectOutput(0, `
ingress/my-app maintenance requested (server dry run)
ingressroute/my-app maintenance requested (server dry run)
httproute/my-app maintenance requested (server dry run)
`+shown, "on", "--host=b.example", "--dry-run=server")
	const asked = shown + `! Start maintenance of 3 targets:
!   ingress/my-app
!   ingressroute/my-app
!   httproute/my-app
`
	ana.expectOutput(2, asked+"! maintenance: more than one target, and no terminal to ask on: give --yes\n! See 'kubectl maintenance on --help'.\n", "on", "--host=b.example")
	ana.answers = "n\n"
	ana.expectOutput(1, asked+"! Continue? [y/N] maintenance: nothing was changed\n", "on", "--host=b.example")
	ana.expectOutput(0, "! Nothing is in maintenance in namespace SHOP.\n", "list")
	ana.answers = "y\n"
	s := ana.expectStdout("ingress/my-app in maintenance\ningressroute/my-app in maintenance\nhttproute/my-app in maintenance\n", "on", "--host=B.example.", "--wait")
	require.Equal(t, 0, s.code)
	for _, k := range []schemaGVR{ingresses, ingressRoutes, httpRoutes} {
		require.True(t, state("active")(env.get(k, "my-app")))
	}
	require.Empty(t, env.get(ingresses, "catch-all").GetAnnotations(), "a target without the host is listed but not chosen")
	s = ana.expectStdout("ingress/my-app restored\ningressroute/my-app restored\nhttproute/my-app restored\n", "off", "--host=b.example", "--yes", "--settle-time=0")
	require.Equal(t, 0, s.code)
	ana.expectOutput(1, `
! Not chosen, because they do not name the host d.example, but may serve it:
!   ingress/catch-all (c.example, *.example)
!   ingress/my-app (a.example, b.example, any host)
! maintenance: nothing serves exactly the host d.example in namespace SHOP; use -n for another namespace, or -A for all
`, "on", "--host=d.example")
}

// TestPluginUsesTheCallersRights: the role edit can start and end maintenance, and view can look.
func TestPluginUsesTheCallersRights(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), service("my-app"), ingressRoute("my-app"))
	env.startController()
	editor, viewer := env.userWithRole("edit"), env.userWithRole("view")
	s := editor.expectStdout("ingress/my-app in maintenance\n", "on", "ingress/my-app", "--wait", "--by=ed")
	require.Equal(t, 0, s.code, s)
	const left = "! Left out, because you may not list them in namespace SHOP: ingressroutes, httproutes, grpcroutes\n"
	viewer.expectOutput(0, `
NAME             STATE    SINCE   UNTIL   BY   PAGE      REASON
ingress/my-app   active   Ns      -       ed   default   -
`+left, "status")
	viewer.expectOutput(0, "ingress.networking.k8s.io/my-app\n"+left, "list", "-o", "name")
	require.Equal(t, 0, viewer.plugin("status", "ingress/my-app").code)
	s = viewer.plugin("off", "ingress/my-app")
	require.Equal(t, 1, s.code)
	require.Regexp(t, `^maintenance: write ingress/my-app: ingresses.networking.k8s.io "my-app" is forbidden: User "view-SHOP" cannot patch resource "ingresses" .*\n`+
		`The role 'edit' in the namespace is enough`, s.err)
	s = viewer.plugin("run", "ingress/my-app", "--", "true")
	require.Equal(t, 0, s.code, "it is in maintenance already, so no write is needed: %s", s)
	s = viewer.plugin("run", "service/my-app", "--", "true")
	require.Equal(t, 125, s.code)
	require.Contains(t, s.err, "cannot create resource \"leases\"")
	s = viewer.plugin("on", "--host=a.example", "--yes")
	require.Equal(t, 1, s.code)
	require.Contains(t, s.err, "--host has to search every kind: list ingressroutes.traefik.io in namespace SHOP")
	s = viewer.plugin("list", "-A")
	require.Equal(t, 1, s.code)
	require.Contains(t, s.err, "in any namespace")
	s = editor.expectStdout("ingress/my-app restored\n", "off", "ingress/my-app", "--settle-time=0")
	require.Equal(t, 0, s.code)
}

// TestPluginWithGitOps: maintenance that another manager applies cannot be ended. The
// plugin's own field manager is one that Flux does not revert.
func TestPluginWithGitOps(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), ingress("other"))
	env.startController()
	ana := env.admin()
	applied := func(value string) {
		require.NoError(t, env.writePart(target.Ingress(), "my-app", part{manager: "gitops", text: "metadata: {annotations: {maintenance/enabled: \"" + value + "\"}}"}, true))
	}
	applied("true")
	env.waitFor(ingresses, "my-app", "active", state("active"))
	require.Equal(t, 0, ana.plugin("on", "ingress/other", "--wait").code)
	s := ana.expectStdout("ingress/other restored\n", "off", "ingress/my-app", "ingress/other", "--yes", "--settle-time=0")
	require.Equal(t, 1, s.code)
	require.Equal(t, `maintenance: ingress/my-app: field manager "gitops" applies maintenance/enabled and would write it back: remove it from what that applies; nothing was changed`+"\n",
		s.err[strings.Index(s.err, "maintenance: "):])
	require.True(t, state("active")(env.get(ingresses, "my-app")))

	applied("false")
	env.waitFor(ingresses, "my-app", "restored", restored)
	s = ana.expectStdout("ingress/my-app in maintenance\n", "on", "ingress/my-app", "--wait")
	require.Contains(t, s.err, `Warning: ingress/my-app: field manager "gitops" applies maintenance/enabled and may write its own value back: change it in what that applies`)
	require.Contains(t, env.owners(env.get(ingresses, "my-app")), cli.FieldManager)
	require.False(t, strings.HasPrefix(cli.FieldManager, "kubectl"), "Flux reverts such managers")
	s = ana.expectStdout("ingress/my-app restored\n", "off", "ingress/my-app", "--settle-time=0")
	require.Equal(t, 0, s.code, s)
}

// TestPluginWaits: events during a wait are reported, and the local clock is not trusted.
func TestPluginWaits(t *testing.T) {
	t.Parallel()
	env := newTestEnv(t)
	env.apply(ingress("my-app"), ingress("deleted"), ingress("taken-off"))
	skewed := env.admin()
	skewed.now = func() time.Time { return time.Now().Add(5 * time.Hour) }
	require.Equal(t, 0, skewed.plugin("on", "ingress/my-app", "--for=2h").code)
	until, err := time.Parse(time.RFC3339, env.get(ingresses, "my-app").GetAnnotations()[annotations.Until])
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(2*time.Hour), until, time.Minute, "by the API server's clock")

	// No controller runs: both wait until something else happens.
	for name, happens := range map[string]func(){
		"deleted": func() {
			require.NoError(t, env.dynamic.Resource(ingresses).Namespace(env.namespace).Delete(t.Context(), "deleted", metav1.DeleteOptions{}))
		},
		"taken-off": func() { env.disable(ingresses, "taken-off") },
	} {
		ended := make(chan commandOutput, 1)
		go func() { ended <- env.admin().plugin("on", "ingress/"+name, "--wait") }()
		env.waitFor(ingresses, name, "requested", func(u *unstructured.Unstructured) bool {
			return u.GetAnnotations()[annotations.DefaultEnabled] == "true"
		})
		happens()
		s := <-ended
		require.Equal(t, 1, s.code, s)
		require.Regexp(t, "^maintenance: ingress/"+name+"(: somebody withdrew the request for maintenance| was deleted)\n$", s.err)
	}

	// status -w shows the current state, and then a line for each change.
	follower, ended := env.admin(), make(chan commandOutput, 1)
	lines, out := io.Pipe()
	follower.signals, follower.tee = make(chan os.Signal, 1), out
	go func() { ended <- follower.plugin("status", "-w") }()
	shown := bufio.NewScanner(lines)
	see := func(want string) {
		t.Helper()
		for shown.Scan() {
			if regexp.MustCompile(want).MatchString(shown.Text()) {
				return
			}
		}
		t.Fatalf("the output has no line %s", want)
	}
	see(`^NAME +STATE +SINCE +UNTIL +BY +PAGE +REASON$`)
	see(`^ingress/my-app +requested +- +in `)
	env.startController()
	see(`^ingress/my-app +active `)
	env.disable(ingresses, "my-app")
	see(`^ingress/my-app +off `)
	follower.signals <- os.Interrupt
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	require.Equal(t, 0, (<-ended).code, "an interrupt is not an error")
}
