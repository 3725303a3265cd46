//go:build unix

package cli

import (
	"os"
	"syscall"
)

// Signals are those that the program handles: the first ends what it does, or is passed on
// to the command that it runs.
func Signals() []os.Signal {
	return []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}
}

// fromKeyboard says whether a terminal sends this signal to a command as well.
func fromKeyboard(sig os.Signal) bool { return sig == os.Interrupt || sig == syscall.SIGQUIT }

// forCommand says whether a signal is for the command alone, and ends nothing else.
func forCommand(sig os.Signal) bool { return sig == syscall.SIGUSR1 || sig == syscall.SIGUSR2 }

// gentleSignal asks a command to end.
func gentleSignal() os.Signal { return syscall.SIGTERM }

// killedBy gives the number of the signal that ended a command.
func killedBy(state *os.ProcessState) (number int, killed bool) {
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return 0, false
	}
	return int(status.Signal()), true
}
