package apiserver

import (
	"bufio"
	"cmp"
	"io"

	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/cli"
	"maintenance-controller.io/pkg/target"
)

// kubectl maintenance, as people use it: what they type, what they see, and what their
// scripts get.

// person uses the plugin with a kubeconfig of their own.
type person struct {
	*world
	kubeconfig string
	answers    string    // to questions; without it there is nobody to ask
	shows      bool      // sits at a terminal
	input      io.Reader // of a command, in place of answers
	signals    chan os.Signal
	now        func() time.Time // of their machine's clock; nil is the real one
	also       io.Writer        // gets the results as they come
}

// admin may do everything.
func (w *world) admin() *person {
	w.Helper()
	kubeconfig, err := plane.KubeconfigFor("ana", "system:masters")
	require.NoError(w, err)
	return &person{world: w, kubeconfig: kubeconfig}
}

// as is somebody with a role of Kubernetes' own in the world's namespace.
func (w *world) as(role string) *person {
	w.Helper()
	user := role + "-" + w.namespace
	kubeconfig, err := plane.KubeconfigFor(user)
	require.NoError(w, err)
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	_, err = w.client.RbacV1().RoleBindings(w.namespace).Create(w.Context(), binding, metav1.CreateOptions{})
	require.NoError(w, err)
	w.untilAllowed(kubeconfig)
	return &person{world: w, kubeconfig: kubeconfig}
}

// untilAllowed waits until the API server knows of a role: it follows its own objects.
func (w *world) untilAllowed(kubeconfig string) {
	w.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	require.NoError(w, err)
	client, err := kubernetes.NewForConfig(config)
	require.NoError(w, err)
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: w.namespace, Verb: "list", Group: "networking.k8s.io", Resource: "ingresses"},
	}}
	for range 2000 {
		answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(w.Context(), review, metav1.CreateOptions{})
		require.NoError(w, err)
		if answer.Status.Allowed {
			return
		}
	}
	w.Fatal("the role is not in force")
}

// said is what a command has written.
type said struct {
	code     int
	out, err string
}

func (s said) String() string {
	text := s.out
	for line := range strings.Lines(s.err) {
		text += "! " + line
	}
	return text
}

