package annotations

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// What people write about who still reaches the app while everybody else gets the
// page. These keys are constant.
const (
	BypassSecret = Prefix + "bypass-secret" // name of a Secret beside the target, whose key maintenance-bypass-token has "name token" lines
	OpenPaths    = Prefix + "open-paths"    // path prefixes with commas between them
	ReadOnly     = Prefix + "read-only"     // "true" lets GET, HEAD and OPTIONS through
	AllowFrom    = Prefix + "allow-from"    // reserved: lists of addresses are not supported yet
)

// AccessReport is what the controller writes on a target about who is let through, and
// about what keeps them from the app.
const AccessReport = Prefix + "access"

// Bounds of open paths.
const (
	MaxOpenPaths = 32  // of a target
	MaxOpenPath  = 512 // bytes of one of them
)

// accessKeys lists the keys of Access.
var accessKeys = []string{BypassSecret, OpenPaths, ReadOnly, AllowFrom}

// Access is who is let through to the app. The zero value is nobody.
type Access struct {
	// BypassSecret is the name of the Secret whose tokens let people through; empty for none.
	BypassSecret string
	// OpenPaths are path prefixes that anybody reaches, sorted, each once.
	OpenPaths []string
	// ReadOnly lets requests through that only read.
	ReadOnly bool
}

// Asked says whether anybody is to be let through.
func (a Access) Asked() bool { return a.BypassSecret != "" || len(a.OpenPaths) > 0 || a.ReadOnly }

// access reads Access. A value that nobody understands lets nobody through: the page is
// shown, and people are told.
func access(all map[string]string) (a Access, problems []Problem) {
	bad := func(key, format string, args ...any) {
		problems = append(problems, Problem{Key: key, Message: "annotation " + key + " " + fmt.Sprintf(format, args...)})
	}
	if name := strings.TrimSpace(all[BypassSecret]); len(validation.IsDNS1123Subdomain(name)) == 0 {
		a.BypassSecret = name
	} else if name != "" {
		bad(BypassSecret, "is %q, which is no name of a Secret: nobody is let through by a token", Clip(name))
	}
	switch value := strings.TrimSpace(all[ReadOnly]); value {
	case "true":
		a.ReadOnly = true
	case "", "false":
	default:
		bad(ReadOnly, "is %q: use \"true\" to let requests through that only read, \"false\" or no annotation to show them the page (which it does now)", Clip(value))
	}
	if value := strings.TrimSpace(all[AllowFrom]); value != "" {
		bad(AllowFrom, "has no effect: lists of addresses are not supported; use %s or %s", BypassSecret, OpenPaths)
	}
	for path := range strings.SplitSeq(all[OpenPaths], ",") {
		switch path = strings.TrimSpace(path); {
		case path == "":
		case notOpen(path) != "":
			bad(OpenPaths, "has %q, which %s: it is not open", Clip(path), notOpen(path))
		case !slices.Contains(a.OpenPaths, path):
			a.OpenPaths = append(a.OpenPaths, path)
		}
	}
	slices.Sort(a.OpenPaths)
	if over := len(a.OpenPaths) - MaxOpenPaths; over > 0 {
		bad(OpenPaths, "has %d paths, of which %d count: %q and those after it in the alphabet are not open", len(a.OpenPaths), MaxOpenPaths, Clip(a.OpenPaths[MaxOpenPaths]))
		a.OpenPaths = a.OpenPaths[:MaxOpenPaths]
	}
	return a, problems
}

// notOpen says why a path prefix cannot be open; empty if it can. What one server reads
// otherwise than the next is no border that holds.
func notOpen(path string) string {
	lower := strings.ToLower(path)
	switch {
	case path[0] != '/':
		return "does not begin with /"
	case path == "/":
		return "would open the whole app"
	case len(path) > MaxOpenPath:
		return fmt.Sprintf("is longer than %d bytes", MaxOpenPath)
	case strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "has white space or what has to be percent-encoded in a URL"
	case strings.ContainsAny(path, `\;?#*`), strings.Contains(path, "//"), slices.ContainsFunc([]string{"%2f", "%5c", "%2e", "%3b", "%25"}, func(code string) bool { return strings.Contains(lower, code) }):
		return `has //, \, ;, ?, #, *, or one of / \ . ; % encoded`
	case slices.ContainsFunc(strings.Split(path, "/"), func(segment string) bool { return segment == "." || segment == ".." }):
		return "has a segment . or .."
	}
	return ""
}
