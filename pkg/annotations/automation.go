package annotations

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// What people write to let the controller begin maintenance automatically, or end it only
// once the app is ready.
const (
	Auto           = Prefix + "auto"            // AutoBackends or AutoChecker
	Checker        = Prefix + "checker"         // with AutoChecker: name of a ServiceChecker in the target's namespace
	RestoreWhen    = Prefix + "restore-when"    // RestoreReady
	RestoreTimeout = Prefix + "restore-timeout" // a Go duration, such as 10m
)

// Values of Auto and RestoreWhen.
const (
	AutoBackends = "backends" // by the readiness of the target's own backends
	AutoChecker  = "checker"  // by a ServiceChecker
	RestoreReady = "ready"    // once the backends are ready
)

// DefaultRestoreTimeout applies if RestoreTimeout is absent. MinRestoreTimeout and
// MaxRestoreTimeout limit it, except that 0 is allowed and means never.
const (
	DefaultRestoreTimeout = 10 * time.Minute
	MinRestoreTimeout     = time.Second
	MaxRestoreTimeout     = 7 * 24 * time.Hour
)

// automationKeys lists the keys of Automation.
var automationKeys = []string{Auto, Checker, RestoreWhen, RestoreTimeout}

// Automation says what the controller decides on its own.
type Automation struct {
	// Auto says what begins and ends maintenance: AutoBackends, AutoChecker, or empty for
	// people alone.
	Auto string
	// Checker is the name of the ServiceChecker of AutoChecker, in the target's namespace.
	Checker string
	// RestoreWhen is RestoreReady if visitors keep the page until the app is ready;
	// otherwise empty.
	RestoreWhen string
	// RestoreTimeout limits both, automatic maintenance and the wait for the app; 0 is no
	// limit. It is also 0 if neither is asked for.
	RestoreTimeout time.Duration
}

// parseAutomation reads Automation. A value that cannot be read asks for nothing.
func parseAutomation(all map[string]string) (u Automation, problems []Problem) {
	bad := func(key, format string, args ...any) {
		problems = append(problems, Problem{Key: key, Message: fmt.Sprintf("annotation %s %s", key, fmt.Sprintf(format, args...))})
	}
	value := func(key string) string { return strings.TrimSpace(all[key]) }
	switch auto, checker := value(Auto), value(Checker); {
	case auto == AutoChecker && checker == "":
		bad(Auto, "is %q, but annotation %s names no ServiceChecker: maintenance does not begin automatically", AutoChecker, Checker)
	case auto == AutoChecker && len(validation.IsDNS1123Subdomain(checker)) > 0:
		bad(Checker, "is %q, which is not a valid ServiceChecker name: maintenance does not begin automatically", Clip(checker))
	case auto == AutoChecker:
		u.Auto, u.Checker = auto, checker
	case auto == AutoBackends || auto == "":
		if u.Auto = auto; checker != "" {
			bad(Checker, "has no effect without %s=%s", Auto, AutoChecker)
		}
	default:
		bad(Auto, "is %q: use %q or %q; maintenance does not begin automatically", Clip(auto), AutoBackends, AutoChecker)
	}
	switch when := value(RestoreWhen); when {
	case RestoreReady:
		u.RestoreWhen = when
	case "":
	default:
		bad(RestoreWhen, "is %q: use %q; maintenance ends without checking the app", Clip(when), RestoreReady)
	}
	timeout, err := restoreTimeout(value(RestoreTimeout))
	if err != nil {
		bad(RestoreTimeout, "is %q: %v; the default of %s applies", Clip(value(RestoreTimeout)), err, DefaultRestoreTimeout)
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
		return DefaultRestoreTimeout, errors.New("use a duration such as 10m or 1h30m, or 0 for no limit")
	case d == 0:
		return 0, nil
	case d < MinRestoreTimeout || d > MaxRestoreTimeout:
		return DefaultRestoreTimeout, fmt.Errorf("use %s to %s, or 0 for no limit", MinRestoreTimeout, MaxRestoreTimeout)
	}
	return d, nil
}
