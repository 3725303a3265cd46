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

// fakeProgram stands in for kind, minikube and the tools of a registry: it checks that the
// archive is readable and logs its arguments. Everything else in these tests is real.
const fakeProgram = `#!/bin/sh
for last; do :; done
case $last in *.tar) test -r "$last" || exit 9 ;; esac
echo "${0##*/} $*" >>%LOG%
`

// fakes are fake programs that log their calls to one file.
type fakes struct{ log string }

// addFakes puts fake programs with these names on the PATH.
func (p *person) addFakes(names ...string) fakes {
	p.Helper()
	folder := p.TempDir()
	s := fakes{log: filepath.Join(folder, "calls.log")}
	for _, name := range names {
		text := strings.ReplaceAll(fakeProgram, "%LOG%", s.log)
		require.NoError(p, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o700))
	}
	p.addToPath(folder)
	return s
}

// calls returns the calls since the last time and clears the log.
func (s fakes) calls(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(s.log)
	if os.IsNotExist(err) {
		return ""
	}
	require.NoError(t, err)
	require.NoError(t, os.Remove(s.log))
	return string(text)
}

// imageArchive writes an image archive like `make image` does.
func imageArchive(t *testing.T) (path, reference string) {
	t.Helper()
	path, reference = filepath.Join(t.TempDir(), "image.tar"), "maintenance-controller:0123456789ab"
	require.NoError(t, image.Write(path, image.Spec{Reference: reference, Programs: []string{"/bin/true"}, Entrypoint: "true"}))
	return path, reference
}

// cluster sets a kubeconfig like one that kind or minikube writes.
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

const minikubeExtension = `    extensions:
    - extension:
        last-update: Sat, 21 Nov 2026 10:00:00 UTC
        provider: minikube.sigs.k8s.io
        version: v1.37.0
      name: cluster_info
`

func TestDeployToKind(t *testing.T) {
	p := newPerson(t)
	p.removeAtEnd("to-kind")
	p.cluster("kind-dev", "")
	archive, reference := imageArchive(t)
	deploy := "scripts/deploy.sh v1 to-kind --archive " + archive
	assert.Contains(t, p.mustFail(1, deploy), "kind is not installed: it loads images into a kind cluster")
	s := p.addFakes("kind")

	out := p.run(deploy + " --dry-run")
	assert.Contains(t, out, "would run: kind load image-archive --name=dev "+archive)
	assert.Contains(t, out, "would run: helm upgrade")
	assert.Empty(t, s.calls(t))

	p.run(deploy + " -- --set controller.replicas=1")
	assert.Equal(t, "kind load image-archive --name=dev "+archive+"\n", s.calls(t))
	assert.Equal(t, 2, strings.Count(p.deployed("to-kind", containerField), reference))
	assert.Equal(t, "1", p.readyOfOnly("to-kind"))
}

func TestDeployToMinikube(t *testing.T) {
	p := newPerson(t)
	p.removeAtEnd("to-minikube")
	p.cluster("my-profile", minikubeExtension)
	s := p.addFakes("minikube")
	archive, reference := imageArchive(t)
	p.run("scripts/deploy.sh '' to-minikube --archive " + archive)
	assert.Equal(t, "minikube image load --profile=my-profile "+archive+"\n", s.calls(t))
	assert.Contains(t, p.deployed("to-minikube", containerField), reference)
}

func TestDeployPushesToRegistry(t *testing.T) {
	p := newPerson(t)
	p.removeAtEnd("pushed")
	archive, reference := imageArchive(t)
	const name = "registry.example:5000/team/mc"
	for tool, calls := range map[string]string{
		"docker": "docker load --input ARCHIVE\ndocker tag REFERENCE PUSHED\ndocker push PUSHED\n",
		"podman": "podman load --input ARCHIVE\npodman tag REFERENCE PUSHED\npodman push PUSHED\n",
		"skopeo": "skopeo copy docker-archive:ARCHIVE docker://PUSHED\n",
		"crane":  "crane push ARCHIVE PUSHED\n",
	} {
		q := newPerson(t)
		s := q.addFakes(tool)
		q.onlyPrograms("kubectl", "helm", tool)
		q.run("scripts/deploy.sh v1 pushed --archive " + archive + " --push " + name)
		want := strings.NewReplacer("ARCHIVE", archive, "REFERENCE", reference, "PUSHED", name+":0123456789ab").Replace(calls)
		assert.Equal(t, want, s.calls(t))
		assert.Equal(t, 2, strings.Count(q.deployed("pushed", containerField), name+":0123456789ab"))
	}
	p.onlyPrograms("kubectl", "helm")
	assert.Contains(t, p.mustFail(1, "scripts/deploy.sh v1 pushed --archive "+archive+" --push "+name), "pushing the image needs crane, skopeo, docker or podman")
}

func TestDeployExistingImage(t *testing.T) {
	p := newPerson(t)
	p.removeAtEnd("by-image")
	p.run("scripts/deploy.sh v1 by-image --image " + testImage)
	assert.Equal(t, 2, strings.Count(p.deployed("by-image", containerField), testImage))
}

func TestDeployUsageErrors(t *testing.T) {
	p := newPerson(t)
	archive, _ := imageArchive(t)
	assert.Contains(t, p.run("scripts/deploy.sh --help"), "Usage:")
	assert.Contains(t, p.mustFail(1, "scripts/deploy.sh"), "is not a kind or minikube cluster: say how to bring the image there")
	assert.Contains(t, p.mustFail(1, "scripts/deploy.sh --kubeconfig /nonexistent"), "no cluster answers")
	assert.Contains(t, p.mustFail(1, "scripts/deploy.sh --load true --archive /nonexistent"), "cannot read the archive /nonexistent")
	for flags, say := range map[string]string{
		"--push a/b --load c":    "not both",
		"--image a/b:1 --load c": "--image builds nothing",
		"--nonsense":             "unknown argument",
		"v1 ns more":             `unknown argument "more"`,
		"'v 1'":                  "is not a valid version",
		"--push":                 "--push needs a value",
	} {
		assert.Contains(t, p.mustFail(2, "scripts/deploy.sh "+flags), say, flags)
	}
	p.onlyPrograms("kubectl", "helm")
	assert.Contains(t, p.mustFail(1, "scripts/deploy.sh --load true"), "is not installed: it builds the image")
	p.onlyPrograms("kubectl")
	assert.Contains(t, p.mustFail(1, "scripts/deploy.sh --load true --archive "+archive), "helm is not installed")
}
