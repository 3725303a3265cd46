// Package annotations holds every annotation and label key of the project, and
// reads what people ask for on a target.
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

// Prefix of every annotation of ours. A key under it that is not known is a typo.
const Prefix = "maintenance/"

// What people write, unless the controller's flags name other keys.
const (
	DefaultEnabled      = Prefix + "enabled"
	DefaultEnabledValue = "true"
	DefaultCustomPage   = Prefix + "custom-page"
	DefaultPage         = "default" // the page of a target that names none
)

// What the controller writes on a target. These keys are constant: a controller
// restarted with other flags must still find its own work.
const (
	State    = Prefix + "state"
	Message  = Prefix + "message"
	Since    = Prefix + "since"    // RFC 3339
	PageSet  = Prefix + "page-set" // name of the page set the target points at
	Original = Prefix + "original" // JSON: what the slots held before
	// Cause is JSON: why maintenance began by itself, and since when, or that it was given up.
	Cause = Prefix + "cause"
	// RestoringSince is since when the end of maintenance waits for the app, RFC 3339.
	RestoringSince = Prefix + "restoring-since"
)

// Installation is on all that an installation of the controller makes, and on the
// targets that it has in maintenance: its id. It is the key of a label too, on what it
// makes, with a hash of the id.
const Installation = Prefix + "installation"

// What the controller writes on a page set's ConfigMap.
const (
	UsedBy      = Prefix + "used-by"
	ContentHash = Prefix + "content-hash" // the whole SHA-256, of which the set's name has the beginning
	Classes     = Prefix + "classes"      // on its Service: the ingress classes that it has been fitted to
	Template    = Prefix + "template"     // on a page Pod: hash of the Pod template it was made from
)

// Values of State. An absent state means that all is as it was.
const (
	Switching = "switching" // swapped; ingress controllers are following
	Active    = "active"    // visitors see the page
	Pending   = "pending"   // the page is on its way, visitors see the app
	Blocked   = "blocked"   // somebody must do something; Message says what
	Contested = "contested" // somebody keeps writing the backends back
	Restoring = "restoring" // maintenance is over, and visitors keep the page until the app is ready
)

// Labels of our own objects, and of ConfigMaps that hold a custom page.
const (
	ManagedByLabel  = "app.kubernetes.io/managed-by"
	ManagedBy       = "maintenance-controller"
	NameLabel       = "app.kubernetes.io/name"
	Name            = "maintenance-page"
	ComponentLabel  = "app.kubernetes.io/component"
	ComponentSet    = "page-set"
	ComponentBackup = "backup"
	ComponentOrigin = "origin"
	PageSetLabel    = Prefix + "page-set"
	CustomPageLabel = Prefix + "custom-page"
)

// written lists what Clear removes from a target.
var written = []string{State, Message, Since, PageSet, Original, Installation, AccessReport, Cause, RestoringSince}

// Keys are the annotations that people write, as configured.
type Keys struct {
	Enabled      string // key
	EnabledValue string // the value that means on
	CustomPage   string // key
}

// DefaultKeys are the keys of the documentation.
func DefaultKeys() Keys {
	return Keys{Enabled: DefaultEnabled, EnabledValue: DefaultEnabledValue, CustomPage: DefaultCustomPage}
}

// Enabled is whether a person asks for maintenance. Zero is that nobody says anything,
// which is not the same as no: something else may decide then.
type Enabled int

// What a person may say.
const (
	Unasked Enabled = iota // the annotation is absent or empty
	Off                    // "false", or a value that is neither on nor off
	On
)

// Request is what the annotations of a target ask for.
type Request struct {
	Enabled Enabled
	Page    string // name of the page, DefaultPage if none is named
	Access
	Limits
	Unattended
}

// Problem is a person's mistake in an annotation.
type Problem struct {
	Unknown bool // the key is unknown; otherwise its value is invalid
	Key     string
	Message string // names the annotation and says what to do
}

