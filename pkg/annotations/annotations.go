// Package annotations holds every annotation and label key of the project, and parses what
// people ask for on a target.
package annotations

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"maintenance-controller.io/pkg/printable"
)

// Prefix of every annotation of ours. An unknown key under it is a typo.
const Prefix = "maintenance/"

// What people write, unless flags of the controller name other keys.
const (
	DefaultEnabled      = Prefix + "enabled"     // key of the switch
	DefaultEnabledValue = "true"                 // its value that means on
	DefaultCustomPage   = Prefix + "custom-page" // key of the page's name
	DefaultPage         = "default"              // the page of a target that names none
)

// What the controller writes on a target. These keys are constant: a controller restarted
// with other flags must still find its own work.
const (
	State    = Prefix + "state"    // one of the values below
	Message  = Prefix + "message"  // why the state is so, for people; one line
	Since    = Prefix + "since"    // RFC 3339
	PageSet  = Prefix + "page-set" // name of the page set the target points at
	Original = Prefix + "original" // JSON: what the slots held before
	// Cause is JSON: why maintenance began automatically and when, or that it was given up.
	Cause = Prefix + "cause"
	// RestoringSince is when the end of maintenance began to wait for the app, RFC 3339.
	RestoringSince = Prefix + "restoring-since"
)

// Installation is the id of an installation, on everything that it makes and on the targets
// that it has in maintenance. It is also the key of a label on what it makes, whose value
// is a hash of the id.
const Installation = Prefix + "installation"

// What the controller writes on the objects of a page set.
const (
	UsedBy      = Prefix + "used-by"      // the set's users, see pageset.UsedBy
	ContentHash = Prefix + "content-hash" // the whole SHA-256; the set's name has the beginning of it
	Classes     = Prefix + "classes"      // on its Service: the ingress classes that it has been fitted to
	Template    = Prefix + "template"     // on a page Pod: hash of the template that it was made from
)

// Values of State. An absent state means that the target is not in maintenance.
const (
	Switching = "switching" // swapped; ingress controllers are following
	Active    = "active"    // visitors see the page
	Pending   = "pending"   // the page is starting; visitors see the app
	Blocked   = "blocked"   // somebody must act; Message says what to do
	Contested = "contested" // somebody keeps writing the backends back
	Restoring = "restoring" // maintenance is over, but visitors keep the page until the app is ready
)

// Labels of our own objects, and of ConfigMaps that hold a custom page.
const (
	ManagedByLabel  = "app.kubernetes.io/managed-by" // on everything of ours, with the value ManagedBy
	ManagedBy       = "maintenance-controller"
	NameLabel       = "app.kubernetes.io/name" // on everything of ours, with the value Name
	Name            = "maintenance-page"
	ComponentLabel  = "app.kubernetes.io/component" // on everything of ours: which part it is
	ComponentSet    = "page-set"
	ComponentBackup = "backup"
	ComponentOrigin = "origin"
	PageSetLabel    = Prefix + "page-set"    // name of the page set that the object belongs to
	CustomPageLabel = Prefix + "custom-page" // on a ConfigMap that holds a page: the page's name
)

// statusKeys lists what the controller writes on a target.
var statusKeys = []string{State, Message, Since, PageSet, Original, Installation, AccessReport, Cause, RestoringSince}

// Keys are the configurable annotations that people write.
type Keys struct {
	Enabled      string // key
	EnabledValue string // the value that means on
	CustomPage   string // key
}

// DefaultKeys are the keys of the documentation.
func DefaultKeys() Keys {
	return Keys{Enabled: DefaultEnabled, EnabledValue: DefaultEnabledValue, CustomPage: DefaultCustomPage}
}

// Enabled says whether a person asks for maintenance. Zero is that nobody says anything,
// which differs from no: something else may decide then.
type Enabled int

// What a person can ask for.
const (
	Unset Enabled = iota // the annotation is absent or empty
	Off                  // "false", or a value that is neither on nor off
	On                   // the value of Keys.EnabledValue
)

// Request is what the annotations of a target ask for.
type Request struct {
	Enabled Enabled // whether a person asks for maintenance
	Page    string  // name of the page, DefaultPage if none is named
	Access
	Limits
	Automation
}

// Problem is a person's mistake in an annotation.
type Problem struct {
	Unknown bool   // the key is unknown; otherwise its value is invalid
	Key     string // of the annotation
	Message string // names the annotation and says what to do
}

