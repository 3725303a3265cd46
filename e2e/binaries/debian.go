package binaries

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// aptTimeout bounds the download of about 60 MB of packages.
const aptTimeout = 10 * time.Minute

// nodePackages are the programs of a node that are not part of Kubernetes.
func nodePackages() []string {
	return []string{"containerd", "runc", "containernetworking-plugins", "nftables"}
}

// Packages are Debian or Ubuntu packages that are unpacked into the cache. Nothing is
// installed on the machine.
type Packages struct{ root string }

// Packages unpacks into the cache what nodes need, with the dependencies that this machine
// does not have.
func (c *Cache) Packages(ctx context.Context) (*Packages, error) {
	system, err := systemName()
	if err != nil {
		return nil, err
	}
	target := filepath.Join(c.dir, "packages", system)
	if _, err := os.Stat(target); err == nil {
		return &Packages{root: target}, nil
	}
	unlock, err := c.lock(ctx, "packages")
	if err != nil {
		return nil, err
	}
	defer unlock()
	if _, err := os.Stat(target); err == nil {
		return &Packages{root: target}, nil
	}
	c.logf("downloading the Debian packages of a node: %s (nothing is installed)", strings.Join(nodePackages(), ", "))
	if err := c.unpack(ctx, target); err != nil {
		return nil, fmt.Errorf("get the packages of a node: %w", err)
	}
	return &Packages{root: target}, nil
}

func (c *Cache) unpack(ctx context.Context, target string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, aptTimeout)
	defer cancel()
	names, err := wanted(ctx)
	if err != nil {
		// Usually there are no package lists yet, as in a fresh container.
		if _, updateErr := output(ctx, "", "apt-get", "update", "-q"); updateErr != nil {
			return errors.Join(err, updateErr)
		}
		if names, err = wanted(ctx); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	temp, err := os.MkdirTemp(filepath.Dir(target), ".unpack-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	if err := download(ctx, temp, names); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(temp, "*.deb"))
	if err != nil {
		return err
	}
	root := filepath.Join(temp, "root")
	for _, file := range files {
		if _, err := output(ctx, temp, "dpkg-deb", "-x", file, root); err != nil {
			return err
		}
	}
	return os.Rename(root, target)
}

// download downloads packages. If that fails it updates the package lists and tries again:
// the mirror replaces packages by newer ones that old lists do not name.
func download(ctx context.Context, dir string, names []string) error {
	args := append([]string{"download", "-q", "-o", "APT::Sandbox::User=root"}, names...)
	_, err := output(ctx, dir, "apt-get", args...)
	if err == nil {
		return nil
	}
	if _, updateErr := output(ctx, "", "apt-get", "update", "-q"); updateErr != nil {
		return errors.Join(err, updateErr)
	}
	_, err = output(ctx, dir, "apt-get", args...)
	return err
}

// wanted asks apt what it would install: the packages, and the dependencies that this
// machine does not have.
func wanted(ctx context.Context) ([]string, error) {
	args := append([]string{"install", "--simulate", "-q", "--reinstall", "--no-install-recommends"}, nodePackages()...)
	text, err := output(ctx, "", "apt-get", args...)
	if err != nil {
		return nil, err
	}
	var names []string
	for line := range strings.Lines(text) {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "Inst" {
			names = append(names, fields[1])
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("apt-get would install nothing for %v", nodePackages())
	}
	return names, nil
}

func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// systemName is the folder of the packages. Libraries of one release of the system do not
// fit another.
func systemName() (name string, err error) {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return "", fmt.Errorf("read the name of this system: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	fields := map[string]string{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, value, ok := strings.Cut(lines.Text(), "="); ok {
			fields[key] = strings.Trim(value, `"'`)
		}
	}
	version := fields["VERSION_ID"]
	if version == "" {
		version = fields["VERSION_CODENAME"] // Debian testing has no number
	}
	return fmt.Sprintf("%s-%s-%s", fields["ID"], version, runtime.GOARCH), nil
}

// Find returns the path of a program in the packages or, if it is not there, on the
// machine.
func (p *Packages) Find(name string) (string, error) {
	for _, dir := range p.dirs() {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("find %s in %s and on the machine: %w", name, p.root, err)
	}
	return path, nil
}

// CNI is the folder of the network plugins.
func (p *Packages) CNI() string { return filepath.Join(p.root, "usr/lib/cni") }

// Env is the environment in which the packages' programs find each other and their
// libraries.
func (p *Packages) Env() []string {
	path := append(p.dirs(), "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
	libraries, _ := filepath.Glob(filepath.Join(p.root, "usr/lib/*-linux-gnu*")) // its only error is a bad pattern
	old, _ := filepath.Glob(filepath.Join(p.root, "lib/*-linux-gnu*"))
	return []string{
		"PATH=" + strings.Join(path, ":"),
		"LD_LIBRARY_PATH=" + strings.Join(append(libraries, old...), ":"),
	}
}

func (p *Packages) dirs() []string {
	var dirs []string
	for _, dir := range []string{"usr/sbin", "usr/bin", "sbin", "bin"} {
		dirs = append(dirs, filepath.Join(p.root, dir))
	}
	return dirs
}
