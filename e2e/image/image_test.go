package image_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"maintenance-controller.io/e2e/image"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	first, second := program(t, dir, "first", "one"), program(t, dir, "second", "two")
	spec := image.Spec{Reference: "things:dev", Programs: []string{first, second}, Entrypoint: "first"}
	archive := filepath.Join(dir, "sub", "things.tar")
	if err := image.Write(archive, spec); err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := config.Config.User; got != "65532:65532" {
		t.Errorf("user is %q, want 65532:65532", got)
	}
	if got := config.Config.Entrypoint; len(got) != 1 || got[0] != "/first" {
		t.Errorf("entrypoint is %q, want /first", got)
	}
	content := map[string]string{}
	files := tar.NewReader(mutate.Extract(img))
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(files)
		if err != nil {
			t.Fatal(err)
		}
		content[h.Name] = string(text)
	}
	if content["first"] != "one" || content["second"] != "two" {
		t.Errorf("the image contains %q, want both programs", content)
	}
}

// TestSameProgramsGiveTheSameImage: a cluster must not roll out programs that have not changed.
func TestSameProgramsGiveTheSameImage(t *testing.T) {
	dir := t.TempDir()
	p := program(t, dir, "app", "one")
	spec := image.Spec{Reference: "app:dev", Programs: []string{p}, Entrypoint: "app"}
	a, b := filepath.Join(dir, "a.tar"), filepath.Join(dir, "b.tar")
	for _, archive := range []string{a, b} {
		if err := image.Write(archive, spec); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(read(t, a), read(t, b)) {
		t.Error("two archives of the same program differ")
	}
	before, err := image.Tag(p)
	if err != nil {
		t.Fatal(err)
	}
	program(t, dir, "app", "two")
	after, err := image.Tag(p)
	if err != nil {
		t.Fatal(err)
	}
	if before == after {
		t.Errorf("a changed program has the tag of the old one, %s", after)
	}
}

func program(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
