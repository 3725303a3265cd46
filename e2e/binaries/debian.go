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

// aptTimeout bounds the download of some 60 MB of packages.
const aptTimeout = 10 * time.Minute

// nodePackages are what a node runs and Kubernetes does not bring itself.
func nodePackages() []string {
	return []string{"containerd", "runc", "containernetworking-plugins", "nftables"}
}

// Packages are Debian or Ubuntu packages that were unpacked, not installed: the
// machine stays as it is.
type Packages struct{ root string }

// Packages unpacks what nodes need, with those dependencies that the machine does
// not have, into the cache.
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
	c.logf("download %s (nothing is installed)", strings.Join(nodePackages(), ", "))
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
		// Most often there are no package lists yet, as in a fresh container.
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

// download fetches packages. When the lists are old, the mirror has replaced some
// packages by newer ones, and only fresh lists name those.
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

// wanted asks apt what it would install: the packages and their dependencies,
// without those that the machine has.
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

// systemName keys the packages: a library of one release does not fit another.
func systemName() (name string, err error) {
	f, err := os.Open("/etc/os-release")
	if err != nil {
		return "", fmt.Errorf("find out which system this is: %w", err)
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

// Find returns the path of a program, in the packages or else on the machine.
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

// Env is the environment in which the programs find each other and their libraries.
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
