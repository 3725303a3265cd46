package main

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// advisories has the advisories of the modules that this tree uses, as JSON objects without their
// descriptions. They come from the Go vulnerability database,
// https://go.dev/security/vuln/database, © The Go Authors, under CC BY 4.0.
//
//go:embed advisories.json.gz
var advisories []byte

// entry is an advisory in the format of the database: https://ossf.github.io/osv-schema/.
type entry struct {
	SchemaVersion string          `json:"schema_version"`
	ID            string          `json:"id"`
	Modified      time.Time       `json:"modified"`
	Published     time.Time       `json:"published"`
	Withdrawn     *time.Time      `json:"withdrawn,omitempty"`
	Summary       string          `json:"summary,omitempty"`
	Affected      json.RawMessage `json:"affected"`
}

// modules returns the modules that are affected.
func (e entry) modules() ([]string, error) {
	var affected []struct{ Package struct{ Name string } }
	if err := json.Unmarshal(e.Affected, &affected); err != nil {
		return nil, fmt.Errorf("advisory %s: %w", e.ID, err)
	}
	var names []string
	for _, a := range affected {
		names = append(names, a.Package.Name)
	}
	return names, nil
}

// snapshot describes the embedded advisories.
type snapshot struct {
	count int
	last  string // the id of the newest: GO-YYYY-NNNN
}

// unpack writes the embedded advisories to a folder that govulncheck can use as database.
func unpack(dir string) (snapshot, error) {
	var s snapshot
	text, err := gzip.NewReader(bytes.NewReader(advisories))
	if err != nil {
		return s, err
	}
	for decoder := json.NewDecoder(text); ; s.count++ {
		var e entry
		if err := decoder.Decode(&e); errors.Is(err, io.EOF) {
			return s, nil
		} else if err != nil {
			return s, fmt.Errorf("advisories.json.gz: %w", err)
		}
		s.last = max(s.last, e.ID)
		line, err := json.Marshal(e)
		if err != nil {
			return s, err
		}
		if err := os.WriteFile(filepath.Join(dir, e.ID+".json"), line, 0o600); err != nil {
			return s, err
		}
	}
}

// write makes advisories.json.gz from the folder data/osv of the database's repository.
func write(ctx context.Context, out io.Writer, root, from string) error {
	used, err := usedModules(ctx, root)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(from, "GO-*.json"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no advisories in %s: give data/osv of a clone of github.com/golang/vulndb", from)
	}
	var packed bytes.Buffer
	text, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return err
	}
	count := 0
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		names, err := e.modules()
		if err != nil {
			return err
		}
		for _, name := range names {
			if used[name] {
				if err := json.NewEncoder(text).Encode(e); err != nil {
					return err
				}
				count++
				break
			}
		}
	}
	if err := text.Close(); err != nil {
		return err
	}
	name := filepath.Join(root, "e2e", "cmd", "vuln", "advisories.json.gz")
	fmt.Fprintf(out, "wrote %d of %d advisories to %s\n", count, len(files), name)
	return os.WriteFile(name, packed.Bytes(), 0o600)
}

// usedModules returns the modules that this tree's packages and tests import, and Go's own.
func usedModules(ctx context.Context, root string) (map[string]bool, error) {
	used := map[string]bool{"stdlib": true, "toolchain": true}
	for _, module := range modules {
		command := exec.CommandContext(ctx, "go", "list", "-deps", "-test", "-f", "{{with .Module}}{{.Path}}{{end}}", "./...")
		command.Dir, command.Stderr = filepath.Join(root, module), os.Stderr
		text, err := command.Output()
		if err != nil {
			return nil, fmt.Errorf("packages of module %s: %w", module, err)
		}
		for _, name := range strings.Fields(string(text)) {
			used[name] = true
		}
	}
	return used, nil
}
