package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/target"
)

// patientTimes the settle time is how long a controller that shows in the object's
// status what it has seen is waited for.
const patientTimes = 10

// SettleOf gives the settle time of an object of these classes: the longest of theirs.
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

// keepFollowers remembers who has seen the object as it is before a swap, or may have:
// only those can show that they have seen the swap. Who refuses it already does not do
// so for the page's sake.
func (d *draft) keepFollowers(seen int64) {
	m := &d.out.Memory
	current, refusing := lines(m.Followers), lines(m.Refusing)
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

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// late names those who have not shown yet that they have seen the object as it is.
func (d *draft) late() (names []string) {
	current := lines(d.out.Memory.Followers)
	for _, f := range d.followers() {
		if slices.Contains(current, f.Name) && f.Seen < d.object.GetGeneration() {
			names = append(names, f.Name)
		}
	}
	return names
}

// unsettled is for how much longer ingress controllers may be following, and who has
// not even shown that he has begun to. To be seen is no proof: the clock starts then.
func (d *draft) unsettled() (left time.Duration, late []string) {
	m := &d.out.Memory
	settle := d.in.Settings.SettleOf(d.in.Classes)
	begin := m.SwitchedAt
	switch late = d.late(); {
	case settle == 0: // nobody is waited for
	case len(late) > 0:
		m.FollowedAt = time.Time{}
		return m.SwitchedAt.Add(patientTimes * settle).Sub(d.in.Now), late
	case m.Followers != "":
		if m.FollowedAt.IsZero() {
			m.FollowedAt = d.in.Now
		}
		begin = m.FollowedAt
	}
	if m.Reverts > patience {
		settle = max(settle, quiet)
	}
	return begin.Add(settle).Sub(d.in.Now), nil
}

// refusedPage says whether a controller refuses the object since it leads to the page,
// and tells it in its own words. The swap stands: to take it back would end maintenance.
func (d *draft) refusedPage(status *annotations.Status) bool {
	since, _ := time.Parse(time.RFC3339, d.status.Since)
	for _, f := range d.followers() {
		if f.Refused == "" || f.Seen < d.object.GetGeneration() || slices.Contains(lines(d.out.Memory.Refusing), f.Name) || f.Since.Before(since) {
			continue
		}
		why := fmt.Sprintf("%s: %s", f.Name, f.Refused)
		d.tell(PageRefused, "%s", why)
		*status = said(*status, annotations.Blocked, why)
		d.out.Memory.FollowedAt = time.Time{}
		return true
	}
	return false
}
