package bypass

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"maintenance-controller.io/pkg/access"
)

// secretInterval is how often the mounted Secret is read. The kubelet updates it up to two
// minutes after the Secret itself.
const secretInterval = time.Second

// Follow reads the tokens of the Secret that is mounted in a folder, and returns a function
// that keeps them up to date until its context ends, and then returns nil. The kubelet
// exchanges all files of the mount at once; if the Secret does not exist there are none. A
// file that cannot be read for the moment revokes no token.
func (s *Server) Follow(dir string) func(context.Context) error {
	last, existed := "", false
	load := func() {
		text, err := readSecret(filepath.Join(dir, access.SecretKey))
		exists := err == nil
		if !exists && !errors.Is(err, fs.ErrNotExist) || text == last && exists == existed {
			return
		}
		last, existed = text, exists
		if exists {
			s.SetTokens(text)
		} else {
			s.NoTokens()
		}
	}
	load()
	return func(ctx context.Context) error {
		ticker := time.NewTicker(secretInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
				load()
			}
		}
	}
}

// readSecret reads at most one byte more than ParseTokens accepts.
func readSecret(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	raw, err := io.ReadAll(io.LimitReader(file, access.MaxSecret+1))
	if err != nil {
		return "", err
	}
	return string(raw), nil
}
