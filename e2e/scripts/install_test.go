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

const anImage = "registry.example/team/maintenance-controller:v1"

// has puts a folder of programs before those that are there.
func (p *person) has(folder string) {
	p.environment = append(p.environment, "PATH="+folder+":"+p.variable("PATH"))
}

func (p *person) variable(name string) (value string) {
	for _, line := range p.environment {
		if v, is := strings.CutPrefix(line, name+"="); is {
			value = v
		}
	}
	return value
}

// hasOnly makes these all the programs that there are, beside a Unix's own.
func (p *person) hasOnly(programs ...string) {
	p.Helper()
	folder := p.TempDir()
	for _, name := range append(programs, "bash", "env", "awk", "cat", "dirname", "grep", "mktemp", "rm", "sed", "tar", "tr") {
		path, err := p.try("command -v " + name)
		require.NoError(p, err, name)
		require.NoError(p, os.Symlink(strings.TrimSpace(path), filepath.Join(folder, name)))
	}
	p.environment = append(p.environment, "PATH="+folder)
}

// fails runs a command line that must end with this exit code, and gives what it says.
func (p *person) fails(code int, line string) string {
	p.Helper()
	out, err := p.try(line)
	var exit *exec.ExitError
	require.ErrorAs(p, err, &exit, "%s\n%s", line, out)
	require.Equal(p, code, exit.ExitCode(), "%s\n%s", line, out)
	return out
}

// removes takes away what a script has installed in a namespace, when the test ends:
// what the next test would meet at once, and the rest when it may.
func (p *person) removes(namespace string) {
	p.Cleanup(func() {
		_, _ = p.try("kubectl delete clusterroles,clusterrolebindings -l app.kubernetes.io/instance=maintenance-controller")
		_, _ = p.try("kubectl -n " + namespace + " delete deployments --all; kubectl delete namespace --wait=false " + namespace)
	})
}

// deployed is a field of the controller's Deployment.
func (p *person) deployed(namespace, field string) string {
	p.Helper()
	return p.run("kubectl -n " + namespace + " get deployment maintenance-controller -o jsonpath='{" + field + "}'")
}

const containerField = ".spec.template.spec.containers[0]"

func TestQuickInstall(t *testing.T) {
	p := newPerson(t)
	p.removes("quick")
	const install = "NAMESPACE=quick scripts/quick-install.sh"

	out := p.run("IMAGE=" + anImage + " " + install + " --dry-run")
	assert.Contains(t, out, "would run: helm upgrade maintenance-controller")
	p.fails(1, "kubectl get namespace quick")

	out = p.run("IMAGE=" + anImage + " " + install + " -- --set controller.replicas=1,controller.log.level=debug")
	assert.Contains(t, out, "kubectl annotate ingress my-app maintenance/enabled=true", "the chart's notes")
	assert.Equal(t, 2, strings.Count(p.deployed("quick", containerField), anImage), "the controller, and its page Pods")
	assert.Equal(t, "1", p.deployed("quick", ".status.readyReplicas"), "it waits until it runs")

	// An upgrade by digest: what was set stays.
	const digest = "registry.example:5000/mc@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	p.run("IMAGE=" + digest + " " + install)
	container := p.deployed("quick", containerField)
	assert.Equal(t, 2, strings.Count(container, digest), container)
	assert.Contains(t, container, `"value":"debug"`)
	generation := p.deployed("quick", ".metadata.generation")
	p.run("IMAGE=" + digest + " " + install)
	p.run(install) // the image stays as well
	assert.Equal(t, generation, p.deployed("quick", ".metadata.generation"), "the same again changes nothing")

	assert.Contains(t, p.fails(1, "IMAGE="+anImage+" "+install+" --manifests"), "Helm has installed it in quick")
	assert.Contains(t, p.fails(1, "RELEASE=mine IMAGE="+anImage+" "+install), "release maintenance-controller is in quick: upgrade that with RELEASE=maintenance-controller")
	out = p.fails(1, "IMAGE="+anImage+" "+install+" -- --set controller.replicas=none")
	assert.Contains(t, out, "got string, want integer", "the chart refuses it")
}

// TestQuickInstallOfAnotherRelease: two controllers for all namespaces would not know of
// each other.
func TestQuickInstallOfAnotherRelease(t *testing.T) {
	p := newPerson(t)
	p.removes("named")
	p.Cleanup(func() {
		_, _ = p.try("kubectl delete clusterroles,clusterrolebindings -l app.kubernetes.io/instance=mine")
	})
	const install = "NAMESPACE=named scripts/quick-install.sh"
	p.run("IMAGE=" + anImage + " RELEASE=mine " + install)
	assert.Contains(t, p.fails(1, "IMAGE="+anImage+" "+install), "release mine is in named: upgrade that with RELEASE=mine")
	p.run("RELEASE=mine " + install + " -- --set controller.replicas=1")
	assert.Equal(t, "mine\n", p.run("helm -n named list --short"))
	assert.Contains(t, p.run("kubectl -n named get deployment mine-maintenance-controller -o jsonpath='{"+containerField+".image}'"), anImage)
}

