package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"maintenance-controller.io/pkg/target"
)

// findHost finds what serves exactly a host, of any kind. What serves others beside it, and
// what may serve it without naming it, is told: nobody is to be surprised by whom it hits.
// Where a kind may not be read it finds nothing: a target that is missed would go on
// serving the app.
func (s *session) findHost(ctx context.Context, c choice) (chosen []found, err error) {
	var maybe []found
	for _, kind := range target.Kinds() {
		all, err := s.list(ctx, kind, choice{all: c.all})
		if err != nil {
			return nil, fmt.Errorf("to choose by --host every kind has to be looked at: %w", err)
		}
		for _, f := range all {
			switch hosts := kind.Hosts(f.object.Object); {
			case !leads(f):
			case slices.Contains(hosts, target.Host{Form: target.ExactHost, Name: c.host}):
				chosen = append(chosen, f)
			case slices.ContainsFunc(hosts, func(h target.Host) bool { return mayServe(h, c.host) }):
				maybe = append(maybe, f)
			}
		}
	}
	s.tellUnchosen(c, maybe)
	if len(chosen) == 0 {
		return nil, fmt.Errorf("nothing serves exactly the host %s %s%s", c.host, s.where(c), elsewhere(c))
	}
	for _, f := range chosen {
		if others := otherHosts(f, c.host); len(others) > 0 {
			s.tell("%s also serves %s", s.label(f.ref()), strings.Join(others, ", "))
		}
	}
	return chosen, nil
}

// leads says whether an object has a backend that can be on a page: what cert-manager puts
// beside an app for a minute has none.
func leads(f found) bool {
	slots, err := f.kind.Slots(f.object.Object)
	return err == nil && len(slots) > 0
}

func mayServe(h target.Host, name string) bool {
	return h.Form != target.ExactHost && (h.Form != target.WildcardHost || strings.HasSuffix(name, strings.TrimPrefix(h.Name, "*")))
}

// manyHosts bounds what is listed.
const manyHosts = 8

func otherHosts(f found, but string) (names []string) {
	hosts := f.kind.Hosts(f.object.Object)
	for _, h := range hosts {
		if h.Form != target.ExactHost || h.Name != but {
			names = append(names, hostText(h))
		}
	}
	return shortened(names)
}

func hostText(h target.Host) string {
	if h.Form == target.NoHost {
		return "any host"
	}
	return h.Name
}

func shortened(names []string) []string {
	if len(names) > manyHosts {
		return append(names[:manyHosts:manyHosts], fmt.Sprintf("and %d more", len(names)-manyHosts))
	}
	return names
}

func (s *session) tellUnchosen(c choice, maybe []found) {
	if len(maybe) == 0 {
		return
	}
	var lines []string
	for _, f := range maybe {
		lines = append(lines, fmt.Sprintf("  %s (%s)", s.label(f.ref()), strings.Join(otherHosts(f, ""), ", ")))
	}
	s.tell("Not chosen, since it does not name the host %s, but may serve it:\n%s", c.host, strings.Join(shortened(lines), "\n"))
}