// Parse reads the request from a target's annotations. A value that is neither on nor off
// means off, so a typo never takes an app away from its visitors.
func (k Keys) Parse(all map[string]string) (Request, []Problem) {
	req := Request{Page: cmp.Or(strings.TrimSpace(all[k.CustomPage]), DefaultPage)}
	var problems []Problem
	switch value := all[k.Enabled]; strings.TrimSpace(value) {
	case strings.TrimSpace(k.EnabledValue):
		req.Enabled = On
	case "":
	case "false":
		req.Enabled = Off
	default:
		req.Enabled = Off
		problems = append(problems, Problem{Key: k.Enabled, Message: fmt.Sprintf(
			"annotation %s is %q: use %q to show the maintenance page, \"false\" or no annotation to serve the app (as now)",
			k.Enabled, Clip(value), k.EnabledValue)})
	}
	var unlet, endless []Problem
	req.Access, unlet = parseAccess(all)
	problems = append(problems, unlet...)
	if req.Limits, endless = parseLimits(all); req.Enabled == On { // otherwise there is nothing to end
		problems = append(problems, endless...)
	}
	var undecided []Problem
	req.Automation, undecided = parseAutomation(all)
	problems = append(problems, undecided...)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(key, Prefix) && !k.known(key) {
			problems = append(problems, Problem{Unknown: true, Key: key, Message: fmt.Sprintf(
				"annotation %s is unknown and has no effect: did you mean %s or %s?", Clip(key), k.Enabled, k.CustomPage)})
		}
	}
	return req, problems
}

func (k Keys) known(key string) bool {
	return key == k.Enabled || key == k.CustomPage || slices.Contains(accessKeys, key) || slices.Contains(limitKeys, key) || slices.Contains(automationKeys, key) || slices.Contains(statusKeys, key)
}

// AnyRelevant says whether any of the annotations is ours or asks something of us: a target
// without one is none of our business.
func (k Keys) AnyRelevant(all map[string]string) bool {
	for key := range all {
		if k.Relevant(key) {
			return true
		}
	}
	return false
}

// Relevant says whether an annotation matters to the controller.
func (k Keys) Relevant(key string) bool {
	return strings.HasPrefix(key, Prefix) || key == k.Enabled || key == k.CustomPage
}

// Remove gives a copy of the annotations without what people ask for. It is false if they
// ask for nothing.
func (k Keys) Remove(all map[string]string) (map[string]string, bool) {
	out := maps.Clone(all)
	delete(out, k.Enabled)
	delete(out, k.CustomPage)
	for _, key := range slices.Concat(limitKeys, automationKeys) {
		delete(out, key)
	}
	return out, len(out) < len(all)
}

// Status is what the controller wrote on a target. An empty field is an absent annotation.
type Status struct {
	// Each is the value of the annotation of its name; empty where that is absent.
	State, Message, Since, PageSet, Original, Installation string
	// Access says who is let through, and what fails; empty if nobody should be.
	Access string
	// Cause is why maintenance began automatically, and Restoring since when its end waits
	// for the app, RFC 3339.
	Cause, Restoring string
}

// StatusOf reads a Status from a target's annotations.
func StatusOf(all map[string]string) Status {
	return Status{State: all[State], Message: all[Message], Since: all[Since], PageSet: all[PageSet], Original: all[Original], Installation: all[Installation], Access: all[AccessReport],
		Cause: all[Cause], Restoring: all[RestoringSince]}
}

// Digest identifies a status without its id, which is never written on its own.
func (s Status) Digest() string {
	s.Installation = ""
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", s))
	return hex.EncodeToString(sum[:])
}

// Write gives a copy of the annotations with s in place of what the controller wrote
// before. An empty field removes its key; the zero Status removes all. Messages are cut to
// one line of MaxMessage bytes.
func (s Status) Write(all map[string]string) map[string]string {
	out := maps.Clone(all)
	if out == nil {
		out = map[string]string{}
	}
	for key, value := range map[string]string{State: s.State, Message: Line(s.Message, MaxMessage), Since: s.Since, PageSet: s.PageSet, Original: s.Original, Installation: s.Installation, AccessReport: Line(s.Access, MaxMessage),
		Cause: s.Cause, RestoringSince: s.Restoring} {
		if value == "" {
			delete(out, key)
		} else {
			out[key] = value
		}
	}
	return out
}

// HasWritten says whether anything of the controller's is on the target.
func HasWritten(all map[string]string) bool {
	return slices.ContainsFunc(statusKeys, func(key string) bool { _, ok := all[key]; return ok })
}

// MaxTotalSize is the API server's limit for all annotations of an object, keys and values
// together, in bytes (apimachinery's TotalAnnotationSizeLimitB).
const MaxTotalSize = 256 << 10

// MaxMessage limits a message in bytes.
const MaxMessage = 1 << 10

// Size is what the API server counts against MaxTotalSize, in bytes.
func Size(all map[string]string) int {
	n := 0
	for key, value := range all {
		n += len(key) + len(value)
	}
	return n
}

// Clip limits what a message quotes of a person's input to 80 bytes.
func Clip(s string) string { return ClipTo(s, 80) }

// ClipTo cuts s to at most limit bytes of valid UTF-8.
func ClipTo(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-len("…")], "") + "…"
}

// Reserved says whether the controller writes this key itself.
func Reserved(key string) bool { return slices.Contains(statusKeys, key) || key == UsedBy }

// Line makes one line of at most limit bytes from foreign text, for people's terminals:
// control characters and unprintable ones are escaped.
func Line(s string, limit int) string {
	if len(s) > limit { // escaping only makes it longer
		s = s[:limit+1]
	}
	return ClipTo(printable.Escape(s, func(r rune) bool {
		return unicode.IsControl(r) || !unicode.IsPrint(r) && !unicode.IsSpace(r) || r == '\u2028' || r == '\u2029'
	}), limit)
}
