package app

import (
	"bytes"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

func noEnv(string) (string, bool) { return "", false }

func TestDefaults(t *testing.T) {
	o, err := parse(nil, noEnv, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, annotations.DefaultKeys(), o.keys)
	assert.Equal(t, []string{"Ingress", "IngressRoute", "HTTPRoute", "GRPCRoute"}, o.targets)
	assert.Empty(t, o.watchNamespaces)
	template, err := o.page.template()
	require.NoError(t, err)
	assert.Equal(t, 2, template.Replicas)
	assert.Equal(t, "24Mi", template.Resources.Requests.Memory().String())
	assert.Greater(t, o.qps, float32(100), "client-go's own 5 would throttle it")
}

// TestChartHasTheSameTargets: by default, the chart grants rights for the kinds that the
// program serves.
func TestChartHasTheSameTargets(t *testing.T) {
	text, err := os.ReadFile("../../deploy/chart/values.yaml")
	require.NoError(t, err)
	var values struct {
		Controller struct{ Targets []string }
	}
	require.NoError(t, yaml.Unmarshal(text, &values))
	o, err := parse(nil, noEnv, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, o.targets, values.Controller.Targets)
}

func TestEnvironmentVariables(t *testing.T) {
	env := map[string]string{
		"MAINTENANCE_PAGE_REPLICAS": "3", "MAINTENANCE_WATCH_NAMESPACES": "a,b", "MAINTENANCE_SETTLE_TIME": "7s",
		"MAINTENANCE_PAGE_TOLERATIONS": "- key: dedicated\n  operator: Exists\n", "MAINTENANCE_VERSION": "v1.2",
	}
	o, err := parse([]string{"--settle-time=1s"}, func(name string) (string, bool) { v, ok := env[name]; return v, ok }, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, 3, o.page.replicas)
	assert.Equal(t, []string{"a", "b"}, o.watchNamespaces)
	assert.Equal(t, time.Second, o.settle, "a flag wins")
	template, err := o.page.template()
	require.NoError(t, err)
	require.Len(t, template.Tolerations, 1)
	assert.Equal(t, "dedicated", template.Tolerations[0].Key)

	env["MAINTENANCE_PAGE_REPLICAS"] = "many"
	_, err = parse(nil, func(name string) (string, bool) { v, ok := env[name]; return v, ok }, io.Discard)
	assert.ErrorContains(t, err, "MAINTENANCE_PAGE_REPLICAS")
}

func TestListsHaveNoDuplicates(t *testing.T) {
	o, err := parse([]string{
		"--watch-namespaces=shop,blog,shop", "--targets=Ingress,ingress,INGRESSROUTE,Ingress", "--ingress-class=nginx", "--ingress-class=nginx", "--page-image-pull-secrets=a,b,a",
	}, noEnv, io.Discard)
	require.NoError(t, err)
	assert.Equal(t, []string{"shop", "blog"}, o.watchNamespaces)
	assert.Equal(t, []string{"nginx"}, o.classes)
	assert.Equal(t, []string{"a", "b"}, o.page.pullSecrets)
	found, err := kinds(o.targets)
	require.NoError(t, err)
	require.Len(t, found, 2)
	assert.Equal(t, "Ingress", found[0].Name)
	assert.Equal(t, "IngressRoute", found[1].Name)

	r, err := parseRestore(Process{Args: []string{"restore", "ingress/a", "ingresses.networking.k8s.io/a", "Ingress/b"}})
	require.NoError(t, err)
	assert.Equal(t, []target.Ref{{Kind: "Ingress", Name: "a"}, {Kind: "Ingress", Name: "b"}}, r.refs)
	r, err = parseRestore(Process{Args: []string{"restore", "--all", "--watch-namespaces=shop,shop"}})
	require.NoError(t, err)
	assert.Equal(t, []string{"shop"}, r.watchNamespaces)
	_, err = parseRestore(Process{Args: []string{"restore", "--all", "--watch-namespaces=Shop"}})
	assert.ErrorContains(t, err, `--watch-namespaces: "Shop" is not a namespace`)
}

func TestSecurityContextsExtendTheRestrictedOnes(t *testing.T) {
	o, err := parse([]string{`--page-security-context={"runAsUser": 1000, "readOnlyRootFilesystem": false}`, "--page-pod-security-context=fsGroup: 7", "--page-topology-spread=[]"}, noEnv, io.Discard)
	require.NoError(t, err)
	template, err := o.page.template()
	require.NoError(t, err)
	assert.Equal(t, int64(1000), *template.Security.RunAsUser)
	assert.False(t, *template.Security.ReadOnlyRootFilesystem)
	assert.False(t, *template.Security.AllowPrivilegeEscalation, "fields that are not set keep their default")
	assert.Equal(t, int64(7), *template.PodSecurity.FSGroup)
	assert.True(t, *template.PodSecurity.RunAsNonRoot)
	assert.NotNil(t, template.Spread)
	assert.Empty(t, template.Spread)
}

func TestInvalidFlags(t *testing.T) {
	for args, want := range map[string]string{
		"--namespace=Not_A_Name":                            "--namespace",
		"--watch-namespaces=a,B":                            "--watch-namespaces",
		"--targets=Gateway":                                 "Ingress, IngressRoute",
		"--targets=":                                        "--targets",
		"--page-network-policy=sometimes":                   "auto, always or never",
		`--page-service-classes={"alb":{"type":"Node"}}`:    `alb: type "Node"`,
		`--page-service-classes={"alb":{"typ":"NodePort"}}`: "--page-service-classes",
		`--page-service-classes={"a,b":{}}`:                 "is not an ingress class",
		`--page-affinity={"podAffinity":1}`:                 "--page-affinity",
		`--page-security-context={"runAs":1}`:               "--page-security-context",
		"--acme-solver-services=a,*b":                       `"*b" is neither the name of a Service`,
		`--settle-time-classes={"alb":3}`:                   "--settle-time-classes",
		`--settle-time-classes={"alb":"-1s"}`:               "give a class and a time of 0 or more",
		"--enabled-key=a/b/c":                               "--enabled-key",
		"--enabled-key=maintenance/state":                   "writes one of these itself",
		"--enabled-key=x/y --custom-page-key=x/y":           "--custom-page-key",
		"--enabled-value=false":                             "means off",
		"--page-replicas=0":                                 "1 to 10",
		"--page-image=":                                     "--page-image",
		"--page-image-pull-policy=Sometimes":                "Always, IfNotPresent or Never",
		"--page-service-type=ExternalName":                  "NodePort",
		"--page-tolerations={":                              "--page-tolerations",
		"--page-resources=memory:":                          "--page-resources",
		"--page-labels=a=b/c":                               "--page-labels",
		"--page-drain=-1s":                                  "--page-drain",
		"--settle-time=-1s":                                 "--settle-time",
		"--page-lead-time=-1s":                              "--page-lead-time",
		"--discovery-interval=1ms":                          "--discovery-interval",
		"--lease-duration=5s":                               "--lease-renew-deadline",
		"--debug-listen=:6060":                              "not a loopback address",
		"--debug-listen=10.0.0.1:6060":                      "not a loopback address",
		"--workers=0":                                       "--workers",
		"--kube-api-qps=0":                                  "--kube-api-qps",
		"--api-tls-cert=/a":                                 "--api-tls-key",
		"--api-namespaces=Shop":                             "--api-namespaces",
		"--api-namespaces=shop --watch-namespaces=blog":     "is not among --watch-namespaces",
		"--api-cors-origins=https://shop.example/":          "--api-cors-origins",
		"--no-such-flag":                                    "no-such-flag",
		"run":                                               "takes only flags",
		"--page-replicas=0 --workers=0":                     "--page-replicas",
	} {
		t.Run(args, func(t *testing.T) {
			var stderr bytes.Buffer
			code := Main(t.Context(), Process{Args: strings.Fields(args), Env: noEnv, Stdout: io.Discard, Stderr: &stderr})
			assert.Equal(t, exitUsage, code)
			assert.Contains(t, stderr.String(), want)
			assert.Contains(t, stderr.String(), "--help")
		})
	}
}

func TestErrorNamesAllInvalidFlags(t *testing.T) {
	_, err := parse([]string{"--page-replicas=0", "--workers=0", "--namespace=_"}, noEnv, io.Discard)
	for _, flag := range []string{"--page-replicas", "--workers", "--namespace"} {
		assert.ErrorContains(t, err, flag)
	}
}

func TestHelpExplainsEveryFlag(t *testing.T) {
	var out bytes.Buffer
	assert.Equal(t, exitOK, Main(t.Context(), Process{Args: []string{"--help"}, Env: noEnv, Stdout: &out, Stderr: io.Discard}))
	(&options{}).flags().VisitAll(func(f *pflag.Flag) {
		assert.Regexp(t, regexp.MustCompile(`--`+f.Name+`\b.*\s\S`), out.String())
		assert.NotEmpty(t, f.Usage, f.Name)
	})
}

func TestVersion(t *testing.T) {
	var out bytes.Buffer
	assert.Equal(t, exitOK, Main(t.Context(), Process{Args: []string{"--version", "--workers=0"}, Env: noEnv, Stdout: &out, Stderr: io.Discard}))
	assert.Contains(t, out.String(), "maintenance-controller")
}

func TestMissingKubeconfig(t *testing.T) {
	var stderr bytes.Buffer
	assert.Equal(t, exitError, Main(t.Context(), Process{Args: []string{"--kubeconfig=/does/not/exist", "--listen="}, Env: noEnv, Stdout: io.Discard, Stderr: &stderr}))
	assert.Contains(t, stderr.String(), "no API server is configured")
}
