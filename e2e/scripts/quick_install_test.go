package scripts

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testImage = "registry.example/team/maintenance-controller:v1"

// addToPath puts a folder in front of the PATH.
func (p *person) addToPath(folder string) {
	p.environment = append(p.environment, "PATH="+folder+":"+p.variable("PATH"))
}

// variable returns the value of an environment variable.
func (p *person) variable(name string) (value string) {
	for _, line := range p.environment {
		if v, is := strings.CutPrefix(line, name+"="); is {
			value = v
		}
	}
	return value
}

// onlyPrograms reduces the PATH to these programs and basic Unix tools.
func (p *person) onlyPrograms(programs ...string) {
	p.Helper()
	folder := p.TempDir()
	for _, name := range append(programs, "bash", "env", "awk", "cat", "dirname", "grep", "mktemp", "rm", "sed", "tar", "tr") {
		path, err := p.try("command -v " + name)
		require.NoError(p, err, name)
		require.NoError(p, os.Symlink(strings.TrimSpace(path), filepath.Join(folder, name)))
	}
	p.environment = append(p.environment, "PATH="+folder)
}

// mustFail runs a command line that must end with this exit code, and returns its output.
func (p *person) mustFail(code int, line string) string {
	p.Helper()
	out, err := p.try(line)
	var exit *exec.ExitError
	require.ErrorAs(p, err, &exit, "%s\n%s", line, out)
	require.Equal(p, code, exit.ExitCode(), "%s\n%s", line, out)
	return out
}

// removeAtEnd removes what a script installed in a namespace when the test ends. It does not wait
// for the namespace, which the next test does not use.
func (p *person) removeAtEnd(namespace string) {
	p.Cleanup(func() {
		_, _ = p.try("kubectl delete clusterroles,clusterrolebindings -l app.kubernetes.io/instance=maintenance-controller")
		_, _ = p.try("kubectl -n " + namespace + " delete deployments --all; kubectl delete namespace --wait=false " + namespace)
	})
}

// deployed returns a field of the controller's Deployment.
func (p *person) deployed(namespace, field string) string {
	p.Helper()
	return p.run("kubectl -n " + namespace + " get deployment maintenance-controller -o jsonpath='{" + field + "}'")
}

// readyOfOnly returns how many Pods of the controller's only ReplicaSet are ready: this is what Helm
// waits for, and the status of the Deployment follows later.
func (p *person) readyOfOnly(namespace string) string {
	p.Helper()
	return p.run("kubectl -n " + namespace + " get replicasets -o jsonpath='{.items[*].status.readyReplicas}'")
}

const containerField = ".spec.template.spec.containers[0]"

func TestQuickInstall(t *testing.T) {
	p := newPerson(t)
	p.removeAtEnd("quick")
	const install = "NAMESPACE=quick scripts/quick-install.sh"

	out := p.run("IMAGE=" + testImage + " " + install + " --dry-run")
	assert.Contains(t, out, "would run: helm upgrade maintenance-controller")
	p.mustFail(1, "kubectl get namespace quick")

	out = p.run("IMAGE=" + testImage + " " + install + " -- --set controller.replicas=1,controller.log.level=debug")
	assert.Contains(t, out, "kubectl annotate ingress my-app maintenance/enabled=true", "the output has the chart's notes")
	assert.Equal(t, 2, strings.Count(p.deployed("quick", containerField), testImage), "the image of the controller and of its page Pods")
	assert.Equal(t, "1", p.readyOfOnly("quick"), "the script waits until the controller runs")

	// An upgrade with a digest keeps the settings.
	const digest = "registry.example:5000/mc@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	p.run("IMAGE=" + digest + " " + install)
	container := p.deployed("quick", containerField)
	assert.Equal(t, 2, strings.Count(container, digest), container)
	assert.Contains(t, container, `"value":"debug"`)
	generation := p.deployed("quick", ".metadata.generation")
	p.run("IMAGE=" + digest + " " + install)
	p.run(install) // keeps the image, too
	assert.Equal(t, generation, p.deployed("quick", ".metadata.generation"), "running it again changes nothing")

	assert.Contains(t, p.mustFail(1, "IMAGE="+testImage+" "+install+" --manifests"), "it is installed in quick by Helm")
	assert.Contains(t, p.mustFail(1, "RELEASE=mine IMAGE="+testImage+" "+install), "release maintenance-controller is in quick: upgrade it with RELEASE=maintenance-controller")
	out = p.mustFail(1, "IMAGE="+testImage+" "+install+" -- --set controller.replicas=none")
	assert.Contains(t, out, "got string, want integer", "the values schema refuses it")
}

// TestQuickInstallRefusesSecondRelease: a second controller for all namespaces would work on the
// same targets.
func TestQuickInstallRefusesSecondRelease(t *testing.T) {
	p := newPerson(t)
	p.removeAtEnd("named")
	p.Cleanup(func() {
		_, _ = p.try("kubectl delete clusterroles,clusterrolebindings -l app.kubernetes.io/instance=mine")
	})
	const install = "NAMESPACE=named scripts/quick-install.sh"
	p.run("IMAGE=" + testImage + " RELEASE=mine " + install)
	assert.Contains(t, p.mustFail(1, "IMAGE="+testImage+" "+install), "release mine is in named: upgrade it with RELEASE=mine")
	p.run("RELEASE=mine " + install + " -- --set controller.replicas=1")
	assert.Equal(t, "mine\n", p.run("helm -n named list --short"))
	assert.Contains(t, p.run("kubectl -n named get deployment mine-maintenance-controller -o jsonpath='{"+containerField+".image}'"), testImage)
}

