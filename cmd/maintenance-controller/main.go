// Command maintenance-controller shows a maintenance page in place of apps whose Ingress,
// route or Service is annotated.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"maintenance-controller.io/pkg/app"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := app.Main(ctx, app.Process{Args: os.Args[1:], Env: os.LookupEnv, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
	stop()
	os.Exit(code)
}
