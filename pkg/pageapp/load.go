package pageapp

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"maintenance-controller.io/pkg/page"
)

// loadPage reads the page in dir and checks that it is the one that set names, or that
// has the content hash if there is one.
func loadPage(dir, set, contentHash string) (page.Page, error) {
	data, err := readDir(dir)
	if err != nil {
		return page.Page{}, err
	}
	p, err := page.Parse(data)
	if err != nil {
		return page.Page{}, fmt.Errorf("page in %s: %w", dir, err)
	}
	hash := p.Hash()
	if contentHash != "" && hash != contentHash {
		return page.Page{}, fmt.Errorf("page in %s has the hash %s, not --content-hash %s: the mounted ConfigMap is not the one this Pod was made for", dir, hash, contentHash)
	}
	if got := page.SetName(hash); contentHash == "" && got != set {
		return page.Page{}, fmt.Errorf("page in %s is that of %s, not of --page-set %s: the mounted ConfigMap is not the one this Pod was made for", dir, got, set)
	}
	return p, nil
}

// readDir reads a mounted ConfigMap: each key is a symbolic link into a folder
// whose name begins with "..", which the kubelet swaps as a whole.
func readDir(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	data := map[string]string{}
	left := int64(page.MaxSize)
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "..") {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("read the page: %w", err)
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("page in %s: %q is no file", dir, entry.Name())
		}
		if left -= info.Size(); left < 0 {
			return nil, fmt.Errorf("page in %s: the files have more than %d bytes", dir, page.MaxSize)
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the page: %w", err)
		}
		data[entry.Name()] = string(body)
	}
	return data, nil
}
