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

// finding is a finding of govulncheck, with the fields that are used here:
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
	} `json:"trace"` // the vulnerable function first, then its callers
}

// verdict is the result for one advisory. If it has an excuse, the advisory does not affect this tree.
type verdict struct {
	osv, module, version, fixed, place, excuse string
}

func (v verdict) String() string {
	what := fmt.Sprintf("%s in %s@%s", v.osv, v.module, v.version)
	if v.excuse != "" {
		return what + ": " + v.excuse
	}
	fixed := "no version fixes it"
	if v.fixed != "" {
		fixed = "fixed in " + v.fixed
	}
	return fmt.Sprintf("%s, at %s: VULNERABLE, %s", what, v.place, fixed)
}

// This tree uses only Traefik's types: traefikTypes are the packages that they import. Traefik's
// advisories are about its server but name no functions, so that govulncheck takes copying a
// manifest for a call of vulnerable code.
const traefik = "github.com/traefik/traefik/v3"

var traefikTypes = []string{
	"pkg/config/dynamic", "pkg/ip", "pkg/observability", "pkg/observability/logs", "pkg/observability/types",
	"pkg/provider/kubernetes/crd/traefikio/v1alpha1", "pkg/safe", "pkg/tls", "pkg/tls/generate", "pkg/types", "pkg/version",
}

// notCalled is the excuse of a module that is required but whose vulnerable package is not imported.
const notCalled = "not called"

// excuse returns why a finding does not affect this tree, or "".
func (f finding) excuse() string {
	at := f.Trace[0]
	switch in, within := strings.CutPrefix(at.Package, traefik+"/"); {
	case at.Function == "":
		return notCalled
	case within && slices.Contains(traefikTypes, in):
		return "only Traefik's types are used"
	case at.Function == "init":
		return "imported but not called"
	}
	return ""
}

// judge reads the output of govulncheck -format json and returns a verdict for each advisory and
// module. If one finding has no excuse, that is the verdict.
func judge(in io.Reader) ([]verdict, error) {
	all := map[string]verdict{}
	for decoder := json.NewDecoder(in); ; {
		var message struct{ Finding *finding }
		err := decoder.Decode(&message)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read the output of govulncheck: %w", err)
		}
		f := message.Finding
		if f == nil {
			continue
		}
		if len(f.Trace) == 0 {
			return nil, fmt.Errorf("govulncheck reports %s without a trace", f.OSV)
		}
		at := f.Trace[0]
		v := verdict{
			osv: f.OSV, module: at.Module, version: at.Version, fixed: f.Fixed, excuse: f.excuse(),
			place: strings.ReplaceAll(strings.Join([]string{at.Package, at.Receiver, at.Function}, "."), "..", "."),
		}
		key := v.osv + " " + v.module
		if known, ok := all[key]; !ok || known.excuse != "" && (v.excuse == "" || known.excuse == notCalled) {
			all[key] = v
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b verdict) int {
		return cmp.Or(cmp.Compare(a.osv, b.osv), cmp.Compare(a.module, b.module))
	}), nil
}
