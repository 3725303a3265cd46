package cli

import "os"

// Signals are those that the program handles: Windows sends Ctrl-C to the command as well.
func Signals() []os.Signal { return []os.Signal{os.Interrupt} }

func fromKeyboard(os.Signal) bool { return true }

func forCommand(os.Signal) bool { return false }

// gentleSignal is none: a command of Windows can only be killed.
func gentleSignal() os.Signal { return os.Kill }

func killedBy(*os.ProcessState) (number int, killed bool) { return 0, false }