var (
	timesOf = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(Z| ?[+-]\d\d:\d\d)`)
	setOf   = regexp.MustCompile(`maintenance-[0-9a-f]{16}`)
	leaseOf = regexp.MustCompile(`maintenance-run-[a-z0-9]+`)
	holdOf  = regexp.MustCompile(`\b\d+(m\d+s|ms|s|m)\b`)
)

// types runs a command and gives what a person sees: results as they are, all else with a
// ! in front. What differs from run to run has a name: SHOP is the namespace.
func (p *person) types(args ...string) said {
	p.Helper()
	var out, err output // a command writes as well
	var in io.Reader = strings.NewReader(p.answers)
	if p.input != nil {
		in = p.input
	}
	code := cli.Main(p.Context(), cli.Process{
		Args: append([]string{"--kubeconfig=" + p.kubeconfig, "--namespace=" + p.namespace}, args...),
		Env:  func(string) (string, bool) { return "", false }, Stdin: in,
		Stdout: io.MultiWriter(&out, cmp.Or[io.Writer](p.also, io.Discard)), Stderr: &err, Asks: p.answers != "", Shows: p.shows, Signals: p.signals, Now: p.now,
	})
	return said{code, p.named(out.String()), p.named(err.String())}
}

func (p *person) named(text string) string {
	text = strings.ReplaceAll(text, p.namespace, "SHOP")
	text = setOf.ReplaceAllString(text, "SET")
	text = leaseOf.ReplaceAllString(text, "LEASE")
	text = timesOf.ReplaceAllString(text, "TIME")
	return holdOf.ReplaceAllString(text, "N$1")
}

// results are what a command writes to its standard output, to the byte.
func (p *person) results(want string, args ...string) said {
	p.Helper()
	s := p.types(args...)
	require.Equal(p, strings.TrimPrefix(want, "\n"), s.out, "kubectl maintenance %s\n%s", strings.Join(args, " "), s)
	return s
}

// sees is all that a person sees of a command.
func (p *person) sees(code int, want string, args ...string) {
	p.Helper()
	s := p.types(args...)
	require.Equal(p, strings.TrimPrefix(want, "\n"), s.String(), "kubectl maintenance %s", strings.Join(args, " "))
	require.Equal(p, code, s.code)
}

// TestPluginOnAndOff is a maintenance as somebody types it.
func TestPluginOnAndOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), ingressRoute("shop"))
	w.start()
	ana := w.admin()
	ana.sees(0, "! Nothing is in maintenance in namespace SHOP.\n", "list")

	ana.shows = true
	s := ana.results("ingress/my-app in maintenance, until TIME (in Nm)\n", "on", "ingress/my-app", "--for", "2h", "--reason", "moving \x1b[31mhouse", "--by=ana")
	require.Equal(t, 0, s.code)
	require.Contains(t, s.err, "ingress/my-app  switching: ingress controllers are following\n")
	require.NotContains(t, s.err, "active", "that is a result")
	ana.shows = false
	ana.sees(0, `
NAME             STATE    SINCE   UNTIL     BY    PAGE      REASON
ingress/my-app   active   Ns      in Nm   ana   default   moving \x1b[31mhouse
`, "status")
	ana.sees(0, `
NAME             STATE    SINCE   UNTIL     BY    PAGE      REASON                 HOSTS                     PAGE SET
ingress/my-app   active   Ns      in Nm   ana   default   moving \x1b[31mhouse   a.example, b.example, *   SET
`, "list", "ing", "-o", "wide")
	ana.sees(0, "ingress.networking.k8s.io/my-app\n", "list", "-o", "name")
	ana.sees(0, `
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
	ana.sees(0, `
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
	before := w.get(ingresses, "my-app")
	ana.sees(0, "ingress/my-app already in maintenance, until TIME (in Nm)\n", "on", "ingress/my-app")
	require.Equal(t, before.GetResourceVersion(), w.get(ingresses, "my-app").GetResourceVersion(), "nothing changed, nothing sent")
	ana.sees(0, "ingress/my-app maintenance changed\n", "on", "ingress/my-app", "--page=nope", "--until=never", "--by=bob")
	w.untilEvent("my-app", "PageNotFound")
	s = ana.types("status", "ingress/my-app")
	require.Contains(t, s.out, "  By:         bob\n")
	require.Contains(t, s.out, `  Note:       Ns ago PageNotFound: annotation maintenance/custom-page names page "nope", which is not there`)

	ana.sees(0, "ingress/my-app restored\n", "off", "ingress/my-app", "--settle-time=0")
	require.True(t, restored(w.get(ingresses, "my-app")), "it has waited")
	require.Empty(t, w.get(ingresses, "my-app").GetAnnotations(), "the page goes that was named with on")
	require.NotContains(t, w.owners(w.get(ingresses, "my-app")), cli.Manager)
	ana.sees(0, "ingress/my-app not in maintenance\n", "off", "ingress/my-app")
	ana.sees(1, "! maintenance: there is no ingress/nobody in namespace SHOP\n", "off", "ingress/nobody")
}

// aCatchAll serves any host, a wildcard and a host of its own.
const aCatchAll = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: catch-all}
spec:
  rules:
    - {host: "*.example", http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}]}}
    - {host: c.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}]}}
`

// TestPluginByHost: people who move from one kind to another have several side by side.
func TestPluginByHost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), ingressRoute("my-app"), httpRoute("my-app"), aCatchAll)
	w.start()
	ana := w.admin()
	const shown = `! Not chosen, since it does not name the host b.example, but may serve it:
!   ingress/catch-all (c.example, *.example)
! ingress/my-app also serves a.example, any host
! ingressroute/my-app also serves a.example
! httproute/my-app also serves a.example
`
	ana.sees(0, `
ingress/my-app maintenance requested (server dry run)
ingressroute/my-app maintenance requested (server dry run)
httproute/my-app maintenance requested (server dry run)
`+shown, "on", "--host=b.example", "--dry-run=server")
	const asked = shown + `! Start maintenance of 3 targets:
!   ingress/my-app
!   ingressroute/my-app
!   httproute/my-app
`
	ana.sees(2, asked+"! maintenance: more than one target, and nobody to ask: say --yes\n! See 'kubectl maintenance on --help'.\n", "on", "--host=b.example")
	ana.answers = "n\n"
	ana.sees(1, asked+"! Go on? [y/N] maintenance: nothing was changed\n", "on", "--host=b.example")
	ana.sees(0, "! Nothing is in maintenance in namespace SHOP.\n", "list")
	ana.answers = "y\n"
	s := ana.results("ingress/my-app in maintenance\ningressroute/my-app in maintenance\nhttproute/my-app in maintenance\n", "on", "--host=B.example.", "--wait")
	require.Equal(t, 0, s.code)
	for _, k := range []schemaGVR{ingresses, ingressRoutes, httpRoutes} {
		require.True(t, state("active")(w.get(k, "my-app")))
	}
	require.Empty(t, w.get(ingresses, "catch-all").GetAnnotations(), "who does not name the host is listed, not chosen")
	s = ana.results("ingress/my-app restored\ningressroute/my-app restored\nhttproute/my-app restored\n", "off", "--host=b.example", "--yes", "--settle-time=0")
	require.Equal(t, 0, s.code)
	ana.sees(1, `
! Not chosen, since it does not name the host d.example, but may serve it:
!   ingress/catch-all (c.example, *.example)
!   ingress/my-app (a.example, b.example, any host)
! maintenance: nothing serves exactly the host d.example in namespace SHOP; another one is -n, and all are -A
`, "on", "--host=d.example")
}

// TestPluginHasAPersonsRights: edit is enough to start and end maintenance, view to look.
func TestPluginHasAPersonsRights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), service("my-app"), ingressRoute("my-app"))
	w.start()
	editor, viewer := w.as("edit"), w.as("view")
	s := editor.results("ingress/my-app in maintenance\n", "on", "ingress/my-app", "--wait", "--by=ed")
	require.Equal(t, 0, s.code, s)
	const left = "! Left out, since you may not list them in namespace SHOP: ingressroutes, httproutes, grpcroutes\n"
	viewer.sees(0, `
NAME             STATE    SINCE   UNTIL   BY   PAGE      REASON
ingress/my-app   active   Ns      -       ed   default   -
`+left, "status")
	viewer.sees(0, "ingress.networking.k8s.io/my-app\n"+left, "list", "-o", "name")
	require.Equal(t, 0, viewer.types("status", "ingress/my-app").code)
	s = viewer.types("off", "ingress/my-app")
	require.Equal(t, 1, s.code)
	require.Regexp(t, `^maintenance: write ingress/my-app: ingresses.networking.k8s.io "my-app" is forbidden: User "view-SHOP" cannot patch resource "ingresses" .*\n`+
		`The role 'edit' of the namespace is enough`, s.err)
	s = viewer.types("run", "ingress/my-app", "--", "true")
	require.Equal(t, 0, s.code, "what a person has put in maintenance needs no writing: %s", s)
	s = viewer.types("run", "service/my-app", "--", "true")
	require.Equal(t, 125, s.code)
	require.Contains(t, s.err, "cannot create resource \"leases\"")
	s = viewer.types("on", "--host=a.example", "--yes")
	require.Equal(t, 1, s.code)
	require.Contains(t, s.err, "to choose by --host every kind has to be looked at: list ingressroutes.traefik.io in namespace SHOP")
	s = viewer.types("list", "-A")
	require.Equal(t, 1, s.code)
	require.Contains(t, s.err, "in any namespace")
	s = editor.results("ingress/my-app restored\n", "off", "ingress/my-app", "--settle-time=0")
	require.Equal(t, 0, s.code)
}

