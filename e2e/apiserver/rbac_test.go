package apiserver

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authenticationv1 "k8s.io/api/authentication/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/yaml"

	"maintenance-controller.io/e2e/cluster"
	"maintenance-controller.io/e2e/fakekubelet"
	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

const (
	accountName      = "maintenance-controller"
	accountNamespace = "maintenance-system"
	account          = "system:serviceaccount:" + accountNamespace + ":" + accountName
)

// rendered are the manifests that grant the controller its rights.
var rendered = []string{"install.yaml", "service-targets.yaml"}

// right is granted by a rule or needed by a call.
type right struct{ verb, group, resource, name string }

func (r right) String() string {
	return strings.TrimSuffix(fmt.Sprintf("%s %s.%s/%s", r.verb, r.resource, r.group, r.name), "/")
}

// granted returns the rights of all roles in the manifests.
func granted(t *testing.T) map[right]bool {
	t.Helper()
	all := map[right]bool{}
	for _, name := range rendered {
		text, err := os.ReadFile("../../deploy/manifests/" + name)
		require.NoError(t, err)
		for _, document := range strings.Split(string(text), "\n---\n") {
			var role rbacv1.ClusterRole // a Role has the same fields
			require.NoError(t, yaml.Unmarshal([]byte(document), &role))
			if !strings.HasSuffix(role.Kind, "Role") {
				continue
			}
			for _, rule := range role.Rules {
				require.Empty(t, rule.NonResourceURLs)
				for _, verb := range rule.Verbs {
					for _, group := range rule.APIGroups {
						for _, resource := range rule.Resources {
							for _, name := range append(rule.ResourceNames, "")[:max(1, len(rule.ResourceNames))] {
								all[right{verb, group, resource, name}] = true
							}
						}
					}
				}
			}
		}
	}
	return all
}

// audit is an API server's audit log of one user.
type audit struct{ policy, log string }

func newAudit(t *testing.T, user string) audit {
	t.Helper()
	a := audit{policy: filepath.Join(t.TempDir(), "policy.yaml"), log: filepath.Join(t.TempDir(), "audit.log")}
	policy := "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- {level: Metadata, users: ['" + user + "']}\n- {level: None}\n"
	require.NoError(t, os.WriteFile(a.policy, []byte(policy), 0o600))
	return a
}

// flags of the API server. Without WatchList, as in older API servers, clients have to list.
func (a audit) flags() []string {
	return []string{"--audit-policy-file=" + a.policy, "--audit-log-path=" + a.log, "--feature-gates=WatchList=false"}
}

// call is a line of the log.
type call struct {
	Verb, RequestURI string
	ObjectRef        struct{ APIGroup, Resource, Subresource, Name, Namespace string }
	Annotations      map[string]string
}

func (c call) forbidden() bool { return c.Annotations["authorization.k8s.io/decision"] == "forbid" }

func (c call) writes() bool { return !slices.Contains([]string{"get", "list", "watch"}, c.Verb) }

func (a audit) calls(t *testing.T) []call {
	t.Helper()
	record, err := os.ReadFile(a.log)
	require.NoError(t, err)
	var calls []call
	for line := range strings.Lines(string(record)) {
		var c call
		require.NoError(t, json.Unmarshal([]byte(line), &c))
		calls = append(calls, c)
	}
	return calls
}

