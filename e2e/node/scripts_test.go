package node

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/helm"
)

// scriptTimeout ends a script that hangs. It is long enough to compile the product, which one of them
// does.
const scriptTimeout = 10 * time.Minute

// runScript runs a command line at the top of the tree, with Helm and kubectl on the PATH, and
// returns its output and exit code.
func (r *release) runScript(line string) (out string, code int) {
	r.Helper()
	cache, err := binaries.NewCache(os.Stderr)
	require.NoError(r, err)
	program, err := cache.Path(binaries.Helm())
	require.NoError(r, err)
	root, err := binaries.Root()
	require.NoError(r, err)
	ctx, cancel := context.WithTimeout(r.Context(), scriptTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", line)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "KUBECONFIG="+site.Kubeconfig(), "KUBECACHEDIR="+site.kubecache,
		"PATH="+filepath.Dir(site.kubectl)+":"+filepath.Dir(program)+":"+os.Getenv("PATH"))
	text, err := cmd.CombinedOutput()
	r.Logf("%s (%v)\n%s", line, err, text)
	return string(text), cmd.ProcessState.ExitCode()
}

// mustRunScript is runScript for command lines that must succeed.
func (r *release) mustRunScript(line string) string {
	r.Helper()
	out, code := r.runScript(line)
	require.Equal(r, 0, code)
	return out
}

// TestScriptsOnNodes builds, deploys, installs and uninstalls with the scripts. It uninstalls
// during maintenance: a Helm release, whose hook restores, and the manifests, for which the
// script starts a Job.
func TestScriptsOnNodes(t *testing.T) {
	e := newEnv(t)
	r := newRelease(e)
	host := e.host("my-app")
	e.deploy([]string{host}, app("my-app"), ingress("my-app", host, "my-app", 80))
	before := e.spec("ingress/my-app")

	folder := t.TempDir()
	state, err := json.Marshal(site.State())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "state.json"), state, 0o600))
	// In a copy: the files that it builds belong to root and would overwrite those of the tree.
	tree := t.TempDir()
	r.mustRunScript("tar -c --exclude=./.git --exclude=./.cluster --exclude=./bin --exclude=./dist . | tar -x -C " + tree)
	r.mustRunScript("cd " + tree + " && scripts/deploy.sh v0.0.0-scripts --load 'go -C e2e run ./cmd/cluster load --dir " + folder + "'")
	deployed := e.kubectl("-n", ownNamespace, "get", "deployment", helm.Release, "-o", "jsonpath={.spec.template.spec.containers[0].image}")
	assert.NotEqual(t, site.image, deployed)
	said := e.kubectl("-n", ownNamespace, "exec", "deployment/"+helm.Release, "--", "/maintenance-controller", "--version")
	assert.Contains(t, said, "v0.0.0-scripts")

	e.on("ingress/my-app")
	e.untilActive(ingresses, "my-app")
	e.untilAnswer(host, fromPage)
	assert.Contains(t, r.mustRunScript("scripts/status.sh"), "Ingress  "+e.namespace+"  my-app  active")
	out := r.mustRunScript("scripts/uninstall.sh --yes")
	assert.Contains(t, out, "Found Helm release maintenance-controller")
	assert.Contains(t, out, "  Ingress "+e.namespace+"/my-app\n", "the output lists what is still annotated")
	e.untilAnswer(host, fromApp)
	assert.Equal(t, before, e.spec("ingress/my-app"))
	r.requireNothingLeft()

	// After a new installation, what is still annotated goes into maintenance again.
	r.mustRunScript("IMAGE=" + deployed + " scripts/quick-install.sh --manifests")
	e.untilActive(ingresses, "my-app")
	e.untilAnswer(host, fromPage)
	original := r.removeOriginals("my-app")
	out, code := r.runScript("scripts/uninstall.sh --yes")
	assert.Equal(t, 1, code)
	assert.Regexp(t, `FAILED +Ingress `+e.namespace+`/my-app`, out, "from the Job's log")
	assert.Contains(t, out, "nothing else was deleted")
	e.untilAnswer(host, fromPage)
	e.kubectl("annotate", "ingress", "my-app", original)

	// When the restore runs into the time limit, the script still reads the reason from the Job's log.
	// The limit leaves the Job the time to start and to try.
	allow := r.refuseUpdates()
	out, code = r.runScript("scripts/uninstall.sh --yes --timeout 30")
	assert.Equal(t, 1, code)
	assert.Regexp(t, `FAILED +Ingress `+e.namespace+`/my-app: .*failed calling webhook`, out)
	e.untilAnswer(host, fromPage)
	allow()

	out = r.mustRunScript("scripts/uninstall.sh --yes --remove-annotations --remove-namespace")
	assert.Contains(t, out, "restored   Ingress "+e.namespace+"/my-app")
	e.untilAnswer(host, fromApp)
	assert.Equal(t, before, e.spec("ingress/my-app"))
	assert.Empty(t, ourAnnotations(e, "ingress/my-app"))
	r.requireNothingLeft()
	assert.Empty(t, e.kubectl("get", "namespace", ownNamespace, "--ignore-not-found", "-o", "name"))
}

// refuseUpdates registers a webhook without a server for updates of Ingresses, which the API
// server reports as a temporary error. The function that it returns removes the webhook.
func (r *release) refuseUpdates() (allow func()) {
	r.Helper()
	r.apply(strings.ReplaceAll(`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: NAME}, webhooks: [{
  name: nowhere.example.com, clientConfig: {url: "https://127.0.0.1:1/"}, sideEffects: None, admissionReviewVersions: [v1],
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAME}},
  rules: [{apiGroups: [networking.k8s.io], apiVersions: [v1], operations: [UPDATE], resources: [ingresses]}]}]}`, "NAME", r.namespace))
	const probe = "kubectl label ingress my-app probe=x --overwrite --dry-run=server -n "
	r.mustRunScript("while " + probe + r.namespace + "; do sleep 0.1; done")
	return func() {
		r.Helper()
		r.kubectl("delete", "validatingwebhookconfiguration", r.namespace)
		r.mustRunScript("until " + probe + r.namespace + "; do sleep 0.1; done")
	}
}

// removeOriginals stops the controller and removes both copies of an Ingress's originals. It
// returns the annotation that makes the Ingress restorable again.
func (r *release) removeOriginals(name string) (original string) {
	r.Helper()
	const key = "maintenance/original"
	r.kubectl("-n", ownNamespace, "scale", "deployment", helm.Release, "--replicas=0")
	r.kubectl("-n", ownNamespace, "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name="+helm.Release, "--timeout="+waitTimeout.String())
	original = r.kubectl("get", "ingress", name, "-o", "jsonpath={.metadata.annotations."+strings.ReplaceAll(key, ".", `\.`)+"}")
	r.kubectl("delete", "configmap", "maintenance-backup-ingress."+name)
	r.kubectl("annotate", "ingress", name, key+"-")
	return key + "=" + original
}
