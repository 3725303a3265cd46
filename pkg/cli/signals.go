package cli

import (
	"os"
	"os/signal"
	"slices"
)

// NotifySignals relays the signals that the program handles to the channel. Signals that are
// ignored, as after nohup, stay ignored, also in a command that is run.
func NotifySignals(signals chan<- os.Signal) {
	handled := slices.DeleteFunc(handledSignals(), signal.Ignored)
	if len(handled) > 0 { // Notify without signals means all of them
		signal.Notify(signals, handled...)
	}
}
