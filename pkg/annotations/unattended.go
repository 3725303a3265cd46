package annotations

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// What people write for the controller to begin maintenance by itself, and to end none
// before the app is ready.
const (
	Auto           = Prefix + "auto"            // AutoBackends or AutoChecker
	Checker        = Prefix + "checker"         // with AutoChecker: name of a ServiceChecker beside the target
	RestoreWhen    = Prefix + "restore-when"    // RestoreReady
	RestoreTimeout = Prefix + "restore-timeout" // a Go duration, such as 10m
)

// Values of Auto and RestoreWhen.
const (
	AutoBackends = "backends"
	AutoChecker  = "checker"
	RestoreReady = "ready"
)

// DefaultRestoreTimeout is in force where RestoreTimeout is absent; MinRestoreTimeout and
// MaxRestoreTimeout bound what it may be, but for 0, which is never.
const (
	DefaultRestoreTimeout = 10 * time.Minute
	MinRestoreTimeout     = time.Second
	MaxRestoreTimeout     = 7 * 24 * time.Hour
)

// unattendedKeys lists the keys of Unattended.
var unattendedKeys = []string{Auto, Checker, RestoreWhen, RestoreTimeout}

// Unattended is what the controller is to decide by itself.
type Unattended struct {
	// Auto is what maintenance begins and ends by: AutoBackends, AutoChecker, or empty for
	// people alone.
	Auto string
	// Checker is the name of the ServiceChecker of AutoChecker, in the target's namespace.
	Checker string
	// RestoreWhen is RestoreReady if visitors keep the page until the app is ready; else empty.
	RestoreWhen string
	// RestoreTimeout bounds both; 0 is not at all. It is 0 as well where neither is asked for.
	RestoreTimeout time.Duration
}

// unattended reads Unattended. What cannot be read is not asked for.
func unattended(all map[string]string) (u Unattended, problems []Problem) {
	bad := func(key, format string, args ...any) {
		problems = append(problems, Problem{Key: key, Message: fmt.Sprintf("annotation %s %s", key, fmt.Sprintf(format, args...))})
	}
	value := func(key string) string { return strings.TrimSpace(all[key]) }
	switch auto, checker := value(Auto), value(Checker); {
	case auto == AutoChecker && checker == "":
		bad(Auto, "is %q, and annotation %s names no ServiceChecker: maintenance does not begin by itself", AutoChecker, Checker)
	case auto == AutoChecker && len(validation.IsDNS1123Subdomain(checker)) > 0:
		bad(Checker, "is %q, which is no name of a ServiceChecker: maintenance does not begin by itself", Clip(checker))
	case auto == AutoChecker:
		u.Auto, u.Checker = auto, checker
	case auto == AutoBackends || auto == "":
		if u.Auto = auto; checker != "" {
			bad(Checker, "has no effect without %s=%s", Auto, AutoChecker)
		}
	default:
		bad(Auto, "is %q: use %q or %q; maintenance does not begin by itself", Clip(auto), AutoBackends, AutoChecker)
	}
	switch when := value(RestoreWhen); when {
	case RestoreReady:
		u.RestoreWhen = when
	case "":
	default:
		bad(RestoreWhen, "is %q: use %q; maintenance ends without a look at the app", Clip(when), RestoreReady)
	}
	timeout, err := restoreTimeout(value(RestoreTimeout))
	if err != nil {
		bad(RestoreTimeout, "is %q: %v; it is %s", Clip(value(RestoreTimeout)), err, DefaultRestoreTimeout)
	}
	if u.Auto != "" || u.RestoreWhen != "" {
		u.RestoreTimeout = timeout
	}
	return u, problems
}

func restoreTimeout(text string) (time.Duration, error) {
	if text == "" {
		return DefaultRestoreTimeout, nil
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		return DefaultRestoreTimeout, errors.New("use a duration such as 10m or 1h30m, or 0 for no bound")
	case d == 0:
		return 0, nil
	case d < MinRestoreTimeout || d > MaxRestoreTimeout:
		return DefaultRestoreTimeout, fmt.Errorf("use %s to %s, or 0 for no bound", MinRestoreTimeout, MaxRestoreTimeout)
	}
	return d, nil
}
