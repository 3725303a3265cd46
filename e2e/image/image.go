// Package image makes container images of static programs without a container engine, as archives
// for `docker load` and `ctr images import`.
package image

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// passwd has the names of the users, for programs that look up their own.
const passwd = "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"

// Spec says what an image contains. It runs as user 65532, never as root.
type Spec struct {
	// Reference is the image's name with a tag, for example sample-app:dev.
	Reference string
	// Programs are the paths of static programs on this machine. Each is copied to / under its
	// base name.
	Programs []string
	// Entrypoint is the base name of the program that runs by default.
	Entrypoint string
	// Arch is Go's name of the programs' architecture. Empty means this machine's.
	Arch string
	// Labels maps the part of a label after org.opencontainers.image. to its value.
	Labels map[string]string
}

// Write writes the archive of an image to path. If it fails, it leaves no partial file there. The
// same programs give the same bytes.
func Write(path string, s Spec) error {
	if err := write(path, s); err != nil {
		return fmt.Errorf("write image %s: %w", s.Reference, err)
	}
	return nil
}

func write(path string, s Spec) error {
	tag, err := name.NewTag(s.Reference)
	if err != nil {
		return err
	}
	content, err := layer(s.Programs)
	if err != nil {
		return err
	}
	base, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		Architecture: cmp.Or(s.Arch, runtime.GOARCH),
		OS:           "linux",
		Config: v1.Config{
			User:       "65532:65532",
			Entrypoint: []string{"/" + s.Entrypoint},
			Env:        []string{"PATH=/"},
			WorkingDir: "/",
			Labels:     labels(s.Labels),
		},
		RootFS: v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return err
	}
	l, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	})
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(base, l)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	temp := fmt.Sprintf("%s.%d.tmp", path, os.Getpid())
	defer func() { _ = os.Remove(temp) }() // it does not exist any more if all went well
	if err := tarball.WriteToFile(temp, tag, img); err != nil {
		return err
	}
	return os.Rename(temp, path)
}

// labels adds the prefix to the names of labels.
func labels(short map[string]string) map[string]string {
	full := map[string]string{}
	for name, value := range short {
		full["org.opencontainers.image."+name] = value
	}
	return full
}

// layer returns the file system as a tar archive.
func layer(programs []string) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	add := func(name string, mode int64, content []byte) error {
		h := &tar.Header{Name: name, Mode: mode, Size: int64(len(content)), Typeflag: tar.TypeReg}
		if content == nil {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err := w.Write(content)
		return err
	}
	if err := add("etc/", 0o755, nil); err != nil {
		return nil, err
	}
	if err := add("etc/passwd", 0o644, []byte(passwd)); err != nil {
		return nil, err
	}
	for _, program := range programs {
		content, err := os.ReadFile(program)
		if err != nil {
			return nil, err
		}
		if err := add(filepath.Base(program), 0o755, content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// Tag returns a tag that depends only on the programs, so that a cluster rolls out changed ones.
func Tag(programs ...string) (string, error) {
	h := sha256.New()
	for _, program := range slices.Sorted(slices.Values(programs)) {
		content, err := os.ReadFile(program)
		if err != nil {
			return "", fmt.Errorf("hash a program: %w", err)
		}
		_, _ = fmt.Fprintf(h, "%s %d\n", filepath.Base(program), len(content)) // writing to a hash never fails
		_, _ = h.Write(content)
	}
	return "dev-" + hex.EncodeToString(h.Sum(nil))[:12], nil
}
