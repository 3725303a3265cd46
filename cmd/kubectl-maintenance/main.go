// Command kubectl-maintenance is a plugin of kubectl: kubectl maintenance on, off,
// status, list and run.
package main

import (
	"context"
	"os"

	"github.com/go-logr/logr"
	"golang.org/x/term"
	"k8s.io/klog/v2"

	"maintenance-controller.io/pkg/cli"
)

func main() {
	klog.SetLogger(logr.Discard()) // client-go's log is not for people
	signals := make(chan os.Signal, 16)
	cli.NotifySignals(signals)
	os.Exit(cli.Main(context.Background(), cli.Process{
		Args: os.Args[1:], Env: os.LookupEnv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		StdinIsTerminal: term.IsTerminal(int(os.Stdin.Fd())), StderrIsTerminal: term.IsTerminal(int(os.Stderr.Fd())), Signals: signals,
	}))
}