func TestQuickInstallWithManifests(t *testing.T) {
	p := newPerson(t)
	p.onlyPrograms("kubectl")
	p.removeAtEnd("plain")
	const install = "NAMESPACE=plain IMAGE=" + testImage + " scripts/quick-install.sh --manifests"
	assert.Contains(t, p.run(install+" --dry-run"), "deployment.apps/maintenance-controller created (dry run)")
	p.mustFail(1, "kubectl get namespace plain")
	p.run(install)
	assert.Equal(t, 2, strings.Count(p.deployed("plain", containerField), testImage))
	assert.Equal(t, "2", p.deployed("plain", ".status.readyReplicas"))
	bound := p.run("kubectl get clusterrolebinding maintenance-controller -o jsonpath='{.subjects[0].namespace}'")
	assert.Equal(t, "plain", bound)
	assert.NotContains(t, strings.ReplaceAll(p.run(install), " unchanged", ""), "created", "running it again changes nothing")

	q := newPerson(t)
	assert.Contains(t, q.mustFail(1, "NAMESPACE=plain IMAGE="+testImage+" scripts/quick-install.sh"), "it is installed in plain from manifests")
}

// TestQuickInstallOfPublishedRelease serves the files of a release under GitHub's paths.
func TestQuickInstallOfPublishedRelease(t *testing.T) {
	p := newPerson(t)
	p.removeAtEnd("released")
	folder := t.TempDir()
	p.run("mkdir " + folder + "/v1.2.3; helm package deploy/chart --version 1.2.3 --app-version v1.2.3 -d " + folder + "/v1.2.3; " +
		"cp deploy/manifests/install.yaml " + folder + "/v1.2.3; cd " + folder + "/v1.2.3; sha256sum *.tgz install.yaml >checksums.txt")
	server := httptest.NewServer(http.FileServer(http.Dir(folder)))
	defer server.Close()
	// Run it outside the tree: it only needs the script.
	p.run("cp scripts/quick-install.sh " + folder)
	p.dir = folder
	install := "NAMESPACE=released VERSION=v1.2.3 RELEASES=" + server.URL + " ./quick-install.sh"

	assert.Contains(t, p.mustFail(1, install), "IMAGE is not set", "the chart has no image of a registry")
	p.run("IMAGE=" + testImage + " " + install)
	assert.Contains(t, p.run("helm -n released list"), "maintenance-controller-1.2.3")
	p.run("echo >>v1.2.3/maintenance-controller-1.2.3.tgz")
	assert.Contains(t, p.mustFail(1, install), "does not match checksums.txt")
	assert.Contains(t, p.mustFail(1, strings.Replace(install, "v1.2.3", "v9", 1)), "is v9 a release")
	assert.Contains(t, p.mustFail(1, "IMAGE="+testImage+" NAMESPACE=released ./quick-install.sh"), "is not a source tree")

	p.run("helm -n released uninstall maintenance-controller --no-hooks --wait")
	p.run("IMAGE=" + testImage + " NAMESPACE=released VERSION=v1.2.3 RELEASES=. ./quick-install.sh --manifests")
	assert.Equal(t, "2", p.deployed("released", ".status.readyReplicas"))
}

func TestQuickInstallUsageErrors(t *testing.T) {
	p := newPerson(t)
	const script = "scripts/quick-install.sh"
	assert.Contains(t, p.run(script+" --help"), "Usage:")
	for line, say := range map[string]string{
		"IMAGE=a/b " + script:                              "neither a tag nor a digest",
		"IMAGE='a b:1' " + script:                          "is not a valid image name",
		"VERSION=v1 " + script:                             "nothing has been released yet",
		"RELEASE=A_b " + script:                            "is not a valid release name",
		"NAMESPACE=a/b " + script:                          "is not a valid namespace",
		script + " v1":                                     `unknown argument "v1"`,
		script + " --context":                              "--context needs a value",
		"IMAGE=a/b:1 " + script + " --manifests -- --wait": "cannot be combined with --manifests",
	} {
		assert.Contains(t, p.mustFail(2, line), say, line)
	}
	assert.Contains(t, p.mustFail(1, script), "IMAGE is not set")
	assert.Contains(t, p.mustFail(1, script+" --manifests"), "IMAGE is not set")
	assert.Contains(t, p.mustFail(1, script+" --kubeconfig /nonexistent"), "no cluster answers")
	p.onlyPrograms("kubectl")
	assert.Contains(t, p.mustFail(1, "IMAGE=a/b:1 "+script), "helm is not installed")
	p.onlyPrograms()
	assert.Contains(t, p.mustFail(1, "IMAGE=a/b:1 "+script), "kubectl is not installed")
}
