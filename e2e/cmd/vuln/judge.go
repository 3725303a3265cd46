package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// finding is what govulncheck says, as far as it is read here:
// https://pkg.go.dev/golang.org/x/vuln/internal/govulncheck
type finding struct {
	OSV   string `json:"osv"`
	Fixed string `json:"fixed_version"`
	Trace []struct {
		Module   string `json:"module"`
		Version  string `json:"version"`
		Package  string `json:"package"`
		Function string `json:"function"`
		Receiver string `json:"receiver"`
	} `json:"trace"` // the vulnerable place first, then who calls it
}

// verdict is about one advisory. One with an excuse does not concern this tree.
type verdict struct {
	osv, module, version, fixed, place, excuse string
}

func (v verdict) String() string {
	what := fmt.Sprintf("%s in %s@%s", v.osv, v.module, v.version)
	if v.excuse != "" {
		return what + ": " + v.excuse
	}
	fixed := "there is no version without it"
	if v.fixed != "" {
		fixed = "without it from " + v.fixed + " on"
	}
	return fmt.Sprintf("%s, at %s: VULNERABLE, %s", what, v.place, fixed)
}

// Of Traefik this tree reads manifests with the types, and with no more: these are
// all of its packages that the types import. Its advisories are about the server, and
// name no functions, so that copying a manifest counts as calling what is vulnerable.
const traefik = "github.com/traefik/traefik/v3"

var traefikTypes = []string{
	"pkg/config/dynamic", "pkg/ip", "pkg/observability", "pkg/observability/logs", "pkg/observability/types",
	"pkg/provider/kubernetes/crd/traefikio/v1alpha1", "pkg/safe", "pkg/tls", "pkg/tls/generate", "pkg/types", "pkg/version",
}

// excuse says why a place does not count, or nothing.
func (f finding) excuse() string {
	at := f.Trace[0]
	switch in, within := strings.CutPrefix(at.Package, traefik+"/"); {
	case at.Function == "":
		return "it is not called"
	case within && slices.Contains(traefikTypes, in):
		return "of Traefik there are only the types"
	case at.Function == "init":
		return "it is imported, and not called"
	}
	return ""
}

// judge reads what govulncheck says with -format json. Of an advisory it keeps the
// worst: a place without an excuse, if there is one.
func judge(in io.Reader) ([]verdict, error) {
	all := map[string]verdict{}
	for decoder := json.NewDecoder(in); ; {
		var message struct{ Finding *finding }
		err := decoder.Decode(&message)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("what govulncheck says: %w", err)
		}
		f := message.Finding
		if f == nil {
			continue
		}
		if len(f.Trace) == 0 {
			return nil, fmt.Errorf("what govulncheck says of %s has no place", f.OSV)
		}
		at := f.Trace[0]
		v := verdict{
			osv: f.OSV, module: at.Module, version: at.Version, fixed: f.Fixed, excuse: f.excuse(),
			place: strings.ReplaceAll(strings.Join([]string{at.Package, at.Receiver, at.Function}, "."), "..", "."),
		}
		key := v.osv + " " + v.module
		if known, ok := all[key]; !ok || known.excuse != "" && (v.excuse == "" || known.excuse == "it is not called") {
			all[key] = v
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b verdict) int {
		return cmp.Or(cmp.Compare(a.osv, b.osv), cmp.Compare(a.module, b.module))
	}), nil
}
