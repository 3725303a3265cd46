package node

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/e2e/binaries"
	"maintenance-controller.io/e2e/helm"
)

// script runs a script of the tree, with Helm and kubectl on the PATH, and gives what
// it says and its exit code.
func (r *release) script(line string) (out string, code int) {
	r.Helper()
	cache, err := binaries.NewCache(os.Stderr)
	require.NoError(r, err)
	program, err := cache.Path(binaries.Helm())
	require.NoError(r, err)
	root, err := binaries.Root()
	require.NoError(r, err)
	ctx, cancel := context.WithTimeout(r.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", line)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "KUBECONFIG="+site.Kubeconfig(), "KUBECACHEDIR="+site.kubecache,
		"PATH="+filepath.Dir(site.kubectl)+":"+filepath.Dir(program)+":"+os.Getenv("PATH"))
	text, err := cmd.CombinedOutput()
	r.Logf("%s (%v)\n%s", line, err, text)
	return string(text), cmd.ProcessState.ExitCode()
}

// runs is script, which must succeed.
func (r *release) runs(line string) string {
	r.Helper()
	out, code := r.script(line)
	require.Equal(r, 0, code)
	return out
}

// TestScriptsOnANode builds, deploys, installs and uninstalls by the scripts, the last
// in the middle of maintenance: of a release, whose hook restores, and of the
// manifests, for which a Job does.
func TestScriptsOnANode(t *testing.T) {
	w := newWorld(t)
	r := newRelease(w)
	host := w.host("my-app")
	w.serve([]string{host}, app("my-app"), ingress("my-app", host, "my-app", 80))
	before := w.spec("ingress/my-app")

	folder := t.TempDir()
	state, err := json.Marshal(site.State())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "state.json"), state, 0o600))
	// In a copy: what it builds is root's, and would take the place of what others built.
	tree := t.TempDir()
	r.runs("tar -c --exclude=./.git --exclude=./.cluster --exclude=./bin --exclude=./dist . | tar -x -C " + tree)
	r.runs("cd " + tree + " && scripts/deploy.sh v0.0.0-scripts --load 'go -C e2e run ./cmd/cluster load --dir " + folder + "'")
	deployed := w.kubectl("-n", ownNamespace, "get", "deployment", helm.Release, "-o", "jsonpath={.spec.template.spec.containers[0].image}")
	assert.NotEqual(t, site.image, deployed)
	said := w.kubectl("-n", ownNamespace, "exec", "deployment/"+helm.Release, "--", "/maintenance-controller", "--version")
	assert.Contains(t, said, "v0.0.0-scripts")

	w.on("ingress/my-app")
	w.untilActive(ingresses, "my-app")
	w.arrives(host, fromPage)
	assert.Contains(t, r.runs("scripts/status.sh"), "Ingress  "+w.namespace+"  my-app  active")
	out := r.runs("scripts/uninstall.sh --yes")
	assert.Contains(t, out, "Found release maintenance-controller of Helm")
	assert.Contains(t, out, "  Ingress "+w.namespace+"/my-app\n", "it is still annotated")
	w.arrives(host, fromApp)
	assert.Equal(t, before, w.spec("ingress/my-app"))
	r.requireNothingLeft()

	// What is still annotated goes in again.
	r.runs("IMAGE=" + deployed + " scripts/quick-install.sh --manifests")
	w.untilActive(ingresses, "my-app")
	w.arrives(host, fromPage)
	original := r.strip("my-app")
	out, code := r.script("scripts/uninstall.sh --yes")
	assert.Equal(t, 1, code)
	assert.Regexp(t, `FAILED +Ingress `+w.namespace+`/my-app`, out, "by the Job's log")
	assert.Contains(t, out, "nothing else was deleted")
	w.arrives(host, fromPage)
	w.kubectl("annotate", "ingress", "my-app", original)

	// What is tried until the time is over: the Job is there long enough to say why.
	allow := r.refuses()
	out, code = r.script("scripts/uninstall.sh --yes --timeout 5")
	assert.Equal(t, 1, code)
	assert.Regexp(t, `FAILED +Ingress `+w.namespace+`/my-app: .*failed calling webhook`, out)
	w.arrives(host, fromPage)
	allow()

	out = r.runs("scripts/uninstall.sh --yes --remove-annotations --remove-namespace")
	assert.Contains(t, out, "restored   Ingress "+w.namespace+"/my-app")
	w.arrives(host, fromApp)
	assert.Equal(t, before, w.spec("ingress/my-app"))
	assert.Empty(t, ourAnnotations(w, "ingress/my-app"))
	r.requireNothingLeft()
	assert.Empty(t, w.kubectl("get", "namespace", ownNamespace, "--ignore-not-found", "-o", "name"))
}

// refuses makes a webhook that nobody answers stand before updates of the Ingress: an
// error that may pass, as the API server says it.
func (r *release) refuses() (allow func()) {
	r.Helper()
	r.apply(strings.ReplaceAll(`{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: NAME}, webhooks: [{
  name: nowhere.example.com, clientConfig: {url: "https://127.0.0.1:1/"}, sideEffects: None, admissionReviewVersions: [v1],
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAME}},
  rules: [{apiGroups: [networking.k8s.io], apiVersions: [v1], operations: [UPDATE], resources: [ingresses]}]}]}`, "NAME", r.namespace))
	const probe = "kubectl label ingress my-app probe=x --overwrite --dry-run=server -n "
	r.runs("while " + probe + r.namespace + "; do sleep 0.1; done")
	return func() {
		r.Helper()
		r.kubectl("delete", "validatingwebhookconfiguration", r.namespace)
		r.runs("until " + probe + r.namespace + "; do sleep 0.1; done")
	}
}

// strip takes both copies of an Ingress's originals while no controller is there to
// put one back, and gives the one that helps to restore it.
func (r *release) strip(name string) (original string) {
	r.Helper()
	const key = "maintenance/original"
	r.kubectl("-n", ownNamespace, "scale", "deployment", helm.Release, "--replicas=0")
	r.kubectl("-n", ownNamespace, "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name="+helm.Release, "--timeout="+patience.String())
	original = r.kubectl("get", "ingress", name, "-o", "jsonpath={.metadata.annotations."+strings.ReplaceAll(key, ".", `\.`)+"}")
	r.kubectl("delete", "configmap", "maintenance-backup-ingress."+name)
	r.kubectl("annotate", "ingress", name, key+"-")
	return key + "=" + original
}
