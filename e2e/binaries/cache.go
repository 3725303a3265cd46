package binaries

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// CacheEnv is the environment variable with the cache's folder.
const CacheEnv = "MAINTENANCE_E2E_CACHE"

// Cache is a folder of programs, keyed by version. Several processes can use it at the same
// time: one builds a missing program, and the others wait for it.
type Cache struct {
	dir    string
	screen *screen
}

// NewCache opens the cache in $MAINTENANCE_E2E_CACHE or, if that is empty, in the user's
// cache folder. log gets the progress of long builds. Nil means no output.
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
	return &Cache{dir: dir, screen: newScreen(log)}, nil
}

// Dir is the cache's folder.
func (c *Cache) Dir() string { return c.dir }

// Path is the path of a program, whether it is built or not.
func (c *Cache) Path(p Program) (string, error) {
	version, err := p.from.version()
	if err != nil {
		return "", err
	}
	return filepath.Join(c.dir, "bin", p.from.folder+"-"+version, p.Name), nil
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
			return nil, fmt.Errorf("find %s in the cache: %w", p.Name, err)
		}
	}
	return missing, nil
}

// lock takes the lock of one part of the cache. The kernel releases it when this process
// ends.
func (c *Cache) lock(ctx context.Context, part string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(c.dir, part+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the cache's lock: %w", err)
	}
	release := func() { _ = f.Close() } // closing releases the lock
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		c.logf("%s: another process builds it; waiting for that", part)
		err = flockWait(ctx, f)
	}
	if err != nil {
		release()
		return nil, fmt.Errorf("lock the cache's %s: %w", part, err)
	}
	return release, nil
}

// flockWait blocks in the kernel until the lock is free. If ctx ends first, the thread stays
// blocked until the process ends.
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
	c.screen.line(format, args...)
}
