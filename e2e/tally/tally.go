// Package tally reports what tests have counted; `make soak` and `make test` add it up.
package tally

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Mark precedes a count in a line of a test's output.
const Mark = "result: "

// FileVariable names an environment variable. It holds the path of a file to which counts
// are appended as well, one per line: when go test runs several packages, it hides the
// output of those that pass.
const FileVariable = "MAINTENANCE_E2E_COUNTS"

// Report prints a count as name=number.
func Report(tb testing.TB, name string, count int64) {
	tb.Helper()
	line := fmt.Sprintf("%s=%d", strings.ReplaceAll(name, " ", "-"), count)
	tb.Log(Mark + line)
	path := os.Getenv(FileVariable)
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) // short lines are written whole
	if err == nil {
		_, err = fmt.Fprintln(file, line)
	}
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		tb.Errorf("report a count: %v", err)
	}
}
