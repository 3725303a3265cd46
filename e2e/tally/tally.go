// Package tally tells what tests have counted: `make soak` and `make test` add it up.
package tally

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Mark begins what a line of a test's output holds of counts.
const Mark = "result: "

// FileVariable names a file that takes the counts too, a line each: go test shows
// nothing of a package that passes when it runs several.
const FileVariable = "MAINTENANCE_E2E_COUNTS"

// Tell prints a count as name=number.
func Tell(tb testing.TB, name string, count int64) {
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
		tb.Errorf("tell a count: %v", err)
	}
}
