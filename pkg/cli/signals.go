package cli

import (
	"os"
	"os/signal"
	"slices"
)

// Hear sends the signals that the program handles. What is ignored, as after nohup, stays
// so, and a command that is run ignores it as well.
func Hear(signals chan<- os.Signal) {
	heard := slices.DeleteFunc(Signals(), signal.Ignored)
	if len(heard) > 0 { // none would be all of them
		signal.Notify(signals, heard...)
	}
}
