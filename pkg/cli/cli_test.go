package cli

import (
	"bytes"
	"errors"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/assert"
)

// TestExitCodes: the exit code of a command is passed on, even if it is one of ours.
func TestExitCodes(t *testing.T) {
	var told bytes.Buffer
	s := &session{Process: Process{Stderr: &told}}
	run, on := &cobra.Command{Use: runName + " TYPE/NAME"}, &cobra.Command{Use: "on"}
	for _, code := range []int{ExitFailed, ExitUsage, ExitTimeout, ExitRunFailed, 128 + 15} {
		assert.Equal(t, code, s.report(run, failure{code, errReported}))
	}
	assert.Empty(t, told.String(), "it has been reported already")

	assert.Equal(t, ExitRunFailed, s.report(run, usagef("no such flag")))
	assert.Equal(t, "maintenance: no such flag\nSee 'run --help'.\n", told.String())
	assert.Equal(t, ExitUsage, s.report(on, usagef("no such flag")))
	assert.Equal(t, ExitTimeout, s.report(on, failure{ExitTimeout, errors.New("late")}))
	assert.Equal(t, ExitFailed, s.report(on, errors.New("failed")))
}
