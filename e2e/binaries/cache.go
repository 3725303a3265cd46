package binaries

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// CacheEnv is the environment variable that moves the cache.
const CacheEnv = "MAINTENANCE_E2E_CACHE"

// Cache is a folder of binaries, keyed by version. Any number of processes may
// use one at a time: what is missing is made by one of them and awaited by the rest.
type Cache struct {
	dir string
	log io.Writer
}

// NewCache opens the cache in $MAINTENANCE_E2E_CACHE, or else in the user's cache
// folder. Progress of long builds goes to log; nil is silence.
func NewCache(log io.Writer) (*Cache, error) {
	if log == nil {
		log = io.Discard
	}
	dir := os.Getenv(CacheEnv)
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("find a cache folder (set %s to choose one): %w", CacheEnv, err)
		}
		dir = filepath.Join(user, "maintenance-controller")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the cache folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the cache folder: %w", err)
	}
	return &Cache{dir: dir, log: log}, nil
}

// Dir is the cache's folder.
func (c *Cache) Dir() string { return c.dir }

// Path is where a program is, or will be once it is built.
func (c *Cache) Path(p Program) (string, error) {
	version, err := p.from.version()
	if err != nil {
		return "", err
	}
	return filepath.Join(c.dir, "bin", p.from.folder+"-"+version, p.Name), nil
}

// Build makes the programs that the cache does not hold yet.
func (c *Cache) Build(ctx context.Context, programs ...Program) error {
	for len(programs) > 0 {
		folder := programs[0].from.folder
		other := func(p Program) bool { return p.from.folder != folder }
		rest := slices.Collect(filter(programs, other))
		same := slices.DeleteFunc(slices.Clone(programs), other)
		if err := c.sayLeft(same, rest); err != nil {
			return err
		}
		if err := c.buildModule(ctx, same); err != nil {
			return err
		}
		programs = rest
	}
	return nil
}

// sayLeft says what is left to build after the programs of a module, if it builds any.
func (c *Cache) sayLeft(now, later []Program) error {
	missing, err := c.missing(now)
	if err != nil || len(missing) == 0 {
		return err
	}
	left, err := c.missing(later)
	if err != nil || len(left) == 0 {
		return err
	}
	var names []string
	for _, p := range left {
		names = append(names, p.Name)
	}
	c.logf("left after %s: %s", missing[0].from.folder, strings.Join(names, ", "))
	return nil
}

// buildModule makes the missing ones of programs of one module, under a lock.
func (c *Cache) buildModule(ctx context.Context, programs []Program) error {
	missing, err := c.missing(programs)
	if err != nil || len(missing) == 0 {
		return err
	}
	unlock, err := c.lock(ctx, programs[0].from.folder)
	if err != nil {
		return err
	}
	defer unlock()
	// Another process may have built them while this one waited for the lock.
	if missing, err = c.missing(programs); err != nil || len(missing) == 0 {
		return err
	}
	return c.goBuild(ctx, missing)
}

func (c *Cache) missing(programs []Program) ([]Program, error) {
	var missing []Program
	for _, p := range programs {
		path, err := c.Path(p)
		if err != nil {
			return nil, err
		}
		switch _, err := os.Stat(path); {
		case errors.Is(err, os.ErrNotExist):
			missing = append(missing, p)
		case err != nil:
			return nil, fmt.Errorf("look for %s in the cache: %w", p.Name, err)
		}
	}
	return missing, nil
}

// lock takes the lock of one part of the cache; the kernel frees it when this
// process ends, so none is ever left behind.
func (c *Cache) lock(ctx context.Context, part string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(c.dir, part+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the cache's lock: %w", err)
	}
	release := func() { _ = f.Close() } // closing gives the lock back
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		c.logf("waiting for another process that prepares %s", part)
		err = flockWait(ctx, f)
	}
	if err != nil {
		release()
		return nil, fmt.Errorf("lock the cache's %s: %w", part, err)
	}
	return release, nil
}

// flockWait blocks in the kernel until the lock is free. When ctx ends first, the
// blocked thread is left to the end of the process, which is near then.
func flockWait(ctx context.Context, f *os.File) error {
	locked := make(chan error, 1)
	go func() { locked <- unix.Flock(int(f.Fd()), unix.LOCK_EX) }()
	select {
	case err := <-locked:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Cache) logf(format string, args ...any) {
	_, _ = fmt.Fprintf(c.log, format+"\n", args...) // progress only: nothing depends on it
}
