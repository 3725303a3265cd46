package annotations

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// What people write in addition to DefaultEnabled: why, who, and for how long. Unlike that
// key, these are constant.
const (
	Reason = Prefix + "reason" // free text; at most MaxReason bytes of it are shown
	By     = Prefix + "by"     // free text, who people say they are; at most MaxBy bytes of it are shown
	Until  = Prefix + "until"  // RFC 3339 with an offset: when maintenance ends automatically
	Lease  = Prefix + "lease"  // names of Leases in the target's namespace: maintenance ends when the last one has expired
)

// LeaseLabel must be on the Leases that Lease names, with any value: the controller watches
// no others.
const LeaseLabel = Prefix + "lease"

// Limits on what is read of a request: two in bytes, one in names.
const (
	MaxReason = 256 // bytes
	MaxBy     = 128 // bytes
	MaxLeases = 64  // names
)

// limitKeys lists the keys of Limits.
var limitKeys = []string{Reason, By, Until, Lease}

// Limits say why somebody asks for maintenance, who, and for how long.
type Limits struct {
	// Reason and By are one line each, without control characters.
	Reason, By string
	// Until is when maintenance ends automatically; zero is never.
	Until time.Time
	// Leases are the names of Leases in the target's namespace, each once, at most
	// MaxLeases; without any, they do not end maintenance.
	Leases []string
}

// RemoveEnded gives a copy of the annotations without the request for a maintenance that
// has expired. The named page stays: it asks for nothing.
func (k Keys) RemoveEnded(all map[string]string) map[string]string {
	out := maps.Clone(all)
	delete(out, k.Enabled)
	for _, key := range limitKeys {
		delete(out, key)
	}
	return out
}

// parseLimits reads Limits. A value that cannot be read does not end maintenance, which
// goes on for as long as it is requested, and is reported.
func parseLimits(all map[string]string) (l Limits, problems []Problem) {
	l.Reason, l.By = Line(strings.TrimSpace(all[Reason]), MaxReason), Line(strings.TrimSpace(all[By]), MaxBy)
	if text := strings.TrimSpace(all[Until]); text != "" {
		until, err := time.Parse(time.RFC3339, text)
		if err != nil {
			problems = append(problems, Problem{Key: Until, Message: fmt.Sprintf(
				"annotation %s is %q, which is not an RFC 3339 time with an offset, such as 2026-01-31T18:00:00+01:00: maintenance has no end", Until, Clip(text))})
		}
		if err == nil && until.IsZero() { // a zero time means no end
			until = time.Unix(0, 0).UTC()
		}
		l.Until = until
	}
	l.Leases, problems = parseLeases(all[Lease], problems)
	return l, problems
}

// parseLeases reads a list of names, separated by commas or white space.
func parseLeases(text string, problems []Problem) (names []string, all []Problem) {
	var bad []string
	for _, name := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\t' }) {
		switch {
		case len(names) > MaxLeases, len(bad) > MaxLeases: // a list may be as long as annotations may be
		case len(validation.IsDNS1123Subdomain(name)) > 0:
			bad = append(bad, fmt.Sprintf("%q", Clip(name)))
		case !slices.Contains(names, name):
			names = append(names, name)
		}
	}
	if len(names) > MaxLeases || len(bad) > MaxLeases { // leaving some out could end maintenance early
		problems = append(problems, Problem{Key: Lease, Message: fmt.Sprintf("annotation %s has more than %d names: maintenance has no end", Lease, MaxLeases)})
		return nil, problems
	}
	if len(bad) > 0 {
		what := "they are ignored"
		if len(names) == 0 {
			what = "maintenance has no end"
		}
		problems = append(problems, Problem{Key: Lease, Message: fmt.Sprintf("annotation %s has invalid Lease names: %s; %s", Lease, Clip(strings.Join(bad, ", ")), what)})
	}
	return names, problems
}
