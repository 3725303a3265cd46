// Package version identifies the build. The linker sets the variables:
//
//	-ldflags "-X maintenance-controller.io/pkg/version.Version=v1.2.3 …"
package version

import (
	"fmt"
	"runtime"
)

// They are set at link time and never change at run time.
var (
	Version = "dev"     // a tag such as v1.2.3
	Commit  = "unknown" // the full Git hash
	Date    = "unknown" // when it was built, RFC 3339
)

// String is the text that --version prints after the program's name.
func String() string {
	return fmt.Sprintf("%s (commit %s, built %s, %s %s/%s)", Version, Commit, Date, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
