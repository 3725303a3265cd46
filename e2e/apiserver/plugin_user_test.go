package apiserver

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"maintenance-controller.io/pkg/cli"
)

// pluginUser runs the plugin with a kubeconfig.
type pluginUser struct {
	*testEnv
	kubeconfig string
	answers    string    // to questions; without answers there is nobody to ask
	terminal   bool      // stdout is a terminal
	input      io.Reader // stdin, instead of answers
	signals    chan os.Signal
	now        func() time.Time // the local clock; nil is the real one
	tee        io.Writer        // gets a copy of stdout
}

// admin may do everything.
func (env *testEnv) admin() *pluginUser {
	env.Helper()
	kubeconfig, err := plane.KubeconfigFor("ana", "system:masters")
	require.NoError(env, err)
	return &pluginUser{testEnv: env, kubeconfig: kubeconfig}
}

// userWithRole has one of Kubernetes' default roles in the namespace.
func (env *testEnv) userWithRole(role string) *pluginUser {
	env.Helper()
	user := role + "-" + env.namespace
	kubeconfig, err := plane.KubeconfigFor(user)
	require.NoError(env, err)
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	_, err = env.client.RbacV1().RoleBindings(env.namespace).Create(env.Context(), binding, metav1.CreateOptions{})
	require.NoError(env, err)
	env.waitForRole(kubeconfig)
	return &pluginUser{testEnv: env, kubeconfig: kubeconfig}
}

// waitForRole waits until the API server applies the role.
func (env *testEnv) waitForRole(kubeconfig string) {
	env.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	require.NoError(env, err)
	client, err := kubernetes.NewForConfig(config)
	require.NoError(env, err)
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: env.namespace, Verb: "list", Group: "networking.k8s.io", Resource: "ingresses"},
	}}
	for range 2000 {
		answer, err := client.AuthorizationV1().SelfSubjectAccessReviews().Create(env.Context(), review, metav1.CreateOptions{})
		require.NoError(env, err)
		if answer.Status.Allowed {
			return
		}
	}
	env.Fatal("the API server does not apply the role")
}

// commandOutput is what a command has printed.
type commandOutput struct {
	code     int
	out, err string
}

func (s commandOutput) String() string {
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
	holdOf  = regexp.MustCompile(`(in )?\b\d+(m\d+s|ms|s|m)\b( *)`)
)

// plugin runs a command and returns what it prints. In String, lines of stderr start with
// "! ". What differs from run to run is replaced by a name: SHOP is the namespace.
func (p *pluginUser) plugin(args ...string) commandOutput {
	p.Helper()
	var out, err safeBuffer // with a lock, since a command may write as well
	var in io.Reader = strings.NewReader(p.answers)
	if p.input != nil {
		in = p.input
	}
	code := cli.Main(p.Context(), cli.Process{
		Args: append([]string{"--kubeconfig=" + p.kubeconfig, "--namespace=" + p.namespace}, args...),
		Env:  func(string) (string, bool) { return "", false }, Stdin: in,
		Stdout: io.MultiWriter(&out, cmp.Or[io.Writer](p.tee, io.Discard)), Stderr: &err, StdinIsTerminal: p.answers != "", StderrIsTerminal: p.terminal, Signals: p.signals, Now: p.now,
	})
	return commandOutput{code, p.normalize(out.String()), p.normalize(err.String())}
}

func (p *pluginUser) normalize(text string) string {
	text = strings.ReplaceAll(text, p.namespace, "SHOP")
	text = setOf.ReplaceAllString(text, "SET")
	text = leaseOf.ReplaceAllString(text, "LEASE")
	text = timesOf.ReplaceAllString(text, "TIME")
	return holdOf.ReplaceAllStringFunc(text, func(found string) string {
		parts := holdOf.FindStringSubmatch(found)
		in, unit, after := parts[1], parts[2], parts[3]
		if in == "" && len(after) > 1 { // a column of a table, which is as wide for 9s as for 10s
			return fmt.Sprintf("%-*s", len(found), "N"+unit)
		}
		return in + "N" + unit + after
	})
}

// expectStdout requires this text on stdout, byte by byte.
func (p *pluginUser) expectStdout(want string, args ...string) commandOutput {
	p.Helper()
	s := p.plugin(args...)
	require.Equal(p, strings.TrimPrefix(want, "\n"), s.out, "kubectl maintenance %s\n%s", strings.Join(args, " "), s)
	return s
}

// expectOutput requires this text on stdout and stderr, and this exit code.
func (p *pluginUser) expectOutput(code int, want string, args ...string) {
	p.Helper()
	s := p.plugin(args...)
	require.Equal(p, strings.TrimPrefix(want, "\n"), s.String(), "kubectl maintenance %s", strings.Join(args, " "))
	require.Equal(p, code, s.code)
}
