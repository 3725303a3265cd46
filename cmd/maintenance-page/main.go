// Command maintenance-page runs in the Pods of a page set, and answers every request with the
// page from the mounted ConfigMap.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"maintenance-controller.io/pkg/flagenv"
	"maintenance-controller.io/pkg/pageapp"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := pageapp.Main(ctx, flagenv.Process{Args: os.Args[1:], Env: os.LookupEnv, Stdout: os.Stdout, Stderr: os.Stderr})
	stop()
	os.Exit(code)
}
