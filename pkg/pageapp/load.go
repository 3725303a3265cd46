package pageapp

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"maintenance-controller.io/pkg/access"
	"maintenance-controller.io/pkg/page"
)

// content of a page set's ConfigMap.
type content struct {
	page   page.Page
	access access.Settings // zero if nobody is let through
}

// load reads the content in dir. It checks the content against contentHash, or if that is
// empty, against the name of the page set.
func load(dir, set, contentHash string) (content, error) {
	data, err := readDir(dir)
	if err != nil {
		return content{}, err
	}
	c, err := parseContent(data)
	if err != nil {
		return content{}, fmt.Errorf("page in %s: %w", dir, err)
	}
	hash := access.Hash(c.page, c.access)
	if contentHash != "" && hash != contentHash {
		return content{}, fmt.Errorf("page in %s has the hash %s, not --content-hash %s: the mounted ConfigMap is not the one this Pod was created for", dir, hash, contentHash)
	}
	if got := page.SetName(hash); contentHash == "" && got != set {
		return content{}, fmt.Errorf("page in %s belongs to %s, not to --page-set %s: the mounted ConfigMap is not the one this Pod was created for", dir, got, set)
	}
	return c, nil
}

func parseContent(data map[string]string) (c content, err error) {
	if text, ok := data[access.Key]; ok {
		if c.access, err = access.Parse(text); err != nil {
			return content{}, err
		}
		delete(data, access.Key)
	}
	c.page, err = page.Parse(data)
	return c, err
}

// readDir reads a mounted ConfigMap: each key is a symbolic link into a folder whose name
// begins with "..", which the kubelet replaces as a whole.
func readDir(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the page: %w", err)
	}
	data := map[string]string{}
	left := int64(page.MaxSize + access.MaxSize)
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
			return nil, fmt.Errorf("page in %s: %q is not a file", dir, entry.Name())
		}
		if left -= info.Size(); left < 0 {
			return nil, fmt.Errorf("page in %s: the files are larger than %d bytes in total", dir, page.MaxSize+access.MaxSize)
		}
		body, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the page: %w", err)
		}
		data[entry.Name()] = string(body)
	}
	return data, nil
}
