package scripts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"maintenance-controller.io/e2e/image"
)

// Neither kind, minikube nor a registry is there: programs of their names note how
// they are called, and want the archive to be readable. All else is real.
const standIn = `#!/bin/sh
for last; do :; done
case $last in *.tar) test -r "$last" || exit 9 ;; esac
echo "${0##*/} $*" >>%LOG%
`

type standIns struct{ log string }

// stand puts stand-ins on the PATH.
func (p *person) stand(names ...string) standIns {
	p.Helper()
	folder := p.TempDir()
	s := standIns{log: filepath.Join(folder, "calls.log")}
	for _, name := range names {
		text := strings.ReplaceAll(standIn, "%LOG%", s.log)
		require.NoError(p, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o700))
	}
	p.has(folder)
	return s
}

// calls gives what was called since the last look.
func (s standIns) calls(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(s.log)
	if os.IsNotExist(err) {
		return ""
	}
	require.NoError(t, err)
	require.NoError(t, os.Remove(s.log))
	return string(text)
}

// anArchive is an image as make image writes it.
func anArchive(t *testing.T) (path, reference string) {
	t.Helper()
	path, reference = filepath.Join(t.TempDir(), "image.tar"), "maintenance-controller:0123456789ab"
	require.NoError(t, image.Write(path, image.Spec{Reference: reference, Programs: []string{"/bin/true"}, Entrypoint: "true"}))
	return path, reference
}

// cluster gives the person a kubeconfig that kind or minikube could have written.
func (p *person) cluster(name, extensions string) {
	p.Helper()
	text, err := os.ReadFile(plane.Kubeconfig())
	require.NoError(p, err)
	changed := strings.ReplaceAll(string(text), "maintenance-e2e", name)
	changed = strings.Replace(changed, "- cluster:\n", "- cluster:\n"+extensions, 1)
	path := filepath.Join(p.TempDir(), "kubeconfig")
	require.NoError(p, os.WriteFile(path, []byte(changed), 0o600))
	p.environment = append(p.environment, "KUBECONFIG="+path)
}

const ofMinikube = `    extensions:
    - extension:
        last-update: Sat, 21 Nov 2026 10:00:00 UTC
        provider: minikube.sigs.k8s.io
        version: v1.37.0
      name: cluster_info
`

func TestDeployToKind(t *testing.T) {
	p := newPerson(t)
	p.removes("to-kind")
	p.cluster("kind-dev", "")
	archive, reference := anArchive(t)
	deploy := "scripts/deploy.sh v1 to-kind --archive " + archive
	assert.Contains(t, p.fails(1, deploy), "kind is not there: this is a kind cluster")
	s := p.stand("kind")

	out := p.run(deploy + " --dry-run")
	assert.Contains(t, out, "would run: kind load image-archive --name=dev "+archive)
	assert.Contains(t, out, "would run: helm upgrade")
	assert.Empty(t, s.calls(t))

	p.run(deploy + " -- --set controller.replicas=1")
	assert.Equal(t, "kind load image-archive --name=dev "+archive+"\n", s.calls(t))
	assert.Equal(t, 2, strings.Count(p.deployed("to-kind", containerField), reference))
	assert.Equal(t, "1", p.deployed("to-kind", ".status.readyReplicas"))
}

func TestDeployToMinikube(t *testing.T) {
	p := newPerson(t)
	p.removes("to-minikube")
	p.cluster("my-profile", ofMinikube)
	s := p.stand("minikube")
	archive, reference := anArchive(t)
	p.run("scripts/deploy.sh '' to-minikube --archive " + archive)
	assert.Equal(t, "minikube image load --profile=my-profile "+archive+"\n", s.calls(t))
	assert.Contains(t, p.deployed("to-minikube", containerField), reference)
}

func TestDeployPushes(t *testing.T) {
	p := newPerson(t)
	p.removes("pushed")
	archive, reference := anArchive(t)
	const name = "registry.example:5000/team/mc"
	for tool, calls := range map[string]string{
		"docker": "docker load --input ARCHIVE\ndocker tag REFERENCE PUSHED\ndocker push PUSHED\n",
		"podman": "podman load --input ARCHIVE\npodman tag REFERENCE PUSHED\npodman push PUSHED\n",
		"skopeo": "skopeo copy docker-archive:ARCHIVE docker://PUSHED\n",
		"crane":  "crane push ARCHIVE PUSHED\n",
	} {
		q := newPerson(t)
		s := q.stand(tool)
		q.hasOnly("kubectl", "helm", tool)
		q.run("scripts/deploy.sh v1 pushed --archive " + archive + " --push " + name)
		want := strings.NewReplacer("ARCHIVE", archive, "REFERENCE", reference, "PUSHED", name+":0123456789ab").Replace(calls)
		assert.Equal(t, want, s.calls(t))
		assert.Equal(t, 2, strings.Count(q.deployed("pushed", containerField), name+":0123456789ab"))
	}
	p.hasOnly("kubectl", "helm")
	assert.Contains(t, p.fails(1, "scripts/deploy.sh v1 pushed --archive "+archive+" --push "+name), "one of crane, skopeo, docker and podman is needed")
}

func TestDeployBuildsNothingForAnImageThatIsThere(t *testing.T) {
	p := newPerson(t)
	p.removes("by-image")
	p.run("scripts/deploy.sh v1 by-image --image " + anImage)
	assert.Equal(t, 2, strings.Count(p.deployed("by-image", containerField), anImage))
}

func TestDeploySaysWhatIsMissing(t *testing.T) {
	p := newPerson(t)
	archive, _ := anArchive(t)
	assert.Contains(t, p.run("scripts/deploy.sh --help"), "Usage:")
	assert.Contains(t, p.fails(1, "scripts/deploy.sh"), "is no cluster of kind or minikube: say how the image gets there")
	assert.Contains(t, p.fails(1, "scripts/deploy.sh --kubeconfig /nonexistent"), "no cluster answers")
	assert.Contains(t, p.fails(1, "scripts/deploy.sh --load true --archive /nonexistent"), "/nonexistent cannot be read")
	for flags, say := range map[string]string{
		"--push a/b --load c":    "not both",
		"--image a/b:1 --load c": "--image builds nothing",
		"--nonsense":             "is not known",
		"v1 ns more":             `"more" is not known`,
		"'v 1'":                  "is no version",
		"--push":                 "--push needs a value",
	} {
		assert.Contains(t, p.fails(2, "scripts/deploy.sh "+flags), say, flags)
	}
	p.hasOnly("kubectl", "helm")
	assert.Contains(t, p.fails(1, "scripts/deploy.sh --load true"), "is not there: it builds the image")
	p.hasOnly("kubectl")
	assert.Contains(t, p.fails(1, "scripts/deploy.sh --load true --archive "+archive), "helm is not there")
}
