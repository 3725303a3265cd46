package cli

import "os"

// handledSignals are the signals that the program handles. Windows also sends Ctrl-C to the
// command.
func handledSignals() []os.Signal { return []os.Signal{os.Interrupt} }

func fromKeyboard(os.Signal) bool { return true }

func forCommand(os.Signal) bool { return false }

// terminationSignal kills the command, since Windows has no signal that asks it to end.
func terminationSignal() os.Signal { return os.Kill }

func killedBy(*os.ProcessState) (number int, killed bool) { return 0, false }
