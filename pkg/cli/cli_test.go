package cli

import (
	"bytes"
	"errors"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
)

// A command's exit code is its own, whichever code it has for something else here.
func TestExitCodes(t *testing.T) {
	var told bytes.Buffer
	s := &session{Process: Process{Stderr: &told}}
	run, on := &cobra.Command{Use: runName + " TYPE/NAME"}, &cobra.Command{Use: "on"}
	for _, code := range []int{Failed, Usage, TimedOut, OwnFailure, 128 + 15} {
		assert.Equal(t, code, s.report(run, failure{code, errReported}))
	}
	assert.Empty(t, told.String(), "people know already")

	assert.Equal(t, OwnFailure, s.report(run, usagef("no such flag")))
	assert.Equal(t, "maintenance: no such flag\nSee 'run --help'.\n", told.String())
	assert.Equal(t, Usage, s.report(on, usagef("no such flag")))
	assert.Equal(t, TimedOut, s.report(on, failure{TimedOut, errors.New("late")}))
	assert.Equal(t, Failed, s.report(on, errors.New("failed")))
}