// Parse reads the request from a target's annotations. A value that is neither
// on nor off means off, so that a typo never takes an app from its visitors.
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
			"annotation %s is %q: use %q to show the maintenance page, \"false\" or no annotation to serve the app (which it does now)",
			k.Enabled, Clip(value), k.EnabledValue)})
	}
	var unlet, endless []Problem
	req.Access, unlet = letThrough(all)
	problems = append(problems, unlet...)
	if req.Limits, endless = limits(all); req.Enabled == On { // else there is nothing to end
		problems = append(problems, endless...)
	}
	var undecided []Problem
	req.Unattended, undecided = unattended(all)
	problems = append(problems, undecided...)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(key, Prefix) && !k.known(key) {
			problems = append(problems, Problem{Unknown: true, Key: key, Message: fmt.Sprintf(
				"annotation %s is not known and has no effect: did you mean %s or %s?", Clip(key), k.Enabled, k.CustomPage)})
		}
	}
	return req, problems
}

func (k Keys) known(key string) bool {
	return key == k.Enabled || key == k.CustomPage || slices.Contains(accessKeys, key) || slices.Contains(limiting, key) || slices.Contains(unattendedKeys, key) || slices.Contains(written, key)
}

// Concerns says whether any of the annotations is ours or asks something of us:
// a target without one is none of our business.
func (k Keys) Concerns(all map[string]string) bool {
	for key := range all {
		if k.Keeps(key) {
			return true
		}
	}
	return false
}

// Keeps says whether an annotation matters to the controller.
func (k Keys) Keeps(key string) bool {
	return strings.HasPrefix(key, Prefix) || key == k.Enabled || key == k.CustomPage
}

// Remove gives a copy of the annotations without what people ask for. It is
// false if they ask for nothing.
func (k Keys) Remove(all map[string]string) (map[string]string, bool) {
	out := maps.Clone(all)
	delete(out, k.Enabled)
	delete(out, k.CustomPage)
	for _, key := range slices.Concat(limiting, unattendedKeys) {
		delete(out, key)
	}
	return out, len(out) < len(all)
}

// Status is what the controller wrote on a target.
type Status struct {
	State, Message, Since, PageSet, Original, Installation string
	// Access says who is let through, and what keeps them from the app; empty if nobody is to be.
	Access string
	// Cause is why it began by itself, and Restoring since when its end waits for the app.
	Cause, Restoring string
}

// StatusOf reads a Status.
func StatusOf(all map[string]string) Status {
	return Status{State: all[State], Message: all[Message], Since: all[Since], PageSet: all[PageSet], Original: all[Original], Installation: all[Installation], Access: all[AccessReport],
		Cause: all[Cause], Restoring: all[RestoringSince]}
}

// Digest tells statuses apart, but for the id, which is not written for its own sake.
func (s Status) Digest() string {
	s.Installation = ""
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", s))
	return hex.EncodeToString(sum[:])
}

// Write gives a copy of the annotations with s in place of what the controller
// wrote before. An empty field removes its key; the zero Status removes all.
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

// HasWritten says whether the controller left anything on the target.
func HasWritten(all map[string]string) bool {
	return slices.ContainsFunc(written, func(key string) bool { _, ok := all[key]; return ok })
}

// MaxTotalSize is the API server's bound on all annotations of an object, keys
// and values together, in bytes (apimachinery's TotalAnnotationSizeLimitB).
const MaxTotalSize = 256 << 10

// MaxMessage bounds a message in bytes.
const MaxMessage = 1 << 10

// Size is what the API server counts against MaxTotalSize.
func Size(all map[string]string) int {
	n := 0
	for key, value := range all {
		n += len(key) + len(value)
	}
	return n
}

// Clip bounds what a message quotes of a person's input.
func Clip(s string) string { return ClipTo(s, 80) }

// ClipTo cuts s to at most limit bytes of valid UTF-8.
func ClipTo(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit-len("…")], "") + "…"
}

// Reserved says whether the controller writes this key itself.
func Reserved(key string) bool { return slices.Contains(written, key) || key == UsedBy }

// Line makes one line of at most limit bytes of a text that quotes others, for
// people's terminals: control characters and what is no text are escaped.
func Line(s string, limit int) string {
	if len(s) > limit { // what is escaped only gets longer
		s = s[:limit+1]
	}
	return ClipTo(printable.Escape(s, func(r rune) bool {
		return unicode.IsControl(r) || !unicode.IsPrint(r) && !unicode.IsSpace(r) || r == '\u2028' || r == '\u2029'
	}), limit)
}
