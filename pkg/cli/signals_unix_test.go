//go:build unix

package cli

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestIgnoredSignalsStayIgnored: a command ignores the signals that its caller ignored.
func TestIgnoredSignalsStayIgnored(t *testing.T) {
	signal.Ignore(syscall.SIGHUP)
	signals := make(chan os.Signal, 1)
	NotifySignals(signals)
	t.Cleanup(func() {
		signal.Stop(signals)
		signal.Reset(syscall.SIGHUP)
	})
	out, err := exec.Command("sh", "-c", "kill -HUP $$; echo survived").Output()
	require.NoError(t, err)
	assert.Equal(t, "survived\n", string(out))

	require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGUSR1))
	assert.Equal(t, syscall.SIGUSR1, <-signals, "others arrive")
}
