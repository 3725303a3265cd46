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

// lookEvery is how often a mounted Secret is looked at. The kubelet changes it up to
// two minutes after the Secret.
const lookEvery = time.Second

// Follow reads the Secret that is mounted in a folder, and gives what keeps to it until
// its context ends. The kubelet exchanges all of its files at once; there are none if
// there is no such Secret.
func (s *Server) Follow(dir string) func(context.Context) error {
	last, there := "", false
	look := func() {
		text, err := readSecret(filepath.Join(dir, access.SecretKey))
		found := err == nil
		if !found && !errors.Is(err, fs.ErrNotExist) || text == last && found == there {
			return // what cannot be read for now takes no token away
		}
		last, there = text, found
		if found {
			s.SetTokens(text)
		} else {
			s.NoTokens()
		}
	}
	look()
	return func(ctx context.Context) error {
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
				look()
			}
		}
	}
}

// readSecret reads no more than what ParseTokens refuses for its size.
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
