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
	klog.SetLogger(logr.Discard()) // people are told what they need, and no more
	signals := make(chan os.Signal, 16)
	cli.Hear(signals)
	os.Exit(cli.Main(context.Background(), cli.Process{
		Args: os.Args[1:], Env: os.LookupEnv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Asks: term.IsTerminal(int(os.Stdin.Fd())), Shows: term.IsTerminal(int(os.Stderr.Fd())), Signals: signals,
	}))
}
