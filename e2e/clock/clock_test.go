package clock

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const beClock = "MAINTENANCE_TEST_CLOCK"

// TestMain is also the program whose clock is set: for each line that it reads, it prints
// the time and the time since its start.
func TestMain(m *testing.M) {
	if os.Getenv(beClock) == "" {
		os.Exit(m.Run())
	}
	begin := time.Now()
	fmt.Println(begin.UnixNano(), 0)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		now := time.Now()
		fmt.Println(now.UnixNano(), int64(now.Sub(begin)))
	}
}

func TestOnlyTheWallClockJumps(t *testing.T) {
	command := exec.CommandContext(t.Context(), os.Args[0])
	command.Env = append(os.Environ(), beClock+"=1")
	in, err := command.StdinPipe()
	require.NoError(t, err)
	out, err := command.StdoutPipe()
	require.NoError(t, err)
	begin := time.Now()
	require.NoError(t, command.Start())
	read := func() (wall time.Time, since time.Duration) {
		var nanos, lasted int64
		_, err := fmt.Fscan(out, &nanos, &lasted)
		require.NoError(t, err)
		return time.Unix(0, nanos), time.Duration(lasted)
	}
	read()
	for _, off := range []time.Duration{0, 72 * time.Hour, -72 * time.Hour, time.Second, 0} {
		require.NoError(t, Set(command.Process.Pid, off))
		asked := time.Now().Round(0)
		_, err := fmt.Fprintln(in)
		require.NoError(t, err)
		wall, since := read()
		assert.WithinRange(t, wall, asked.Add(off), time.Now().Round(0).Add(off))
		assert.LessOrEqual(t, since, time.Since(begin), "the monotonic clock does not jump")
		assert.GreaterOrEqual(t, since, time.Duration(0))
	}
	require.NoError(t, in.Close())
	require.NoError(t, command.Wait())
}
