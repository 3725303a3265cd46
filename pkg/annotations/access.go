package annotations

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"maintenance-controller.io/pkg/access"
)

// What people write to let somebody through to the app while everybody else gets the page.
// These keys are constant.
const (
	BypassSecret = Prefix + "bypass-secret" // name of a Secret in the target's namespace whose key maintenance-bypass-token holds "name token" lines
	OpenPaths    = Prefix + "open-paths"    // path prefixes, separated by commas
	ReadOnly     = Prefix + "read-only"     // "true" lets GET, HEAD and OPTIONS through
	AllowFrom    = Prefix + "allow-from"    // reserved: lists of addresses are not supported yet
)

// AccessReport is what the controller writes on a target about who is let through, and
// about problems with that.
const AccessReport = Prefix + "access"

// maxReported limits how many mistakes in one list are reported: the list may be as long as
// annotations may be.
const maxReported = 8

// accessKeys lists the keys of Access.
var accessKeys = []string{BypassSecret, OpenPaths, ReadOnly, AllowFrom}

// Access says who is let through to the app. The zero value lets nobody through.
type Access struct {
	// BypassSecret is the name of the Secret whose tokens let people through; empty for
	// none.
	BypassSecret string
	// OpenPaths are path prefixes that everybody reaches, sorted, each once, at most
	// access.MaxOpenPaths.
	OpenPaths []string
	// ReadOnly lets read-only requests through: GET, HEAD and OPTIONS.
	ReadOnly bool
}

// LetsAnybodyThrough says whether anybody should be let through.
func (a Access) LetsAnybodyThrough() bool {
	return a.BypassSecret != "" || len(a.OpenPaths) > 0 || a.ReadOnly
}

// parseAccess reads Access. An invalid value lets nobody through and is reported.
func parseAccess(all map[string]string) (a Access, problems []Problem) {
	bad := func(key, format string, args ...any) {
		problems = append(problems, Problem{Key: key, Message: "annotation " + key + " " + fmt.Sprintf(format, args...)})
	}
	if name := strings.TrimSpace(all[BypassSecret]); len(validation.IsDNS1123Subdomain(name)) == 0 {
		a.BypassSecret = name
	} else if name != "" {
		bad(BypassSecret, "is %q, which is not a valid Secret name: no token lets anybody through", Clip(name))
	}
	switch value := strings.TrimSpace(all[ReadOnly]); value {
	case "true":
		a.ReadOnly = true
	case "", "false":
	default:
		bad(ReadOnly, "is %q: use \"true\" to let read-only requests through, \"false\" or no annotation to show them the page (as now)", Clip(value))
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
		} else if closed = append(closed, err); len(closed) <= maxReported {
			bad(OpenPaths, "has a path that stays closed: %v", err)
		}
	}
	if more := len(closed) - maxReported; more > 0 {
		bad(OpenPaths, "has %d more paths that stay closed", more)
	}
	slices.Sort(a.OpenPaths)
	a.OpenPaths = slices.Compact(a.OpenPaths)
	if over := len(a.OpenPaths) - access.MaxOpenPaths; over > 0 {
		bad(OpenPaths, "has %d paths, of which only %d count: %q and those after it in alphabetical order stay closed", len(a.OpenPaths), access.MaxOpenPaths, Clip(a.OpenPaths[access.MaxOpenPaths]))
		a.OpenPaths = a.OpenPaths[:access.MaxOpenPaths]
	}
	return a, problems
}