func TestQuickInstallByManifests(t *testing.T) {
	p := newPerson(t)
	p.hasOnly("kubectl")
	p.removes("plain")
	const install = "NAMESPACE=plain IMAGE=" + anImage + " scripts/quick-install.sh --manifests"
	assert.Contains(t, p.run(install+" --dry-run"), "deployment.apps/maintenance-controller created (dry run)")
	p.fails(1, "kubectl get namespace plain")
	p.run(install)
	assert.Equal(t, 2, strings.Count(p.deployed("plain", containerField), anImage))
	assert.Equal(t, "2", p.deployed("plain", ".status.readyReplicas"))
	bound := p.run("kubectl get clusterrolebinding maintenance-controller -o jsonpath='{.subjects[0].namespace}'")
	assert.Equal(t, "plain", bound)
	assert.NotContains(t, strings.ReplaceAll(p.run(install), " unchanged", ""), "created", "the same again changes nothing")

	q := newPerson(t)
	assert.Contains(t, q.fails(1, "NAMESPACE=plain IMAGE="+anImage+" scripts/quick-install.sh"), "manifests have installed it in plain")
}

// TestQuickInstallOfARelease has the files of a release where GitHub would have them.
func TestQuickInstallOfARelease(t *testing.T) {
	p := newPerson(t)
	p.removes("released")
	folder := t.TempDir()
	p.run("mkdir " + folder + "/v1.2.3; helm package deploy/chart --version 1.2.3 --app-version v1.2.3 -d " + folder + "/v1.2.3; " +
		"cp deploy/manifests/install.yaml " + folder + "/v1.2.3; cd " + folder + "/v1.2.3; sha256sum *.tgz install.yaml >checksums.txt")
	server := httptest.NewServer(http.FileServer(http.Dir(folder)))
	defer server.Close()
	// Outside the tree: nothing but the script is needed.
	p.run("cp scripts/quick-install.sh " + folder)
	p.dir = folder
	install := "NAMESPACE=released VERSION=v1.2.3 RELEASES=" + server.URL + " ./quick-install.sh"

	assert.Contains(t, p.fails(1, install), "IMAGE is not given", "the chart names an image of no registry")
	p.run("IMAGE=" + anImage + " " + install)
	assert.Contains(t, p.run("helm -n released list"), "maintenance-controller-1.2.3")
	p.run("echo >>v1.2.3/maintenance-controller-1.2.3.tgz")
	assert.Contains(t, p.fails(1, install), "is not what checksums.txt says")
	assert.Contains(t, p.fails(1, strings.Replace(install, "v1.2.3", "v9", 1)), "is v9 a release")
	assert.Contains(t, p.fails(1, "IMAGE="+anImage+" NAMESPACE=released ./quick-install.sh"), "is no source tree")

	p.run("helm -n released uninstall maintenance-controller --no-hooks --wait")
	p.run("IMAGE=" + anImage + " NAMESPACE=released VERSION=v1.2.3 RELEASES=. ./quick-install.sh --manifests")
	assert.Equal(t, "2", p.deployed("released", ".status.readyReplicas"))
}

func TestQuickInstallSaysWhatIsMissing(t *testing.T) {
	p := newPerson(t)
	const script = "scripts/quick-install.sh"
	assert.Contains(t, p.run(script+" --help"), "Usage:")
	for line, say := range map[string]string{
		"IMAGE=a/b " + script:                              "neither a tag nor a digest",
		"IMAGE='a b:1' " + script:                          "is no name of an image",
		"VERSION=v1 " + script:                             "nothing has been released yet",
		"RELEASE=A_b " + script:                            "is no name of a release",
		"NAMESPACE=a/b " + script:                          "is no name of a namespace",
		script + " v1":                                     `argument "v1" is not known`,
		script + " --context":                              "--context needs a value",
		"IMAGE=a/b:1 " + script + " --manifests -- --wait": "do not go with --manifests",
	} {
		assert.Contains(t, p.fails(2, line), say, line)
	}
	assert.Contains(t, p.fails(1, script), "IMAGE is not given")
	assert.Contains(t, p.fails(1, script+" --manifests"), "IMAGE is not given")
	assert.Contains(t, p.fails(1, script+" --kubeconfig /nonexistent"), "no cluster answers")
	p.hasOnly("kubectl")
	assert.Contains(t, p.fails(1, "IMAGE=a/b:1 "+script), "helm is not there")
	p.hasOnly()
	assert.Contains(t, p.fails(1, "IMAGE=a/b:1 "+script), "kubectl is not there")
}