// TestPluginUnderGitOps: what another manager applies cannot be ended, and the plugin's own
// manager is one that Flux does not undo.
func TestPluginUnderGitOps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), ingress("other"))
	w.start()
	ana := w.admin()
	applied := func(value string) {
		require.NoError(t, w.say(target.Ingress(), "my-app", part{manager: "gitops", text: "metadata: {annotations: {maintenance/enabled: \"" + value + "\"}}"}, true))
	}
	applied("true")
	w.until(ingresses, "my-app", "active", state("active"))
	require.Equal(t, 0, ana.types("on", "ingress/other", "--wait").code)
	s := ana.results("ingress/other restored\n", "off", "ingress/my-app", "ingress/other", "--yes", "--settle-time=0")
	require.Equal(t, 1, s.code)
	require.Equal(t, `maintenance: ingress/my-app: field manager "gitops" applies maintenance/enabled and would put it back: take it out of what that applies; nothing was changed`+"\n",
		s.err[strings.Index(s.err, "maintenance: "):])
	require.True(t, state("active")(w.get(ingresses, "my-app")))

	applied("false")
	w.until(ingresses, "my-app", "restored", restored)
	s = ana.results("ingress/my-app in maintenance\n", "on", "ingress/my-app", "--wait")
	require.Contains(t, s.err, `Warning: ingress/my-app: field manager "gitops" applies maintenance/enabled, and may put its own value back: set it there`)
	require.Contains(t, w.owners(w.get(ingresses, "my-app")), cli.Manager)
	require.False(t, strings.HasPrefix(cli.Manager, "kubectl"), "Flux undoes what such managers write")
	s = ana.results("ingress/my-app restored\n", "off", "ingress/my-app", "--settle-time=0")
	require.Equal(t, 0, s.code, s)
}

