// Package version says which build this is. The linker sets the variables:
//
//	-ldflags "-X maintenance-controller.io/pkg/version.Version=v1.2.3 …"
package version

import (
	"fmt"
	"runtime"
)

// Set at link time, never changed at run time.
var (
	Version = "dev"     // a tag, v1.2.3
	Commit  = "unknown" // a full Git hash
	Date    = "unknown" // of the build, RFC 3339
)

// String is what --version prints.
func String() string {
	return fmt.Sprintf("%s (commit %s, built %s, %s %s/%s)", Version, Commit, Date, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