// tokenKubeconfig is for a service account, with a token as in a Pod.
func (env *testEnv) tokenKubeconfig(namespace, name string) string {
	env.Helper()
	token, err := env.client.CoreV1().ServiceAccounts(namespace).CreateToken(env.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	require.NoError(env, err)
	config := clientcmdapi.Config{
		Clusters:  map[string]*clientcmdapi.Cluster{"it": {Server: env.config.Host, CertificateAuthorityData: env.config.CAData}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"it": {Token: token.Status.Token}},
		Contexts:  map[string]*clientcmdapi.Context{"it": {Cluster: "it", AuthInfo: "it"}}, CurrentContext: "it",
	}
	path := filepath.Join(env.TempDir(), "kubeconfig")
	require.NoError(env, clientcmd.WriteToFile(config, path))
	return path
}

// TestRightsAreMinimal lets the controller do everything it can with its service account:
// no call is forbidden, and no right is unused.
func TestRightsAreMinimal(t *testing.T) {
	t.Parallel()
	record := newAudit(t, account)
	own, err := cluster.StartControlPlane(t.Context(), cluster.Options{CRDs: true, APIServerArgs: record.flags()})
	require.NoError(t, err)
	t.Cleanup(own.Stop)
	require.NoError(t, fakekubelet.Run(t.Context(), own.Config()))
	installManifests(t, own, rendered[1:]...)
	env, taken, bystander := newTestEnvOn(t, own.Config(), target.Kinds()...), newTestEnvOn(t, own.Config(), target.Kinds()...), newTestEnvOn(t, own.Config(), target.Kinds()...)
	bystander.apply(ingress("my-app"), customPage("spring", "page.html", "another team's"))
	exerciseController(env, taken, env.tokenKubeconfig(accountNamespace, accountName))

	used, rights := map[right]bool{}, granted(t)
	for _, c := range record.calls(t) {
		assert.False(t, c.forbidden(), "%s %s", c.Verb, c.RequestURI)
		resource := strings.TrimSuffix(c.ObjectRef.Resource+"/"+c.ObjectRef.Subresource, "/")
		for _, name := range []string{c.ObjectRef.Name, ""} {
			if r := (right{c.Verb, c.ObjectRef.APIGroup, resource, name}); rights[r] {
				used[r] = true
			}
		}
		if c.writes() {
			where := c.ObjectRef.Namespace
			assert.True(t, where == env.namespace || where == taken.namespace || c.ObjectRef.Resource == "leases" || c.ObjectRef.Resource == "events" && where != bystander.namespace,
				"%s %s: no write in another namespace", c.Verb, c.RequestURI)
		}
	}
	for r := range rights {
		assert.True(t, used[r], "granted but not used: %s", r)
	}
	require.Greater(t, len(used), 30, "%v", slices.Collect(maps.Keys(used)))
}

// exerciseController lets the controller do everything it can in two namespaces. In the
// second one, names that it needs are taken.
func exerciseController(env, taken *testEnv, kubeconfig string) {
	flags := []string{"--leader-elect=true", "--targets=Ingress,IngressRoute,HTTPRoute,GRPCRoute,Service", `--settle-time-classes={"traefik": "1s"}`}
	p := startProcess(env.T, kubeconfig, flags...)
	env.apply("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: default-deny}\nspec: {podSelector: {}, policyTypes: [Ingress]}\n")
	for _, k := range target.Kinds() {
		env.apply(manifests[k.Name]("my-app"))
	}
	each := func(do func(schemaGVR)) {
		for _, k := range target.Kinds() {
			do(k.Resource)
		}
	}
	env.apply(serviceChecker("my-checker", "{services: [{name: my-app}]}"))
	env.waitFor(checkers, "my-checker", "a status", checkerCondition("Available", "True"))
	for range 2 { // the second time updates Events of the first
		each(func(gvr schemaGVR) { env.enable(gvr, "my-app") })
		each(func(gvr schemaGVR) { env.waitFor(gvr, "my-app", "active", state(annotations.Active)) })
		env.requireRepairs()
		each(func(gvr schemaGVR) { env.disable(gvr, "my-app") })
		each(func(gvr schemaGVR) { env.waitFor(gvr, "my-app", "restored", restored) })
	}
	// The controller reads a Lease that nobody renews before it ends maintenance.
	env.apply(env.leaseManifest("run", "{maintenance/lease: ''}", 10))
	env.annotate(ingresses, "my-app", map[string]any{annotations.DefaultEnabled: "true", annotations.Lease: "run"})
	env.waitFor(ingresses, "my-app", "restored", func(u *unstructured.Unstructured) bool {
		return restored(u) && u.GetAnnotations()[annotations.Lease] == ""
	})
	env.waitForCleanup()

	for _, object := range []string{"apiVersion: v1\nkind: Service\nmetadata: {name: %s}\nspec: {ports: [{port: 1}]}\n",
		"apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: %s}\nspec: {minAvailable: 1}\n"} {
		object = fmt.Sprintf(object, defaultSet())
		taken.apply(ingress("my-app"), object)
		taken.enable(ingresses, "my-app")
		taken.waitFor(ingresses, "my-app", "blocked", state(annotations.Blocked))
		u := taken.parse(object)
		resource := resourceOf(u)
		require.NoError(env, taken.dynamic.Resource(resource).Namespace(taken.namespace).Delete(env.Context(), u.GetName(), metav1.DeleteOptions{}))
		taken.waitFor(ingresses, "my-app", "active", state(annotations.Active))
		require.NoError(env, taken.dynamic.Resource(ingresses).Namespace(taken.namespace).Delete(env.Context(), "my-app", metav1.DeleteOptions{}))
		taken.waitForCleanup()
	}

	// One Pod needs no budget: the earlier one is deleted.
	env.enable(ingresses, "my-app")
	env.waitFor(ingresses, "my-app", "active", state(annotations.Active))
	p.Stop()
	p = startProcess(env.T, kubeconfig, append(flags, "--page-replicas=1")...)
	env.waitFor(budgets, defaultSet(), "deletion", absent)
	env.disable(ingresses, "my-app")
	env.waitForCleanup()
	p.Stop()
	assert.NotContains(env, p.log.String(), "forbidden")
}

// requireRepairs changes parts of a page set and waits until the controller has repaired them.
func (env *testEnv) requireRepairs() {
	env.Helper()
	set := defaultSet()
	policies := schemaGVR{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}
	for gvr, field := range map[schemaGVR][]string{services: {"spec", "selector"}, policies: {"spec", "podSelector", "matchLabels"}} {
		before := spec(env, env.waitFor(gvr, set, "existence", exists))
		env.edit(gvr, set, func(u *unstructured.Unstructured) {
			require.NoError(env, unstructured.SetNestedStringMap(u.Object, map[string]string{"app": "other"}, field...))
		})
		env.waitFor(gvr, set, "as it was", func(u *unstructured.Unstructured) bool { return spec(env, u) == before })
	}
	env.waitForPods(2, exists) // a maintenance is active with one
	failed := env.list(pods, annotations.PageSetLabel)[0].DeepCopy()
	require.NoError(env, unstructured.SetNestedField(failed.Object, "Failed", "status", "phase"))
	_, err := env.dynamic.Resource(pods).Namespace(env.namespace).UpdateStatus(env.Context(), failed, metav1.UpdateOptions{})
	require.NoError(env, err)
	env.waitFor(pods, failed.GetName(), "deletion", absent)
	env.waitForPods(2, exists)
}