// TestPluginWaits: what comes between is told, and the clock of the person's machine is
// not believed.
func TestPluginWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.apply(ingress("my-app"), ingress("deleted"), ingress("taken-off"))
	skewed := w.admin()
	skewed.now = func() time.Time { return time.Now().Add(5 * time.Hour) }
	require.Equal(t, 0, skewed.types("on", "ingress/my-app", "--for=2h").code)
	until, err := time.Parse(time.RFC3339, w.get(ingresses, "my-app").GetAnnotations()[annotations.Until])
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(2*time.Hour), until, time.Minute, "by the API server's clock")

	// No controller works: both wait until something else happens.
	for name, happens := range map[string]func(){
		"deleted": func() {
			require.NoError(t, w.dynamic.Resource(ingresses).Namespace(w.namespace).Delete(t.Context(), "deleted", metav1.DeleteOptions{}))
		},
		"taken-off": func() { w.off(ingresses, "taken-off") },
	} {
		ended := make(chan said, 1)
		go func() { ended <- w.admin().types("on", "ingress/"+name, "--wait") }()
		w.until(ingresses, name, "asked for", func(u *unstructured.Unstructured) bool {
			return u.GetAnnotations()[annotations.DefaultEnabled] == "true"
		})
		happens()
		s := <-ended
		require.Equal(t, 1, s.code, s)
		require.Regexp(t, "^maintenance: ingress/"+name+"(: somebody took the request for maintenance off| was deleted) meanwhile\n$", s.err)
	}

	// status -w shows what there is, and then a line for each change.
	follower, ended := w.admin(), make(chan said, 1)
	lines, out := io.Pipe()
	follower.signals, follower.also = make(chan os.Signal, 1), out
	go func() { ended <- follower.types("status", "-w") }()
	shown := bufio.NewScanner(lines)
	see := func(want string) {
		t.Helper()
		for shown.Scan() {
			if regexp.MustCompile(want).MatchString(shown.Text()) {
				return
			}
		}
		t.Fatalf("%s was not shown", want)
	}
	see(`^NAME +STATE +SINCE +UNTIL +BY +PAGE +REASON$`)
	see(`^ingress/my-app +requested +- +in `)
	w.start()
	see(`^ingress/my-app +active `)
	w.off(ingresses, "my-app")
	see(`^ingress/my-app +off `)
	follower.signals <- os.Interrupt
	go func() { _, _ = io.Copy(io.Discard, lines) }()
	require.Equal(t, 0, (<-ended).code, "to end it is no error")
}
