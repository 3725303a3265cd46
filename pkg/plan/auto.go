package plan

import (
	"slices"
	"strings"

	"maintenance-controller.io/pkg/annotations"
	"maintenance-controller.io/pkg/pageset"
	"maintenance-controller.io/pkg/wanted"
)

// prepare claims the page set of a target that is to begin maintenance by itself, so that
// it serves before it is needed, and says what would keep it from that.
func (d *draft) prepare() {
	if !d.in.Prewarms() || len(d.in.Slots) == 0 || d.page.Set == "" {
		return
	}
	if !slices.Contains(d.out.Claims, d.page.Set) && !d.barred() {
		d.out.Claims = append(d.out.Claims, d.page.Set)
	}
	if d.page.Problem != "" {
		d.tell(PageNotFound, "%s: visitors will get the default page", d.page.Problem)
	}
	switch set := d.in.Sets[d.page.Set]; set.Phase {
	case pageset.Conflict:
		d.tell(NameConflict, "%s", set.Message)
	case pageset.Blocked:
		d.tell(PageNotReady, "the page that is kept ready for annotation %s cannot be shown, visitors are not affected yet: %s", annotations.Auto, set.Message)
	case pageset.Absent, pageset.Starting, pageset.Serving:
	}
}

// Prewarms says whether the target's page set is to serve before it is needed.
func (s State) Prewarms() bool {
	return s.Request.Auto != "" && s.Request.Enabled != annotations.Off
}

// handedOver takes off what a person had asked for whose maintenance has ended by itself
// while the app is down: from then on it is the controller's own.
func (d *draft) handedOver(all map[string]string) map[string]string {
	if !d.in.Wanted.On {
		return all
	}
	return d.finish(all)
}

// whose says which of the two has the target in maintenance, a person or the controller
// itself, where it could be either.
func (d *draft) whose() string {
	switch {
	case d.in.Wanted.By == wanted.Auto:
		return "by itself, since " + d.in.Wanted.Cause
	case d.in.Request.Auto != "":
		return "asked for by annotation, whatever " + annotations.Auto + " finds"
	}
	return ""
}

// withWhose adds it to what else there is to say.
func (d *draft) withWhose(text string) string {
	why := d.whose()
	if why == "" || strings.HasSuffix(text, why) {
		return text
	}
	return text + "; " + why
}

// byItself ends the message of an event: why it began if nobody asked for it.
func (m Memory) byItself() string {
	if m.ByItself == "" {
		return ""
	}
	return ": it began by itself, since " + m.ByItself
}
