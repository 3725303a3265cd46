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

// Problem keeps people who should get through from an app.
type Problem struct {
	Reason Reason // one of those below
	// Text is the message for people. It does not change while the problem lasts.
	Text string
	// Host and port that cannot be reached; only set for AppUnreachable.
	Host string
}

// Reason of a Problem. It is a label value of metric maintenance_bypass_failing.
type Reason string

// Reasons of a Problem.
const (
	SecretMissing  Reason = "secret-missing"
	SecretUnusable Reason = "secret-unusable" // lines of it cannot be used, or it has no token
	AppUnreachable Reason = "app-unreachable"
)

// Reasons lists all reasons.
func Reasons() []Reason { return []Reason{SecretMissing, SecretUnusable, AppUnreachable} }

// Report is what the Pods of a page set report together.
type Report struct {
	// Summary is one line for people: who was let through, and what fails.
	Summary string
	// Problems are sorted by reason and text.
	Problems []Problem
}

// Unreachable lists the hosts, with ports, of apps that cannot be reached.
func (r Report) Unreachable() (hosts []string) {
	for _, t := range r.Problems {
		if t.Reason == AppUnreachable {
			hosts = append(hosts, t.Host)
		}
	}
	return hosts
}

func (r Report) same(other Report) bool {
	return r.Summary == other.Summary && slices.Equal(r.Problems, other.Problems)
}

// history is what the Pods of a page set have reported since they were first polled: a Pod that is
// replaced loses what it knew.
type history struct {
	holders map[string]bool
	by      map[access.By]bool
	failing map[string]string // by host, the first message
	// repeatEvery is how many polls lie between two calls with an unchanged report, and repeatIn how
	// many are left until the next.
	repeatEvery, repeatIn int
}

// maxRepeatRounds bounds repeatEvery: 10 minutes.
const maxRepeatRounds = int(10 * time.Minute / PollInterval)

// reset starts over after a changed report.
func (k *history) reset() { k.repeatEvery, k.repeatIn = 1, 1 }

// due reports whether an unchanged report is repeated in this poll: with growing intervals.
func (k *history) due() bool {
	if k.repeatIn--; k.repeatIn > 0 {
		return false
	}
	k.repeatEvery = min(2*k.repeatEvery, maxRepeatRounds)
	k.repeatIn = k.repeatEvery
	return true
}

// maxHolders bounds the names that are kept of a page set: anything may answer at the address of a
// Pod.
const maxHolders = 1024

func (k *history) addHolder(name string) {
	if access.IsTokenName(name) && (k.holders[name] || len(k.holders) < maxHolders) {
		k.holders[name] = true
	}
}

// maxNamedHolders bounds the names in a summary.
const maxNamedHolders = 10

// report combines the current answers of the Pods with the history.
func (k *history) report(settings access.Settings, pods []access.Summary) Report {
	if k.holders == nil {
		*k = history{holders: map[string]bool{}, by: map[access.By]bool{}, failing: map[string]string{}}
	}
	failing := map[string]string{}
	var troubles []Problem
	for _, pod := range pods {
		for name := range pod.Holders {
			k.addHolder(name)
		}
		for _, by := range access.Bys() {
			k.by[by] = k.by[by] || pod.Through[by] > 0
		}
		troubles = append(troubles, secretProblems(settings.BypassSecret, pod.Secret)...)
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
		troubles = append(troubles, Problem{Reason: AppUnreachable, Host: host, Text: fmt.Sprintf("the app at %s cannot be reached from the page Pods (%s): people with access get its page", host, why)})
	}
	slices.SortFunc(troubles, func(a, b Problem) int { return cmp.Or(cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Text, b.Text)) })
	troubles = slices.Compact(troubles)
	return Report{Summary: k.summary(troubles), Problems: troubles}
}

func secretProblems(name string, s access.Secret) []Problem {
	switch {
	case name == "":
		return nil
	case s.Missing:
		return []Problem{{Reason: SecretMissing, Text: fmt.Sprintf("there is no Secret %s with the key %s: no token is accepted", name, access.SecretKey)}}
	case len(s.Problems) > 0:
		return []Problem{{Reason: SecretUnusable, Text: fmt.Sprintf("Secret %s: %s", name, strings.Join(s.Problems, "; "))}}
	case s.Tokens == 0:
		return []Problem{{Reason: SecretUnusable, Text: fmt.Sprintf("Secret %s has no token: no token is accepted", name)}}
	}
	return nil
}

// summary says who was let through, and what fails.
func (k *history) summary(troubles []Problem) string {
	var ways []string
	if names := slices.Sorted(maps.Keys(k.holders)); len(names) > 0 {
		more := ""
		if over := len(names) - maxNamedHolders; over > 0 {
			names, more = names[:maxNamedHolders], fmt.Sprintf(" and %d more", over)
		}
		ways = append(ways, "by token or link: "+strings.Join(names, ", ")+more)
	}
	if k.by[access.ByPath] {
		ways = append(ways, "by open path")
	}
	if k.by[access.ByMethod] {
		ways = append(ways, "by reading")
	}
	all := []string{"nobody has been let through yet"}
	if len(ways) > 0 {
		all = []string{"let through " + strings.Join(ways, ", ")}
	}
	for _, t := range troubles {
		all = append(all, t.Text)
	}
	return strings.Join(all, "; ")
}
