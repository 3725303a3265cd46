//go:build unix

package cli

import (
	"os"
	"syscall"
)

// handledSignals are the signals that the program handles: the first one ends it, or is passed
// on to the command that it runs.
func handledSignals() []os.Signal {
	return []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2}
}

// fromKeyboard says whether a terminal also sends this signal to the command.
func fromKeyboard(sig os.Signal) bool { return sig == os.Interrupt || sig == syscall.SIGQUIT }

// forCommand says whether a signal is only for the command, and does not end this program.
func forCommand(sig os.Signal) bool { return sig == syscall.SIGUSR1 || sig == syscall.SIGUSR2 }

// terminationSignal asks a command to end.
func terminationSignal() os.Signal { return syscall.SIGTERM }

// killedBy returns the number of the signal that ended a command, if one did.
func killedBy(state *os.ProcessState) (number int, killed bool) {
	status, ok := state.Sys().(syscall.WaitStatus)
	if !ok || !status.Signaled() {
		return 0, false
	}
	return int(status.Signal()), true
}
