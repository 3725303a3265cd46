package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"maintenance-controller.io/pkg/target"
)

// findHost finds everything that serves exactly a host, of any kind. It tells people what else
// these targets serve, and which targets may serve the host without naming it, so that nobody
// is surprised by who gets the page. If a kind cannot be read it fails, because a target that
// is missed would keep serving the app.
func (s *session) findHost(ctx context.Context, c choice) (chosen []found, err error) {
	var maybe []found
	for _, kind := range target.Kinds() {
		all, err := s.list(ctx, kind, choice{all: c.all})
		if err != nil {
			return nil, fmt.Errorf("--host has to search every kind: %w", err)
		}
		for _, f := range all {
			switch hosts := kind.Hosts(f.object.Object); {
			case !hasBackends(f):
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

// hasBackends says whether a page could replace a backend of the object. The Ingresses that
// cert-manager creates for a minute have no such backend.
func hasBackends(f found) bool {
	slots, err := f.kind.Slots(f.object.Object)
	return err == nil && len(slots) > 0
}

func mayServe(h target.Host, name string) bool {
	return h.Form != target.ExactHost && (h.Form != target.WildcardHost || strings.HasSuffix(name, strings.TrimPrefix(h.Name, "*")))
}

// maxListed is how many names a message lists.
const maxListed = 8

func otherHosts(f found, but string) (names []string) {
	hosts := f.kind.Hosts(f.object.Object)
	for _, h := range hosts {
		if h.Form != target.ExactHost || h.Name != but {
			names = append(names, hostText(h))
		}
	}
	return truncated(names)
}

func hostText(h target.Host) string {
	if h.Form == target.NoHost {
		return "any host"
	}
	return h.Name
}

func truncated(names []string) []string {
	if len(names) > maxListed {
		return append(names[:maxListed:maxListed], fmt.Sprintf("and %d more", len(names)-maxListed))
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
	s.tell("Not chosen, because they do not name the host %s, but may serve it:\n%s", c.host, strings.Join(truncated(lines), "\n"))
}
