package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// observeTimeoutFactor times the settle time is how long to wait for a controller that
// reports in the object's status what it has observed.
const observeTimeoutFactor = 10

// SettleOf gives the settle time for an object of these ingress classes: the longest of
// theirs, and Settle if there are none.
func (s Settings) SettleOf(classes []string) time.Duration {
	longest := time.Duration(-1)
	for _, class := range classes {
		settle, special := s.SettleByClass[class]
		if !special {
			settle = s.Settle
		}
		longest = max(longest, settle)
	}
	if longest < 0 {
		return s.Settle
	}
	return longest
}

func (d *draft) followers() []target.Follower {
	if d.in.Kind.Followers == nil {
		return nil
	}
	return d.in.Kind.Followers(d.in.Object)
}

// rememberFollowers records which controllers have observed at least generation seen of the
// object: only those can show that they have observed the swap. Those that reject the
// object before the first swap do not reject it because of the page.
func (d *draft) rememberFollowers(seen int64) {
	m := &d.out.Memory
	current, refusing := splitLines(m.Followers), splitLines(m.Refusing)
	first := m.SwitchedTo == ""
	for _, f := range d.followers() {
		if f.Seen >= seen && !slices.Contains(current, f.Name) {
			current = append(current, f.Name)
		}
		if first && f.Refused != "" {
			refusing = append(refusing, f.Name)
		}
	}
	slices.Sort(current)
	m.Followers, m.Refusing, m.FollowedAt = strings.Join(current, "\n"), strings.Join(refusing, "\n"), time.Time{}
}

func splitLines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// lateFollowers names the controllers that have not yet shown that they observed the
// current object.
func (d *draft) lateFollowers() (names []string) {
	current := splitLines(d.out.Memory.Followers)
	for _, f := range d.followers() {
		if slices.Contains(current, f.Name) && f.Seen < d.object.GetGeneration() {
			names = append(names, f.Name)
		}
	}
	return names
}

// settleTimeLeft is how much longer ingress controllers may take to follow, and which of
// them have not even observed the swap. Having observed it does not mean having followed:
// the settle time starts then.
func (d *draft) settleTimeLeft() (left time.Duration, late []string) {
	m := &d.out.Memory
	settle := d.in.Settings.SettleOf(d.in.Classes)
	begin := m.SwitchedAt
	switch late = d.lateFollowers(); {
	case settle == 0: // do not wait
	case len(late) > 0:
		m.FollowedAt = time.Time{}
		return m.SwitchedAt.Add(observeTimeoutFactor * settle).Sub(d.in.Now), late
	case m.Followers != "":
		if m.FollowedAt.IsZero() {
			m.FollowedAt = d.in.Now
		}
		begin = m.FollowedAt
	}
	if m.Reverts > immediateReverts {
		settle = max(settle, revertWindow)
	}
	return begin.Add(settle).Sub(d.in.Now), nil
}

// rejectedOnPage says whether a controller rejects the object since it leads to the page,
// and reports that in the controller's words. The swap stands: undoing it would end
// maintenance.
func (d *draft) rejectedOnPage(status *annotations.Status) bool {
	since, _ := time.Parse(time.RFC3339, d.status.Since)
	for _, f := range d.followers() {
		if f.Refused == "" || f.Seen < d.object.GetGeneration() || slices.Contains(splitLines(d.out.Memory.Refusing), f.Name) || f.Since.Before(since) {
			continue
		}
		why := fmt.Sprintf("%s: %s", f.Name, f.Refused)
		d.report(RouteRejected, "%s", why)
		*status = withState(*status, annotations.Blocked, why)
		d.out.Memory.FollowedAt = time.Time{}
		return true
	}
	return false
}
