package annotations

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// What people write beside DefaultEnabled: why, who, and for how long. Unlike that
// one's, these keys are constant.
const (
	Reason = Prefix + "reason" // free text, at most MaxReason bytes of it are shown
	By     = Prefix + "by"     // free text, at most MaxBy bytes of it are shown: what people say of themselves
	Until  = Prefix + "until"  // RFC 3339 with an offset: when maintenance ends by itself
	Lease  = Prefix + "lease"  // names of Leases beside the target: maintenance ends when the last has expired
)

// LeaseLabel is on the Leases that Lease may name, with any value: the controller
// watches no others.
const LeaseLabel = Prefix + "lease"

// Bounds of what is read of a request, in bytes, and in names.
const (
	MaxReason = 256
	MaxBy     = 128
	MaxLeases = 64
)

// limiting lists the keys of Limits.
var limiting = []string{Reason, By, Until, Lease}

// Limits are why somebody asks for maintenance, who, and for how long.
type Limits struct {
	// Reason and By are one line each, without control characters.
	Reason, By string
	// Until is when maintenance ends by itself; zero is never.
	Until time.Time
	// Leases are names of Leases in the target's namespace, each once; none is no end.
	Leases []string
}

// Finish gives a copy of the annotations without what asks for the maintenance that
// has ended by itself. The page that is named stays: it asks for nothing.
func (k Keys) Finish(all map[string]string) map[string]string {
	out := maps.Clone(all)
	delete(out, k.Enabled)
	for _, key := range limiting {
		delete(out, key)
	}
	return out
}

// limits reads Limits. What cannot be read does not end maintenance: it goes on for as
// long as it is asked for, and people are told.
func limits(all map[string]string) (l Limits, problems []Problem) {
	l.Reason, l.By = Line(strings.TrimSpace(all[Reason]), MaxReason), Line(strings.TrimSpace(all[By]), MaxBy)
	if text := strings.TrimSpace(all[Until]); text != "" {
		until, err := time.Parse(time.RFC3339, text)
		if err != nil {
			problems = append(problems, Problem{Key: Until, Message: fmt.Sprintf(
				"annotation %s is %q, which is no time in RFC 3339 with an offset, such as 2026-01-31T18:00:00+01:00: maintenance has no end", Until, Clip(text))})
		}
		if err == nil && until.IsZero() { // which means that there is no end
			until = time.Unix(0, 0).UTC()
		}
		l.Until = until
	}
	l.Leases, problems = leases(all[Lease], problems)
	return l, problems
}

// leases reads a list of names, with commas or white space between them.
func leases(text string, problems []Problem) (names []string, all []Problem) {
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
	if len(names) > MaxLeases || len(bad) > MaxLeases { // to leave some out could end it early
		problems = append(problems, Problem{Key: Lease, Message: fmt.Sprintf("annotation %s has more than %d names: maintenance has no end", Lease, MaxLeases)})
		return nil, problems
	}
	if len(bad) > 0 {
		what := "they do not count"
		if len(names) == 0 {
			what = "maintenance has no end"
		}
		problems = append(problems, Problem{Key: Lease, Message: fmt.Sprintf("annotation %s has what is no name of a Lease: %s; %s", Lease, Clip(strings.Join(bad, ", ")), what)})
	}
	return names, problems
}
