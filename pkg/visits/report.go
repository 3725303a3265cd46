package visits

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"maintenance-controller.io/pkg/access"
)

// Trouble keeps those who are to be let through from an app.
type Trouble struct {
	Reason Reason
	// Text is for people. It stays the same for as long as the trouble does.
	Text string
	// Host that cannot be reached, of AppUnreachable.
	Host string
}

// Reason of a Trouble.
type Reason string

// The reasons.
const (
	SecretMissing  Reason = "secret-missing"
	SecretUnusable Reason = "secret-unusable" // lines of it
	AppUnreachable Reason = "app-unreachable"
)

// Reasons lists them, for metrics.
func Reasons() []Reason { return []Reason{SecretMissing, SecretUnusable, AppUnreachable} }

// Report is what the Pods of a page set say together.
type Report struct {
	// Summary is one line for people: who was let through, and what fails.
	Summary string
	// Troubles are sorted.
	Troubles []Trouble
}

// Unreachable lists the hosts, with their ports, of apps that cannot be reached.
func (r Report) Unreachable() (hosts []string) {
	for _, t := range r.Troubles {
		if t.Reason == AppUnreachable {
			hosts = append(hosts, t.Host)
		}
	}
	return hosts
}

func (r Report) same(other Report) bool {
	return r.Summary == other.Summary && slices.Equal(r.Troubles, other.Troubles)
}

// known is what has been heard of a page set since it was asked first: Pods come and go,
// and forget.
type known struct {
	holders map[string]bool
	by      map[access.By]bool
	failing map[string]string // by the host, what was said first
	// apart are the rounds between two times that the same is told, left those to the next.
	apart, left int
}

// mostApart is 10 minutes.
const mostApart = int(10 * time.Minute / Interval)

// told notes that something new is told in this round.
func (k *known) told() { k.apart, k.left = 1, 1 }

// due says whether what is the same as before is told again in this round: at first in
// each, and then ever more seldom.
func (k *known) due() bool {
	if k.left--; k.left > 0 {
		return false
	}
	k.apart = min(2*k.apart, mostApart)
	k.left = k.apart
	return true
}

// mostKept bounds the names that are kept of a page set: what Pods say is taken from
// whatever answers at their addresses.
const mostKept = 1024

func (k *known) hold(name string) {
	if access.IsTokenName(name) && (k.holders[name] || len(k.holders) < mostKept) {
		k.holders[name] = true
	}
}

// mostNamed bounds the names of a summary.
const mostNamed = 10

// report puts together what Pods say now with what was heard before.
func (k *known) report(settings access.Settings, pods []access.Summary) Report {
	if k.holders == nil {
		*k = known{holders: map[string]bool{}, by: map[access.By]bool{}, failing: map[string]string{}}
	}
	failing := map[string]string{}
	var troubles []Trouble
	for _, pod := range pods {
		for name := range pod.Holders {
			k.hold(name)
		}
		for _, by := range access.Bys() {
			k.by[by] = k.by[by] || pod.Through[by] > 0
		}
		troubles = append(troubles, ofSecret(settings.BypassSecret, pod.Secret)...)
		for _, door := range pod.Doors {
			at := slices.IndexFunc(settings.Doors, func(d access.Door) bool { return d.Name == door.Name })
			if door.Unreachable == "" || at < 0 {
				continue
			}
			host := fmt.Sprintf("%s:%d", settings.Doors[at].Host, settings.Doors[at].Port)
			failing[host] = cmp.Or(k.failing[host], failing[host], door.Unreachable)
		}
	}
	k.failing = failing
	for host, why := range failing {
		troubles = append(troubles, Trouble{Reason: AppUnreachable, Host: host, Text: fmt.Sprintf("the app at %s cannot be reached from the page Pods (%s): who is let through gets the page there", host, why)})
	}
	slices.SortFunc(troubles, func(a, b Trouble) int { return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Text, b.Text)) })
	troubles = slices.Compact(troubles)
	return Report{Summary: k.summary(troubles), Troubles: troubles}
}

func ofSecret(name string, s access.Secret) []Trouble {
	switch {
	case name == "":
		return nil
	case s.Missing:
		return []Trouble{{Reason: SecretMissing, Text: fmt.Sprintf("there is no Secret %s with the key %s: nobody is let through by a token", name, access.SecretKey)}}
	case len(s.Problems) > 0:
		return []Trouble{{Reason: SecretUnusable, Text: fmt.Sprintf("Secret %s: %s", name, strings.Join(s.Problems, "; "))}}
	case s.Tokens == 0:
		return []Trouble{{Reason: SecretUnusable, Text: fmt.Sprintf("Secret %s has no token: nobody is let through by one", name)}}
	}
	return nil
}

// summary says who was let through, and what fails.
func (k *known) summary(troubles []Trouble) string {
	var ways []string
	if names := slices.Sorted(maps.Keys(k.holders)); len(names) > 0 {
		more := ""
		if over := len(names) - mostNamed; over > 0 {
			names, more = names[:mostNamed], fmt.Sprintf(" and %d more", over)
		}
		ways = append(ways, "by token or link: "+strings.Join(names, ", ")+more)
	}
	if k.by[access.ByPath] {
		ways = append(ways, "by open path")
	}
	if k.by[access.ByMethod] {
		ways = append(ways, "by reading")
	}
	all := []string{"nobody was let through yet"}
	if len(ways) > 0 {
		all = []string{"let through " + strings.Join(ways, ", ")}
	}
	for _, t := range troubles {
		all = append(all, t.Text)
	}
	return strings.Join(all, "; ")
}
