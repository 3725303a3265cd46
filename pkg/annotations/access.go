package annotations

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"maintenance-controller.io/pkg/access"
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

// maxTold bounds how many mistakes people are told of one list, which may be as long as
// annotations may be.
const maxTold = 8

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

// letThrough reads Access. A value that nobody understands lets nobody through: the page is
// shown, and people are told.
func letThrough(all map[string]string) (a Access, problems []Problem) {
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
	var closed []error
	for path := range strings.SplitSeq(all[OpenPaths], ",") {
		if path = strings.TrimSpace(path); path == "" {
			continue
		}
		if err := access.CheckOpenPath(path); err == nil {
			a.OpenPaths = append(a.OpenPaths, path)
		} else if closed = append(closed, err); len(closed) <= maxTold {
			bad(OpenPaths, "has a path that is not open: %v", err)
		}
	}
	if more := len(closed) - maxTold; more > 0 {
		bad(OpenPaths, "has %d more paths that are not open", more)
	}
	slices.Sort(a.OpenPaths)
	a.OpenPaths = slices.Compact(a.OpenPaths)
	if over := len(a.OpenPaths) - access.MaxOpenPaths; over > 0 {
		bad(OpenPaths, "has %d paths, of which %d count: %q and those after it in the alphabet are not open", len(a.OpenPaths), access.MaxOpenPaths, Clip(a.OpenPaths[access.MaxOpenPaths]))
		a.OpenPaths = a.OpenPaths[:access.MaxOpenPaths]
	}
	return a, problems
}
